"""
The CDK app of the local environment alone, with a dbt project of the user's own in place of the sample.

`app.py` deploys the same stage with the sample; this one takes what `make demo PROJECT=…` was given.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

from stacks.app import build_app
from stacks.environments import LOCAL

from stacks.settings import Environment, SettingsError


def local_environment(project_path: Path) -> Environment:
    """
    The local environment with the dbt project at `project_path` as its only one.

    Raises SettingsError when that is no dbt project.
    """
    sample = LOCAL.projects[0]
    project = dataclasses.replace(sample, name=project_name(project_path), path=project_path)
    return dataclasses.replace(LOCAL, projects=(project,))


def main() -> None:
    """Synthesize for the path given as the only argument."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project_path", type=Path)
    try:
        build_app((local_environment(parser.parse_args().project_path),)).synth()
    except SettingsError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
