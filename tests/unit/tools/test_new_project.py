"""A new project passes every check from its first minute."""

import subprocess
from pathlib import Path

import pytest

from constructs_lib.repository import REPOSITORY
from constructs_lib.warehouse_credentials import GlueConnection
from stacks.settings import DbtProject
from tests.unit.stacks.settings_of_a_stranger import environment
from tools import check_projects, lint_sql
from tools.new_project import main, new_project, settings_line

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project, as it is written."""
    return new_project("book_sales", tmp_path_factory.mktemp("projects"))


def test_new_project_passes_the_linters(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sqlfluff as dbt compiles it, the checks of descriptions, keys and names, and yamllint."""
    sql = lint_sql.lint(folder, cache_folder=tmp_path / "sql")
    project = check_projects.check(folder, cache_folder=tmp_path / "checks")
    yaml = subprocess.run(
        ["yamllint", "--strict", "--config-file", str(REPOSITORY / ".yamllint"), str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )

    assert (sql, project, yaml.returncode) == (True, True, 0), capsys.readouterr().out + yaml.stdout + yaml.stderr


def test_the_line_for_the_settings_is_one_that_settings_take(folder: Path) -> None:
    """It names the project as it lies below projects/."""
    line = settings_line("book_sales").removesuffix(",")
    where = {"DbtProject": DbtProject, "GlueConnection": GlueConnection, "Path": lambda _: folder}
    project = eval(line, where)  # noqa: S307 - the line is this repository's own

    settings = environment(folder, projects=(project,))
    assert settings.projects[0].schema == "book_sales"


@pytest.mark.parametrize("name", ["", "Sales", "book-sales", "sales_", "1st", "a" * 42, "../sales", "book sales"])
def test_rejects_a_name_that_settings_would_refuse(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is written."""
    assert main([name], projects=tmp_path) == 1
    assert f"got {name!r}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_rejects_a_project_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its files are left as they are."""
    assert main(["sales"], projects=tmp_path) == 0
    model = tmp_path / "sales/models/marts/dim_day_kinds.sql"
    model.write_text("select 1")

    assert main(["sales"], projects=tmp_path) == 1
    assert "is there already" in capsys.readouterr().err
    assert model.read_text() == "select 1"
