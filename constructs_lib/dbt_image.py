"""The image of a dbt project."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

from aws_cdk import IStackSynthesizer, Stage

from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.dbt_requirements import DbtRequirements
from constructs_lib.image_context import ImageContext
from constructs_lib.openlineage import IMAGE_ARGUMENT
from constructs_lib.repository import REPOSITORY
from constructs_lib.task_size import CpuArchitecture

_PLATFORMS: dict[CpuArchitecture, str] = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}


class DbtImage(NamedTuple):
    """An image that `cdk deploy` builds and pushes: its address and tag, and the name of its repository."""

    uri: str
    tag: str
    repository_name: str


class _Folders(NamedTuple):
    """Where a stage and its assets are synthesized."""

    assembly: str
    assets: str


# Asked for once, as in `place_of`.
_folders: WeakKeyDictionary[Stage, _Folders] = WeakKeyDictionary()


def dbt_image(
    stage: Stage,
    *,
    repository_name: str,
    synthesizer: IStackSynthesizer,
    project: DbtProjectFiles,
    project_name: str,
    cpu_architecture: CpuArchitecture,
    sends_lineage: bool,
    requirements: DbtRequirements | None = None,
) -> DbtImage:
    """
    Define the image that `cdk deploy` builds from the project and pushes under a tag made of its content.

    Two projects never have one tag, even if they are the same files: the CDK CLI builds what has one hash once, and pushes it
    into the first registry only. `synthesizer` is that of a stack of `stage`, and knows the registry as `repository_name`. All layers but the last are the same for all projects with the same `requirements`. Default: the container's own.
    """
    context = ImageContext(container_folder=REPOSITORY / "container", project=project, requirements=requirements)
    platform = _PLATFORMS[cpu_architecture]
    build_args = {IMAGE_ARGUMENT: "openlineage"} if sends_lineage else None
    named = (context.digest, project_name, platform, build_args)
    tag = hashlib.sha256(repr(named).encode()).hexdigest()
    # What DockerImageAsset does, but that it would first have to be given a folder, which it reads, copies and reads again: a
    # sixth of the time that it takes to synthesize a fleet of projects.
    if stage not in _folders:
        _folders[stage] = _Folders(stage.outdir, stage.asset_outdir)
    folder = Path(_folders[stage].assets) / f"asset.{tag}"
    if not folder.exists():
        context.write(folder)
    location = synthesizer.add_docker_image_asset(
        source_hash=tag,
        directory_name=os.path.relpath(folder, _folders[stage].assembly),
        platform=platform,
        docker_build_args=build_args,
        display_name="Image",
    )
    return DbtImage(uri=location.image_uri, tag=tag, repository_name=repository_name)
