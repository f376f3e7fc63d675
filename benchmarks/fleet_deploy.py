"""What `cdk deploy` of a whole environment takes after one model of one of its 100 projects was changed."""

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fleet_deploy_app import environment, own_model
from benchmarks.measure import Result, children_cpu_seconds, compare
from benchmarks.synth import read_graphs
from local_cloud.cloud import DEFAULT_FOLDER, LocalCloud, share_installed
from local_cloud.local_settings import read_local_settings
from local_cloud.progress import Steps

ONE_PROJECT = "the same deploy in an environment of one project"
_PROJECTS = 100
_NAME = f"deploy_changed_model_{_PROJECTS}"
_FOLDER = DEFAULT_FOLDER / "bench-fleet"
# What `make deploy` gives the CLI; nobody is asked here.
_FLAGS = ("--asset-prebuild=false", "--require-approval", "never")
# For the first deployment, of which nothing is measured.
_AT_ONCE = ("--concurrency", "8")


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What an account holds of deployments."""

    stacks: Mapping[str, str]
    """When each was last created or updated, by name."""
    blobs: Mapping[tuple[str, str], int]
    """The bytes of all layers, configurations and manifests of images, by repository and digest."""
    assets: Mapping[str, int]
    """The bytes of the objects in the bucket of assets, by key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """What one deployment took and did."""

    wall_seconds: float
    cpu_seconds: float
    before: Account
    after: Account

    @property
    def stacks(self) -> int:
        """How many stacks CloudFormation has created or updated."""
        return sum(changed != self.before.stacks.get(name) for name, changed in self.after.stacks.items())

    @property
    def registry_bytes(self) -> int:
        """What the registry has got."""
        return sum(size for blob, size in self.after.blobs.items() if blob not in self.before.blobs)

    @property
    def asset_bytes(self) -> int:
        """What the bucket of assets has got, the template among it."""
        return sum(size for key, size in self.after.assets.items() if key not in self.before.assets)


def names() -> list[str]:
    """The figures, in order."""
    return [_NAME, *(f"{_NAME}_{what}" for what in ("cpu", "registry_bytes", "asset_bytes", "stacks"))]


def results(ours: Sequence[Deployment], other: Sequence[Deployment]) -> Iterator[Result]:
    """The figures of the deployments in an environment of 100 projects and in one of a single project."""
    attributes = ("wall_seconds", "cpu_seconds", "registry_bytes", "asset_bytes", "stacks")
    for name, unit, attribute in zip(names(), ("s", "CPU s", "bytes", "bytes", "stacks"), attributes, strict=True):
        yield compare(
            name,
            unit,
            ours=[getattr(deployment, attribute) for deployment in ours],
            other=[getattr(deployment, attribute) for deployment in other],
            other_name=ONE_PROJECT,
        )


def blobs_of(manifest: str) -> dict[str, int]:
    """The bytes of the layers and the configuration that an image's manifest names, by digest."""
    content = json.loads(manifest)
    return {blob["digest"]: blob["size"] for blob in (*content["layers"], content["config"])}


def use_image(assembly: Path, image: str | None) -> str:
    """
    Have every image of a cloud assembly be the local `image`, of the same files, instead of being built; returns its name.

    Without one nothing is changed, and what is returned is the name that the CDK CLI gives the image that it builds.
    """
    name = image
    for manifest in sorted(assembly.glob("assembly-*/*.assets.json")):
        content = json.loads(manifest.read_text())
        for asset_id, asset in content.get("dockerImages", {}).items():
            name = name or f"cdkasset-{asset_id}"
            if image is not None:
                asset["source"] = {"executable": ["echo", image]}
        manifest.write_text(json.dumps(content))
    if name is None:
        raise ValueError(f"{assembly} must have an image, got none")
    return name


