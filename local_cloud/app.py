"""
The CDK app of the local environment alone, with a dbt project of the user's own in place of the sample.

`app.py` deploys the same stage with the sample; this one takes what `make demo PROJECT=…` was given.
"""

import argparse
import dataclasses
import re
import sys
from pathlib import Path

from constructs_lib.dbt_project_files import DbtProjectFiles
from stacks.environments import LOCAL
from stacks.platform import synthesize
from stacks.settings import Environment

_LONGEST_NAME = 41


def local_environment(project_path: Path) -> Environment:
    """
    The local environment with the dbt project at `project_path` as its only one.

    Raises SettingsError when that is no dbt project.
    """
    name = project_name(DbtProjectFiles(project_path).name)
    project = dataclasses.replace(LOCAL.projects[0], name=name, path=project_path)
    return dataclasses.replace(LOCAL, projects=(project,))


def project_name(dbt_name: str) -> str:
    """A name that the settings allow, made from dbt's name of a project: `Jaffle__Shop` becomes `jaffle_shop`."""
    words = re.findall(r"[a-z0-9]+", dbt_name.lower())
    name = re.sub(r"^[^a-z]+", "", "_".join(words))
    return name[:_LONGEST_NAME].rstrip("_") or "project"


def main() -> int:
    """Synthesize for the path given as the only argument; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project_path", type=Path)
    path = parser.parse_args().project_path
    return synthesize(lambda: (local_environment(path),))


if __name__ == "__main__":
    sys.exit(main())
