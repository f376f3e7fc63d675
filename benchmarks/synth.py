"""The figures of a fleet: what it takes to synthesize 1 to 100 projects, and what one changed project moves."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from benchmarks.cloud import FOLDER
from benchmarks.fleet_app import fleet, project_folder
from benchmarks.measure import Result, children_cpu_seconds, compare
from constructs_lib import dbt_graph
from constructs_lib.repository import REPOSITORY
from local_cloud.progress import Steps
from stacks.platform import dbt_app
from stacks.settings import Environment

SIZES = (1, 10, 50, 100)
BARE_APP = "a bare CDK app with as many empty stacks"
WHOLE_FLEET = "synth of the whole fleet"
_FIGURES_OF_A_CHANGE = ("diff_changed_project_100", "changed_model_stacks_100", "changed_model_bytes_100")
_FIGURES_OF_SIZE = ("template_bytes_project_100", "template_bytes_environment_100")
_FLEETS = FOLDER / "fleets"


def parts() -> list[list[str]]:
    """What is measured, the figures together that are measured together."""
    *smaller, largest = (f"synth_{size}" for size in SIZES)
    return [
        ["synth_1_first"],
        *([name] for name in smaller),
        [largest, *_FIGURES_OF_SIZE, *_FIGURES_OF_A_CHANGE],
        ["synth_10_environments"],
    ]


@dataclass(frozen=True, slots=True)
class _Fleet:
    environments: int
    projects: int

    @property
    def folder(self) -> Path:
        return _FLEETS / f"{self.environments}x{self.projects}"

    @property
    def assembly(self) -> Path:
        return self.folder / "cdk.out"


def measure(part: Sequence[str], *, repeat: int, steps: Steps) -> Iterator[Result]:
    """Measure one of `parts`: synthesize fleets and bare apps in turn, and of 100 projects then change a model of one."""
    shutil.rmtree(_FLEETS, ignore_errors=True)
    name, *more = part
    if name == "synth_1_first":
        with steps.step(name) as step:
            first = [_first_synth_seconds(number) for number in range(repeat)]
            step.say(f"{first[0]:.1f} CPU seconds")
        yield compare(name, "CPU s", ours=first)
        return
    fleets = {f"synth_{size}": _Fleet(1, size) for size in SIZES} | {"synth_10_environments": _Fleet(10, 10)}
    yield from _series(name, fleets[name], repeat, steps)
    if more:
        yield from _sizes(fleets[name])
        yield from _change(fleets[name], repeat, steps)


def _series(name: str, fleet_: _Fleet, repeat: int, steps: Steps) -> Iterator[Result]:
    with steps.step(f"{name}: read the graphs of the dbt projects"):
        read_graphs(fleet(fleet_.folder, environments=fleet_.environments, projects=fleet_.projects))
    with steps.step(f"{name}: once, so that nothing has changed"):
        _synth(fleet_.folder, fleet_.environments, fleet_.projects, fleet_.assembly)
    ours, other = [], []
    for number in range(1, repeat + 1):
        with steps.step(f"{name}: {number} of {repeat}") as step:
            ours.append(_synth(fleet_.folder, fleet_.environments, fleet_.projects, fleet_.assembly))
            bare = fleet_.folder / "bare.out"
            other.append(_synth_bare(fleet_.environments * fleet_.projects, bare))
            step.say(f"ours {ours[-1]:.1f}, bare {other[-1]:.1f} CPU seconds")
    yield compare(name, "CPU s", ours=ours, other=other, other_name=BARE_APP)


def read_graphs(environments: Sequence[Environment]) -> None:
    """
    Fill the cache of graphs, as an earlier synth has.

    dbt parses the first project only, since the others differ in nothing that the graph tells; `synth_1_first` says what it takes.
    """
    parse, manifests = dbt_graph.dbt_manifest, list[object]()

    def parse_once(*arguments: object) -> object:
        if not manifests:
            manifests.append(parse(*arguments))  # type: ignore[arg-type]
        return manifests[0]

    with mock.patch.object(dbt_graph, "dbt_manifest", parse_once):
        dbt_app(environments)


def _first_synth_seconds(number: int) -> float:
    folder = _FLEETS / f"first-{number}"
    fleet(folder, environments=1, projects=1)
    # A model that no cache has seen.
    (project_folder(folder, 0, 0) / "models/new.sql").write_text(f"select '{os.urandom(8).hex()}' as new\n")
    return _synth(folder, 1, 1, folder / "cdk.out")


def _synth(folder: Path, environments: int, projects: int, output: Path) -> float:
    """CPU seconds of `cdk synth` and all that it starts."""
    return _cpu_seconds(
        "synth", "--quiet", "--app", _app(folder, environments, projects), "--output", str(output), "**"
    )


def _synth_bare(stacks: int, output: Path) -> float:
    # As it comes, with CDK's own validation of templates.
    app = f"{sys.executable} -m benchmarks.bare_app {stacks}"
    return _cpu_seconds("synth", "--quiet", "--app", app, "--output", str(output), "**")


def _app(folder: Path, environments: int, projects: int) -> str:
    """Started as cdk.json starts ours, which `make check` validates."""
    return f"CDK_VALIDATION=false {sys.executable} -O -m benchmarks.fleet_app {folder} {environments} {projects}"


def _cpu_seconds(*arguments: str) -> float:
    before = children_cpu_seconds()
    subprocess.run(
        [str(REPOSITORY / "node_modules/.bin/cdk"), "--no-notices", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        check=True,
        capture_output=True,
    )
    return children_cpu_seconds() - before


def _sizes(fleet_: _Fleet) -> Iterator[Result]:
    sizes: dict[bool, list[float]] = {True: [], False: []}
    for file in fleet_.assembly.glob("assembly-*/*.template.json"):
        sizes["Environment" in file.name].append(file.stat().st_size)
    for name, is_environment in zip(_FIGURES_OF_SIZE, (False, True), strict=True):
        yield compare(name, "bytes", ours=sizes[is_environment])


def _change(fleet_: _Fleet, repeat: int, steps: Steps) -> Iterator[Result]:
    before = stacks(fleet_.assembly)
    model = project_folder(fleet_.folder, 0, 0) / "models/own.sql"
    model.write_text("select 1000 as own\n")
    kept = shutil.copytree(fleet_.assembly, fleet_.folder / "before.out")
    whole, one = [], []
    for number in range(1, repeat + 1):
        with steps.step(f"change of one project: {number} of {repeat}"):
            whole.append(_synth(fleet_.folder, fleet_.environments, fleet_.projects, fleet_.assembly))
            reviewed = next(kept.glob("assembly-*/*shop000*.template.json"))
            stack = "fleet0/shop_000"
            arguments = ("--exclusively", "--template", str(reviewed), stack)
            app = _app(fleet_.folder, 1, fleet_.projects)
            one.append(_cpu_seconds("diff", "--app", app, "--output", str(fleet_.folder / "diff.out"), *arguments))
    yield compare(_FIGURES_OF_A_CHANGE[0], "CPU s", ours=one, other=whole, other_name=WHOLE_FLEET)
    changed = {name: files for name, files in stacks(fleet_.assembly).items() if files != before[name]}
    yield compare(_FIGURES_OF_A_CHANGE[1], "stacks", ours=[len(changed)])
    new = [size for name, files in changed.items() for file, size in files.items() if file not in before[name]]
    yield compare(_FIGURES_OF_A_CHANGE[2], "bytes", ours=[float(sum(new))])


def stacks(assembly: Path) -> dict[str, dict[str, int]]:
    """What each stack of an assembly deploys: hashes of its template and assets, with their sizes in bytes."""
    found = {}
    for file in assembly.glob("assembly-*/*.assets.json"):
        manifest = json.loads(file.read_text())
        template = file.with_name(file.name.replace(".assets.json", ".template.json"))
        files = {hashlib.sha256(template.read_bytes()).hexdigest(): template.stat().st_size}
        for kind, source in (("files", "path"), ("dockerImages", "directory")):
            for hash_, asset in manifest.get(kind, {}).items():
                path = file.parent / asset["source"].get(source, "")
                if not path.name.endswith(".template.json"):
                    files[hash_] = _bytes(path)
        found[file.name] = files
    return found


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
