"""What `docker build` sees is the same for everyone."""

import os
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_ecr_assets as ecr_assets

from constructs_lib.dbt_image import dbt_image
from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.image_context import image_context
from constructs_lib.repository import REPOSITORY
from tests.unit.conftest import WriteProject

CONTAINER = REPOSITORY / "container"


def test_holds_the_container_and_the_project_and_no_more(tiny_project: Path) -> None:
    """Dockerfile, locked requirements, the runner's code, and the project below `project/`."""
    with image_context(container_folder=CONTAINER, project=DbtProjectFiles(tiny_project)) as context:
        files = {path.relative_to(context).as_posix() for path in context.rglob("*") if path.is_file()}

    outside_of_runner = {name for name in files if not name.startswith("runner/")}
    assert {
        "Dockerfile",
        "lineage-requirements.txt",
        "requirements.txt",
        "project/dbt_project.yml",
        "project/models/answers.sql",
    } == outside_of_runner
    assert "runner/__init__.py" in files
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]


def test_leaves_nothing_behind(tiny_project: Path) -> None:
    """The folder is temporary."""
    with image_context(container_folder=CONTAINER, project=DbtProjectFiles(tiny_project)) as context:
        pass

    assert not context.exists()


def test_links_are_files_and_permissions_are_alike(tiny_project: Path) -> None:
    """Another umask or a checkout without links gives the same layers."""
    (tiny_project / "models" / "linked.sql").symlink_to(tiny_project / "models" / "answers.sql")
    (tiny_project / "models" / "answers.sql").chmod(0o700)

    with image_context(container_folder=CONTAINER, project=DbtProjectFiles(tiny_project)) as context:
        models = sorted((context / "project" / "models").iterdir())

        assert [model.name for model in models] == ["answers.sql", "linked.sql"]
        assert [model.is_symlink() for model in models] == [False, False]
        assert {0o644} == {model.stat().st_mode & 0o777 for model in models}


def _tag(project: Path, *, project_name: str = "tiny", sends_lineage: bool = False) -> str:
    stack = cdk.Stack(cdk.App(), "Test")
    image = dbt_image(
        stack,
        "Image",
        project=DbtProjectFiles(project),
        project_name=project_name,
        platform=ecr_assets.Platform.LINUX_AMD64,
        sends_lineage=sends_lineage,
    )
    return image.asset_hash


def test_same_content_gives_same_image(write_project: WriteProject, tmp_path: Path) -> None:
    """Neither the folder's place nor the files' times are in the tag: one commit is one image everywhere."""
    project = write_project({"models/answers.sql": "select 42"})
    first = _tag(project)
    os.utime(project / "models" / "answers.sql", (0, 0))
    (project / "models" / "answers.sql").chmod(0o600)

    assert first == _tag(project.rename(tmp_path / "elsewhere"))


def test_changed_model_gives_another_image(write_project: WriteProject) -> None:
    """What changes the project changes the tag, which changes the task definition."""
    first = _tag(write_project({"models/answers.sql": "select 42"}))

    assert first != _tag(write_project({"models/answers.sql": "select 43"}))


def test_an_image_that_sends_lineage_is_another(tiny_project: Path) -> None:
    """It has packages that the others need not pull."""
    assert _tag(tiny_project) != _tag(tiny_project, sends_lineage=True)


def test_two_projects_of_the_same_files_have_images_of_their_own(tiny_project: Path) -> None:
    """One dbt project may be deployed twice, for two schemas; the CDK CLI pushes what has one hash into one registry only."""
    assert _tag(tiny_project) != _tag(tiny_project, project_name="other")
