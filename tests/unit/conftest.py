"""What the unit tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# The template validator costs 1.6 s per process; the one test that is about it starts a process of its own. Set before the
# CDK is imported, which starts Node with this environment.
os.environ["CDK_VALIDATION"] = "false"

import aws_cdk as cdk

from stacks.platform import feature_flags


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option by which a person accepts changed templates."""
    parser.addoption("--accept-templates", action="store_true", help="write tests/snapshots anew")


@pytest.fixture
def accept_templates(request: pytest.FixtureRequest) -> bool:
    """Whether the snapshots are to be written anew."""
    return bool(request.config.getoption("--accept-templates"))


@pytest.fixture
def app(tmp_path: Path) -> cdk.App:
    """
    An app with the feature flags of cdk.json.

    A bare `App()` ignores cdk.json, so tests would check other templates than `cdk deploy` ships.
    """
    return cdk.App(context=feature_flags(), outdir=str(tmp_path / "cdk.out"))


@pytest.fixture
def stack(app: cdk.App) -> cdk.Stack:
    """An empty stack to put one construct into."""
    return cdk.Stack(app, "Test", env=cdk.Environment(account="111111111111", region="eu-central-1"))


WriteProject = Callable[[dict[str, str]], Path]


@pytest.fixture
def write_project(tmp_path: Path) -> WriteProject:
    """A function that writes a dbt project: dbt_project.yml and the given files, by their paths."""

    def write(files: dict[str, str]) -> Path:
        folder = tmp_path / "tiny"
        for name, text in {"dbt_project.yml": "name: tiny\nprofile: tiny\n", **files}.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return folder

    return write


@pytest.fixture
def tiny_project(write_project: WriteProject) -> Path:
    """A dbt project of one model."""
    return write_project({"models/answers.sql": "select 42 as answer\n"})
