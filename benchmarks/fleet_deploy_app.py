"""
`python -m benchmarks.fleet_deploy_app FOLDER NAME PROJECTS`: the CDK app of an environment that this machine can deploy.

It is as the example `local`, with so many dbt projects, which are the same files until one of them is changed.
"""

import dataclasses
import shutil
import sys
from pathlib import Path

from benchmarks.generated_project import generate_project
from stacks.environments import LOCAL
from stacks.platform import synthesize
from stacks.settings import Environment

_MODELS = 5


def own_model(folder: Path, project: int) -> Path:
    """The model of one project that is there to be changed."""
    return folder / project_name(project) / "models/own.sql"


def project_name(project: int) -> str:
    """What the settings call one project."""
    return f"shop_{project:03d}"


def environment(folder: Path, *, name: str, projects: int) -> Environment:
    """The settings, with the dbt projects in `folder`; those that are missing are made."""
    original = folder / "original"
    if not original.exists():
        generate_project(original, models=_MODELS, sources_schema="raw")
        (original / "models/own.sql").write_text("select 0 as own\n")
    for number in range(projects):
        if not (folder / project_name(number)).exists():
            shutil.copytree(original, folder / project_name(number))
    return dataclasses.replace(
        LOCAL,
        name=name,
        projects=tuple(
            dataclasses.replace(LOCAL.projects[0], name=project_name(number), path=folder / project_name(number))
            for number in range(projects)
        ),
    )


def main() -> int:
    """Synthesize; returns the exit code."""
    folder, name, projects = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    return synthesize(lambda: (environment(folder, name=name, projects=projects),))


if __name__ == "__main__":
    sys.exit(main())
