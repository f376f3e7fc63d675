"""Each project that a pull request changes is tried where the settings say, as the role that is for it."""

import dataclasses
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from constructs_lib.ci_access import GitHub
from stacks.environments import DEV, LIVE
from stacks.settings import Environment
from tools import pull_request
from tools.pull_request import main


class SlimCi:
    """Stands in for `python -m tools.slim_ci`: writes down who it is and what it is asked, and what it is told to say."""

    def __init__(self, *codes: int) -> None:
        self.calls: list[list[str]] = []
        self.roles: list[str | None] = []
        self._codes = list(codes)
        self._run = subprocess.run

    def run(self, command: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[str]":  # noqa: ANN401 - those of subprocess.run
        """Play slim CI; git is asked."""
        if "tools.slim_ci" not in command:
            return self._run(command, **options)
        variables: Mapping[str, str] = options["env"]
        arguments = list(command[3:])
        self.calls.append(arguments)
        self.roles.append(variables.get("AWS_ROLE_ARN"))
        if arguments[0] == "try":
            Path(arguments[-1]).write_text(f"### {arguments[2]}\n", encoding="utf-8")
        return subprocess.CompletedProcess(list(command), self._codes.pop(0))


class Repository:
    """A repository with a project `a` and a project `b`, both tried in dev, and a branch with a change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._git("init", "--quiet", "--initial-branch=main")
        for name in ("a", "b"):
            self.write(f"projects/{name}/models/m.sql", "select 1")
            self.write(f"projects/{name}/dbt_project.yml", f"name: {name}\n")
        self.commit()
        self._git("checkout", "--quiet", "-b", "change")

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def commit(self) -> None:
        """Commit all files."""
        self._git("add", ".")
        self._git("-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "--message=files")

    def environments(self, *names: str) -> tuple[Environment, ...]:
        """Dev with the projects of these names, and live, in which none is tried."""
        projects = tuple(
            dataclasses.replace(DEV.projects[0], name=name, path=self.folder / "projects" / name) for name in names
        )
        return (dataclasses.replace(DEV, projects=projects), dataclasses.replace(LIVE, projects=projects))

    def _git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """The repository, and no pipeline around it."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "ACTIONS_ID_TOKEN", "GITHUB_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.setattr(pull_request, "REPOSITORY", folder)
    return Repository(folder)


def _try(repository: Repository, slim_ci: SlimCi, monkeypatch: pytest.MonkeyPatch, *names: str) -> tuple[int, str]:
    monkeypatch.setattr(subprocess, "run", slim_ci.run)
    comment = repository.folder.parent / "build/slim-ci.md"
    code = main(["try", "17", "--base", "main", "--comment", str(comment)], repository.environments(*names))
    return code, comment.read_text(encoding="utf-8")


def test_only_projects_that_are_changed_are_tried(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the settings say, with the number of the pull request; a change of another folder is none."""
    repository.write("projects/a/models/m.sql", "select 2")
    repository.write("projects/ab/models/m.sql", "select 2")
    repository.commit()
    slim_ci = SlimCi(0)

    assert _try(repository, slim_ci, monkeypatch, "a", "b") == (0, "### a\n")
    assert [call[:4] for call in slim_ci.calls] == [["try", "dev", "a", "17"]]


def test_worst_verdict_is_the_pull_requests_and_all_are_told(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails does not keep the next from being tried."""
    for name in ("a", "b"):
        repository.write(f"projects/{name}/models/m.sql", "select 2")
    repository.commit()

    assert _try(repository, SlimCi(1, 0), monkeypatch, "a", "b") == (1, "### a\n\n### b\n")


def test_change_of_the_base_since_the_branch_began_is_not_the_pull_requests(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is compared with where it began."""
    repository.write("README.md", "changed")
    repository.commit()
    for command in (["checkout", "--quiet", "main"], ["merge", "--quiet", "--no-ff", "change"]):
        repository._git(*command)
    repository.write("projects/b/models/m.sql", "select 3")
    repository.commit()
    repository._git("checkout", "--quiet", "change")

    assert _try(repository, SlimCi(), monkeypatch, "a", "b") == (0, "")


def test_new_project_has_nothing_to_be_compared_with(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is deployed nowhere, and has no role yet: that must not make its first pull request red."""
    repository.write("projects/c/dbt_project.yml", "name: c\n")
    repository.commit()
    slim_ci = SlimCi()
    code, comment = _try(repository, slim_ci, monkeypatch, "c")

    assert (code, slim_ci.calls) == (0, [])
    assert "dbt project c: new" in comment


def test_pull_request_is_tried_by_its_own_token(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the role of the project and the environment, which is not the one that deploys."""
    repository.write("projects/a/models/m.sql", "select 2")
    repository.commit()
    monkeypatch.setenv("AWS_ID_TOKEN", "signed")
    slim_ci = SlimCi(0)

    _try(repository, slim_ci, monkeypatch, "a")
    assert slim_ci.roles == ["arn:aws:iam::111111111111:role/dev-dbt-a-slim-ci"]


def test_closed_pull_request_leaves_nothing_of_any_project(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of those that the last push did not change."""
    slim_ci = SlimCi(0, 2)
    monkeypatch.setattr(subprocess, "run", slim_ci.run)

    assert main(["drop", "17"], repository.environments("a", "b")) == 2
    assert slim_ci.calls == [["drop", "dev", "a", "17"], ["drop", "dev", "b", "17"]]


def test_settings_that_try_nothing_start_nothing(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipelines call it in any case."""
    repository.write("projects/a/models/m.sql", "select 2")
    repository.commit()
    slim_ci = SlimCi()
    monkeypatch.setattr(subprocess, "run", slim_ci.run)
    deploys_only = dataclasses.replace(
        repository.environments("a")[0], ci=GitHub(repository="example/data-platform", environment="dev")
    )
    comment = repository.folder.parent / "slim-ci.md"

    assert main(["try", "17", "--base", "main", "--comment", str(comment)], (deploys_only,)) == 0
    assert main(["drop", "17"], (deploys_only,)) == 0
    assert (slim_ci.calls, comment.read_text()) == ([], "")


def test_base_that_is_not_there_is_an_error(
    repository: Repository, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A checkout without its history would else have changed nothing."""
    arguments = ["try", "17", "--base", "0" * 40, "--comment", str(tmp_path / "c.md")]

    assert main(arguments, repository.environments("a")) == 3
    assert f"error: git diff with {'0' * 40!r} failed: fatal" in capsys.readouterr().err
