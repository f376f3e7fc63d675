"""The CDK app of an environment that keeps its data, with the projects that the command line names."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from constructs_lib.ci_access import GitHub
from stacks.environments import LOCAL
from stacks.platform import synthesize
from stacks.settings import Environment

NAME = "kept"


def environment(project_path: Path, project_names: Sequence[str]) -> Environment:
    """The local environment's settings for several projects at one path, with a pipeline, and data that outlives the stacks."""
    projects = tuple(dataclasses.replace(LOCAL.projects[0], name=name, path=project_path) for name in project_names)
    pipeline = GitHub(repository="example/data-platform", environment=NAME)
    return dataclasses.replace(LOCAL, name=NAME, keeps_data_on_destroy=True, ci=pipeline, projects=projects)


if __name__ == "__main__":
    sys.exit(synthesize(lambda: (environment(Path(sys.argv[1]), sys.argv[2:]),)))
