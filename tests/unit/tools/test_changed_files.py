"""Whether a change is one of dbt projects alone, so that what only they can break has to be checked."""

import subprocess
from pathlib import Path

import pytest

from tools.changed_files import main


class Repository:
    """A repository whose commit `main` has a project and a file beside it, and in which a branch is checked out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit({"projects/shop/models/m.sql": "select 1", "app.py": "", "é\n.py": ""})
        self.git("checkout", "--quiet", "-b", "change")

    def commit(self, files: dict[str, str]) -> None:
        """Write files and commit them."""
        for name, text in files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        self.git("add", ".")
        self.git("-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "--message=files")

    def git(self, *arguments: str) -> None:
        """Run git."""
        subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """The repository."""
    return Repository(tmp_path)


def test_change_of_a_model_is_one_of_projects_alone(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    """Then the tests of the platform are left out."""
    repository.commit({"projects/shop/models/m.sql": "select 2"})

    assert main(["main"], repository=repository.folder) == 0
    assert capsys.readouterr().out == "the dbt projects alone are checked: nothing else differs from main\n"


@pytest.mark.parametrize("file", ["app.py", "projects.py", "é\n.py", "projects_of_others/m.sql"])
def test_change_of_anything_else_is_not(repository: Repository, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside a model, whatever its name."""
    repository.commit({"projects/shop/models/m.sql": "select 2", file: "changed"})

    assert main(["main"], repository=repository.folder) == 1
    assert capsys.readouterr().out == f"everything is checked: {file} differs from main\n"


def test_what_a_branch_that_was_written_anew_lacks_differs(repository: Repository) -> None:
    """It has passed no check, although its own commits change a model alone."""
    repository.commit({"projects/shop/models/m.sql": "select 2"})
    repository.git("checkout", "--quiet", "main")
    repository.commit({"app.py": "mended, and checked"})
    repository.git("checkout", "--quiet", "change")

    assert main(["main"], repository=repository.folder) == 1


def test_file_that_moves_into_a_project_is_gone_elsewhere(repository: Repository) -> None:
    """Git would call it a renamed one."""
    repository.git("mv", "app.py", "projects/shop/app.py")
    repository.commit({})

    assert main(["main"], repository=repository.folder) == 1


@pytest.mark.parametrize(
    ("base", "words"), [("", "no BASE says"), ("0" * 40, "git diff with '00000"), ("--help", "git diff with '--help'")]
)
def test_everything_is_checked_where_there_is_nothing_to_compare_with(
    repository: Repository, base: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No BASE, none that is there, or what is no commit."""
    repository.commit({"projects/shop/models/m.sql": "select 2"})

    assert main([base], repository=repository.folder) == 1
    assert f"everything is checked: {words}" in capsys.readouterr().out
