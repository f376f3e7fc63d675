"""The CDK app of two environments with one project, as a company has that tries in one what runs in the other."""

import dataclasses
import sys
from pathlib import Path

from stacks.environments import LOCAL
from stacks.platform import synthesize
from stacks.settings import Environment

NAMES = ("first", "second")


def environments(project_path: Path) -> tuple[Environment, ...]:
    """Two environments of the local account, without Airflow."""
    project = dataclasses.replace(LOCAL.projects[0], path=project_path, scheduler="none", schedule=None)
    return tuple(dataclasses.replace(LOCAL, name=name, airflow=None, projects=(project,)) for name in NAMES)


if __name__ == "__main__":
    sys.exit(synthesize(lambda: environments(Path(sys.argv[1]))))
