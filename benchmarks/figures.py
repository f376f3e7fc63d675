"""The figures: what is run for each, and how often."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmarks import airflow, airflow_parallel, fleet_deploy, pages, push_to_deployed, synth
from benchmarks.cloud import FOLDER, BenchCloud
from benchmarks.images import Project, build_article_image, build_product_image, unpacked_bytes
from benchmarks.measure import Result, compare
from benchmarks.runs import (
    ARTICLE_BUCKET,
    BUCKET,
    FULL_SPEED,
    HALF_VCPU,
    ONE_VCPU,
    Containers,
    FirstQuery,
    Limits,
    Took,
)
from local_cloud.progress import Steps

ARTICLE = "the article's script"
ARTICLE_IMAGE = "an image by the article's recipe"
_MIB = 2**20


class Bench:
    """What the figures share: the account, the warehouse, and each image built once."""

    def __init__(self, cloud: BenchCloud, steps: Steps, *, repeat: int) -> None:
        self.cloud = cloud
        self.steps = steps
        self.repeat = repeat
        self.containers = Containers(cloud)
        self._projects: dict[str, Project] = {}
        self._images: set[str] = set()
        for bucket in (BUCKET, ARTICLE_BUCKET):
            cloud.account.make_bucket(bucket)

    def project(self, name: str) -> Project:
        """The sample project, or the generated one of so many models, its sources loaded."""
        if name not in self._projects:
            generated = FOLDER / f"project-{name}"
            project = Project.sample() if name == "sample" else Project.generated(int(name), generated)
            project.load_sources(self.cloud.warehouse)
            self._projects[name] = project
        return self._projects[name]

    def product_image(self, project: Project, variant: str = "") -> str:
        """The product's image of `project`."""
        return self._image(f"product-{project.name}{variant}", project, build_product_image)

    def article_image(self, project: Project, variant: str = "") -> str:
        """The image of `project` by the article's recipe."""
        return self._image(f"article-{project.name}{variant}", project, build_article_image)

    @cached_property
    def manifests(self) -> Mapping[str, Any]:
        """Both images of the sample project, and both again after one model was changed, as a registry has them."""
        sample = self.project("sample")
        changed = self._changed_sample(sample)
        images = {
            "product": self.product_image(sample),
            "article": self.article_image(sample),
            "product-changed": self.product_image(changed, "-changed"),
            "article-changed": self.article_image(changed, "-changed"),
        }
        with self.steps.step("Push the images"):
            return {name: self.cloud.push(image, name.partition("-")[0]) for name, image in images.items()}

    def _image(self, name: str, project: Project, build: Callable[..., None]) -> str:
        tag = f"localhost/bench-{name}:latest"
        if tag not in self._images:
            with self.steps.step(f"Build {name}"):
                build(self.cloud.engine, project, tag)
            self._images.add(tag)
        return tag

    def _changed_sample(self, sample: Project) -> Project:
        folder = FOLDER / "project-changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sample.folder, folder)
        model = min((folder / "models").rglob("*.sql"))
        model.write_text(f"{model.read_text()}\n-- One line more.\n")
        return Project(sample.name, folder, sample.raw_sql)


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """Some lines of the results that one series of runs gives."""

    names: Sequence[str]
    measure: Callable[[Bench], Iterator[Result]]


def _pipeline(project_name: str, speed: str, limits: Limits) -> Figure:
    suffix = f"{project_name}_{speed}"
    names = [f"pipeline_{what}_{suffix}" for what in ("wall", "cpu", "wall_first_run")]
    if suffix == "500_full_speed":
        names.append("peak_memory_500")

    def measure(bench: Bench) -> Iterator[Result]:
        project = bench.project(project_name)
        images = bench.product_image(project), bench.article_image(project)
        first = _first_runs(bench, images[0], project, limits, what=suffix)
        ours: list[Took] = []
        other: list[Took] = []
        for number in range(1, bench.repeat + 1):
            with bench.steps.step(f"{suffix}: {number} of {bench.repeat}") as step:
                step.say("ours")
                ours.append(bench.containers.product(images[0], project, limits))
                step.say(f"ours {ours[-1].wall_seconds:.1f} s, the article's …")
                other.append(bench.containers.article(images[1], project, limits))
                step.say(f"ours {ours[-1].wall_seconds:.1f} s, the article's {other[-1].wall_seconds:.1f} s")
        figures = [("s", "wall_seconds", ours), ("s", "cpu_seconds", ours), ("s", "wall_seconds", first)]
        # The first run parses in full and so takes the most.
        figures.append(("MiB", "peak_memory_mib", first))
        for name, (unit, attribute, series) in zip(names, figures, strict=False):
            yield compare(
                name,
                unit,
                ours=[getattr(took, attribute) for took in series],
                other=[getattr(took, attribute) for took in other],
                other_name=ARTICLE,
            )

    return Figure(names=names, measure=measure)


def _first_runs(bench: Bench, image: str, project: Project, limits: Limits, *, what: str) -> list[Took]:
    """What runs take that find no parse cache."""
    took: list[Took] = []
    for number in range(1, bench.repeat + 1):
        with bench.steps.step(f"{what}: first run of ours, {number} of {bench.repeat}"):
            bench.cloud.empty_bucket(BUCKET)
            took.append(bench.containers.product(image, project, limits))
    return took


