"""The image of a dbt project."""

from aws_cdk import aws_ecr_assets as ecr_assets
from constructs import Construct

from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.dbt_requirements import DbtRequirements
from constructs_lib.image_context import image_context
from constructs_lib.openlineage import IMAGE_ARGUMENT
from constructs_lib.repository import REPOSITORY


def dbt_image(
    scope: Construct,
    construct_id: str,
    *,
    project: DbtProjectFiles,
    project_name: str,
    platform: ecr_assets.Platform,
    sends_lineage: bool,
    requirements: DbtRequirements | None = None,
) -> ecr_assets.DockerImageAsset:
    """
    Define the image that `cdk deploy` builds from the project and pushes under a tag made of its content.

    Two projects never have one tag, even if they are the same files: the CDK CLI builds what has one hash once, and pushes it
    into the first registry only. All layers but the last are the same for all projects with the same `requirements`. Default: the container's own.
    """
    build_args = {IMAGE_ARGUMENT: "openlineage"} if sends_lineage else None
    with image_context(
        container_folder=REPOSITORY / "container", project=project, requirements=requirements
    ) as context:
        return ecr_assets.DockerImageAsset(
            scope,
            construct_id,
            directory=str(context),
            extra_hash=project_name,
            platform=platform,
            build_args=build_args,
        )
