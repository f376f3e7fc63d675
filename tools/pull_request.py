"""`make ci-try`, `make ci-try-drop`: the dbt projects that a pull request changes, each tried where the settings say."""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from constructs_lib.repository import REPOSITORY
from stacks import names
from stacks.settings import DbtProject, Environment
from tools.changed_files import GitError, changed_files
from tools.pipeline_token import PipelineRole, TokenError, credentials

_NOTHING_DONE = 3
"""As docs/analyst.md numbers it."""


def main(arguments: Sequence[str], environments: Sequence[Environment]) -> int:
    """Do what the first argument says; returns the highest exit code of all that was tried, as docs/analyst.md numbers them."""
    parser = argparse.ArgumentParser(prog="pull_request", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("try", "drop"):
        command = commands.add_parser(name)
        command.add_argument("pull_request", type=int)
    commands.choices["try"].add_argument("--base", required=True, help="the commit that it is compared with")
    commands.choices["try"].add_argument(
        "--comment", default="build/slim-ci.md", help="the file for what is to be said"
    )
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "drop":
            return drop(environments, chosen.pull_request)
        return try_changed(environments, chosen.pull_request, base=chosen.base, comment=Path(chosen.comment))
    except (GitError, TokenError) as error:
        print(f"error: {error}", file=sys.stderr)
        return _NOTHING_DONE


def try_changed(environments: Sequence[Environment], number: int, *, base: str, comment: Path) -> int:
    """
    Try each project whose files differ from those of commit `base`, and write what is to be said of all into `comment`.

    The file is empty if no project is changed. Raises GitError or TokenError.
    """
    comment.parent.mkdir(parents=True, exist_ok=True)
    comment.write_text("", encoding="utf-8")
    said: list[str] = []
    codes = [0]
    tried = list(_tried(environments))
    changed = (
        [REPOSITORY / file for file in changed_files(base, REPOSITORY, since_common_ancestor=True)] if tried else []
    )
    for environment, project in tried:
        folder = project.folder
        if not any(file.is_relative_to(folder) for file in changed):
            continue
        if not _is_there(base, folder):
            said.append(
                f"### dbt project {project.name}: new\n\nIt is not deployed, so there is nothing to compare it with.\n"
            )
            continue
        print(f"project {project.name} is changed: it is tried in {environment.name}", flush=True)
        own_comment = comment.with_name(f"{comment.stem}-{project.name}{comment.suffix}")
        own_comment.unlink(missing_ok=True)
        codes.append(_slim_ci("try", environment, project, number, "--comment", str(own_comment)))
        said.append(own_comment.read_text(encoding="utf-8"))
    if not said:
        print("no dbt project that is tried anywhere is changed")
    comment.write_text("\n".join(said), encoding="utf-8")
    return max(codes)


def drop(environments: Sequence[Environment], number: int) -> int:
    """Drop what the pull request has left of any project; raises TokenError."""
    return max(
        (_slim_ci("drop", environment, project, number) for environment, project in _tried(environments)), default=0
    )


def _tried(environments: Sequence[Environment]) -> Iterator[tuple[Environment, DbtProject]]:
    for environment in environments:
        for project in environment.tried_projects:
            yield environment, project


def _slim_ci(command: str, environment: Environment, project: DbtProject, number: int, *options: str) -> int:
    pipeline = environment.ci
    assert pipeline is not None  # noqa: S101 - it is tried because its pipeline says so
    role = PipelineRole(
        arn=environment.role_arn(names.slim_ci_role(environment.name, project.name)),
        audience=pipeline.audience,
        region=environment.region,
    )
    arguments = [command, environment.name, project.name, str(number), *options]
    with credentials(role) as variables:
        return subprocess.run(
            [sys.executable, "-m", "tools.slim_ci", *arguments], cwd=REPOSITORY, env=variables, check=False
        ).returncode


def _is_there(base: str, folder: Path) -> bool:
    name = f"{base}:{folder.relative_to(REPOSITORY).as_posix()}"
    return (
        subprocess.run(["git", "cat-file", "-e", name], cwd=REPOSITORY, check=False, capture_output=True).returncode
        == 0
    )


if __name__ == "__main__":
    from stacks.environments import ENVIRONMENTS

    raise SystemExit(main(sys.argv[1:], ENVIRONMENTS))