def _first_query() -> Figure:
    def measure(bench: Bench) -> Iterator[Result]:
        project = bench.project("500")
        images = bench.product_image(project), bench.article_image(project)
        with bench.steps.step("first query: fill the parse cache"):
            bench.containers.product(images[0], project, FULL_SPEED)
        ours: list[FirstQuery] = []
        other: list[float] = []
        for number in range(1, bench.repeat + 1):
            with bench.steps.step(f"first query: {number} of {bench.repeat}") as step:
                ours.append(bench.containers.product_first_query(images[0], project, ONE_VCPU))
                other.append(bench.containers.article_first_query(images[1], project, ONE_VCPU).seconds)
                step.say(f"ours {ours[-1].seconds:.1f} s, the article's {other[-1]:.1f} s")
        yield compare("first_query_500", "s", ours=[one.seconds for one in ours], other=other, other_name=ARTICLE)
        for name, attribute in _FIRST_QUERY_PARTS.items():
            yield compare(name, "s", ours=[getattr(one, attribute) for one in ours])

    return Figure(names=["first_query_500", *_FIRST_QUERY_PARTS], measure=measure)


_FIRST_QUERY_PARTS = {
    "first_query_500_import": "until_parsing",
    "first_query_500_parse": "parsing",
    "first_query_500_connect": "until_query",
}


def _peak_memory_2000() -> Figure:
    name = "peak_memory_2000"

    def measure(bench: Bench) -> Iterator[Result]:
        project = bench.project("2000")
        image = bench.product_image(project)
        # The first run, which parses in full, takes the most.
        took = _first_runs(bench, image, project, Limits(memory_mib=1024), what=name)
        yield compare(name, "MiB", ours=[one.peak_memory_mib for one in took])

    return Figure(names=[name], measure=measure)


def _image_sizes() -> Figure:
    names = ["image_compressed", "image_unpacked", "push_bytes_model_change"]

    def measure(bench: Bench) -> Iterator[Result]:
        found = bench.manifests
        sizes = [[sum(layer["size"] for layer in found[way]["layers"]) / _MIB] for way in ("product", "article")]
        yield compare(names[0], "MiB", ours=sizes[0], other=sizes[1], other_name=ARTICLE_IMAGE)
        sample = bench.project("sample")
        images = bench.product_image(sample), bench.article_image(sample)
        unpacked = [[unpacked_bytes(bench.cloud.engine, image) / _MIB] for image in images]
        yield compare(names[1], "MiB", ours=unpacked[0], other=unpacked[1], other_name=ARTICLE_IMAGE)
        moved = [[float(_moved_bytes(found[way], found[f"{way}-changed"]))] for way in ("product", "article")]
        yield compare(names[2], "bytes", ours=moved[0], other=moved[1], other_name=ARTICLE_IMAGE)

    return Figure(names=names, measure=measure)


def _moved_bytes(before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    there = {layer["digest"] for layer in before["layers"]}
    layers = sum(layer["size"] for layer in after["layers"] if layer["digest"] not in there)
    return int(layers + after["config"]["size"] + after["size"])


def _airflow(models: int) -> Figure:
    def measure(bench: Bench) -> Iterator[Result]:
        yield from airflow.measure(models, repeat=bench.repeat, steps=bench.steps)

    return Figure(names=airflow.names(models), measure=measure)


def _airflow_local(models: int) -> Figure:
    def measure(bench: Bench) -> Iterator[Result]:
        yield from airflow.measure_local(models, steps=bench.steps)

    return Figure(names=airflow.local_names(models), measure=measure)


def _airflow_parallel() -> Figure:
    def measure(bench: Bench) -> Iterator[Result]:
        yield from airflow_parallel.measure(bench.steps)

    return Figure(names=airflow_parallel.names(), measure=measure)


def _synth(part: list[str]) -> Figure:
    def measure(bench: Bench) -> Iterator[Result]:
        yield from synth.measure(part, repeat=bench.repeat, steps=bench.steps)

    return Figure(names=part, measure=measure)


def _pages() -> Figure:
    def measure(bench: Bench) -> Iterator[Result]:
        yield from pages.measure(repeat=bench.repeat, steps=bench.steps)

    return Figure(names=pages.names(), measure=measure)


def _push_to_deployed() -> Figure:
    def measure(bench: Bench) -> Iterator[Result]:
        yield from push_to_deployed.measure(repeat=bench.repeat, steps=bench.steps)

    return Figure(names=push_to_deployed.names(), measure=measure)


def _fleet_deploy() -> Figure:
    def measure(bench: Bench) -> Iterator[Result]:
        yield from fleet_deploy.measure(repeat=bench.repeat, steps=bench.steps)

    return Figure(names=fleet_deploy.names(), measure=measure)


FIGURES = (
    _image_sizes(),
    _first_query(),
    _pipeline("sample", "half_vcpu", HALF_VCPU),
    _pipeline("sample", "full_speed", FULL_SPEED),
    _pipeline("500", "half_vcpu", HALF_VCPU),
    _pipeline("500", "full_speed", FULL_SPEED),
    _peak_memory_2000(),
    *(_airflow(models) for models in airflow.SIZES),
    *(_airflow_local(models) for models in airflow.SIZES),
    _airflow_parallel(),
    *(_synth(part) for part in synth.parts()),
    _push_to_deployed(),
    _fleet_deploy(),
    _pages(),
)