@dataclass(frozen=True, slots=True)
class _Fleet:
    name: str
    projects: int

    @property
    def folder(self) -> Path:
        return _FOLDER / "projects" / self.name

    @property
    def app(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.fleet_deploy_app", str(self.folder), self.name, str(self.projects)]


def measure(*, repeat: int, steps: Steps) -> Iterator[Result]:
    """Deploy both environments once, then change the same model of each and deploy it again, in turn."""
    shutil.rmtree(_FOLDER / "projects", ignore_errors=True)
    share_installed(_FOLDER)
    settings = read_local_settings()
    fleets = (_Fleet("fleet", _PROJECTS), _Fleet("single", 1))
    took: dict[_Fleet, list[Deployment]] = {fleet: [] for fleet in fleets}
    with LocalCloud(_FOLDER, steps=steps) as cloud:
        cloud.start(settings)
        with steps.step("cdk bootstrap") as step:
            cloud.cdk().bootstrap(settings.account, settings.region, say=step.say)
        image = None
        for fleet in reversed(fleets):
            with steps.step(f"synth of {fleet.projects} projects"):
                read_graphs([environment(fleet.folder, name=fleet.name, projects=fleet.projects)])
                assembly = _synth(cloud, fleet)
                image = use_image(assembly, image)
            with steps.step(f"first deployment of {fleet.projects} projects") as step:
                first = cloud.cdk((str(assembly),))
                first.run("deploy", f"{fleet.name}/**", *_FLAGS, *_AT_ONCE, say=step.say)
        for number in range(1, repeat + 1):
            for fleet in fleets:
                # The name, so that the image is not already built for the other environment.
                own_model(fleet.folder, 0).write_text(f"select {number} as {fleet.name}\n")
                with steps.step(f"changed model among {fleet.projects}: {number} of {repeat}") as step:
                    took[fleet].append(_deploy(cloud, fleet))
                    step.say(f"{took[fleet][-1].wall_seconds:.1f} s, {took[fleet][-1].cpu_seconds:.1f} CPU seconds")
    yield from results(*took.values())


def _synth(cloud: LocalCloud, fleet: _Fleet) -> Path:
    cloud.cdk(fleet.app).run("synth", f"{fleet.name}/**", "--quiet")
    return Path(shutil.copytree(cloud.folder / "cdk.out", fleet.folder.with_suffix(".out")))


def _deploy(cloud: LocalCloud, fleet: _Fleet) -> Deployment:
    before = _account(cloud)
    wall, cpu = time.monotonic(), children_cpu_seconds()
    cloud.cdk(fleet.app).run("deploy", f"{fleet.name}/**", *_FLAGS)
    wall, cpu = time.monotonic() - wall, children_cpu_seconds() - cpu
    return Deployment(wall_seconds=wall, cpu_seconds=cpu, before=before, after=_account(cloud))


def _account(cloud: LocalCloud) -> Account:
    client = cloud.account.client
    stacks = _listed(client("cloudformation"), "describe_stacks", "Stacks")
    repositories = _listed(client("ecr"), "describe_repositories", "repositories")
    (bucket,) = (
        bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"] if bucket["Name"].startswith("cdk-")
    )
    objects = _listed(client("s3"), "list_objects_v2", "Contents", Bucket=bucket)
    return Account(
        stacks={stack["StackName"]: str(stack.get("LastUpdatedTime", stack["CreationTime"])) for stack in stacks},
        blobs={
            (repository["repositoryName"], digest): size
            for repository in repositories
            for digest, size in _blobs(client("ecr"), repository["repositoryName"]).items()
        },
        assets={found["Key"]: found["Size"] for found in objects},
    )


def _blobs(ecr: Any, repository: str) -> dict[str, int]:  # noqa: ANN401 - boto3 makes the types of its clients at run time
    ids = _listed(ecr, "list_images", "imageIds", repositoryName=repository)
    found: dict[str, int] = {}
    for image in ecr.batch_get_image(repositoryName=repository, imageIds=ids)["images"] if ids else ():
        found[image["imageId"]["imageDigest"]] = len(image["imageManifest"].encode())
        found |= blobs_of(image["imageManifest"])
    return found


def _listed(client: Any, operation: str, what: str, **arguments: str) -> list[dict[str, Any]]:  # noqa: ANN401 - as above
    pages = client.get_paginator(operation).paginate(**arguments)
    return [entry for page in pages for entry in page.get(what, [])]
