"""What `docker build` sees is the same for everyone."""

import json
import os
from pathlib import Path

import aws_cdk as cdk
import pytest

from constructs_lib.dbt_image import dbt_image
from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.image_context import ImageContext
from constructs_lib.repository import REPOSITORY
from tests.unit.conftest import WriteProject
from tests.unit.constructs_lib.image_stack import REPOSITORY_NAME, stack_of_images

CONTAINER = REPOSITORY / "container"


def _written(project: Path, folder: Path) -> Path:
    ImageContext(container_folder=CONTAINER, project=DbtProjectFiles(project)).write(folder)
    return folder


def test_holds_the_container_and_the_project_and_no_more(tiny_project: Path, tmp_path: Path) -> None:
    """Dockerfile, locked requirements, the runner's code, and the project below `project/`."""
    context = _written(tiny_project, tmp_path / "context")

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


def test_is_written_whole_or_not_at_all(tiny_project: Path, tmp_path: Path) -> None:
    """A synth that was interrupted leaves no half of an image for the next one to find."""
    context = ImageContext(container_folder=CONTAINER, project=DbtProjectFiles(tiny_project))
    (tiny_project / "models" / "answers.sql").unlink()
    folder = tmp_path / "assembly" / "context"
    folder.parent.mkdir()

    with pytest.raises(FileNotFoundError):
        context.write(folder)

    assert list(folder.parent.iterdir()) == []


def test_links_are_files_and_permissions_are_alike(tiny_project: Path, tmp_path: Path) -> None:
    """Another umask or a checkout without links gives the same layers."""
    (tiny_project / "models" / "linked.sql").symlink_to(tiny_project / "models" / "answers.sql")
    (tiny_project / "models" / "answers.sql").chmod(0o700)

    umask = os.umask(0o077)
    try:
        context = _written(tiny_project, tmp_path / "context")
    finally:
        os.umask(umask)

    models = sorted((context / "project" / "models").iterdir())
    assert [model.name for model in models] == ["answers.sql", "linked.sql"]
    assert [model.is_symlink() for model in models] == [False, False]
    assert {0o644} == {model.stat().st_mode & 0o777 for model in models}
    assert {0o755} == {folder.stat().st_mode & 0o777 for folder in (context, *context.rglob("*")) if folder.is_dir()}


def _tag(project: Path, *, project_name: str = "tiny", sends_lineage: bool = False) -> str:
    app = cdk.App()
    _, synthesizer = stack_of_images(app)
    return dbt_image(
        app,
        repository_name=REPOSITORY_NAME,
        synthesizer=synthesizer,
        project=DbtProjectFiles(project),
        project_name=project_name,
        cpu_architecture="x86_64",
        sends_lineage=sends_lineage,
    ).tag


def test_image_is_built_from_what_its_tag_says(tiny_project: Path, tmp_path: Path) -> None:
    """The assembly holds the folder under the tag, and CDK's manifest tells the CLI to build it and where to push it."""
    app = cdk.App(outdir=str(tmp_path / "cdk.out"))
    _, synthesizer = stack_of_images(app)
    image = dbt_image(
        app,
        repository_name=REPOSITORY_NAME,
        synthesizer=synthesizer,
        project=DbtProjectFiles(tiny_project),
        project_name="tiny",
        cpu_architecture="arm64",
        sends_lineage=True,
    )

    app.synth()

    manifest = json.loads((tmp_path / "cdk.out" / "Test.assets.json").read_text())["dockerImages"]
    (destination,) = manifest[image.tag]["destinations"].values()
    source = manifest[image.tag]["source"]
    assert (destination["repositoryName"], destination["imageTag"]) == (image.repository_name, image.tag)
    assert source == {
        "directory": f"asset.{image.tag}",
        "dockerBuildArgs": {"LINEAGE": "openlineage"},
        "platform": "linux/arm64",
    }
    assert (tmp_path / "cdk.out" / source["directory"] / "project/models/answers.sql").read_text() == (
        tiny_project / "models/answers.sql"
    ).read_text()


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
