"""
The CDK app of the local environment alone, with a dbt project of the user's own in place of the sample.

`app.py` deploys the same stage with the sample; this one takes what `make demo PROJECT=…` was given.
"""

import argparse
import dataclasses
import json
import re
import sys
from pathlib import Path

from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.settings_error import SettingsError
from local_cloud.local_settings import LocalSettings
from stacks import names
from stacks.environments import LOCAL
from stacks.platform import synthesize
from stacks.settings import Environment

_LONGEST_NAME = 41


def local_environment(project_path: Path | None) -> Environment:
    """
    The local environment with the dbt project at `project_path` as its only one; default: the sample.

    Raises SettingsError when that is no dbt project.
    """
    if project_path is None:
        return LOCAL
    name = project_name(DbtProjectFiles(project_path).name)
    project = dataclasses.replace(LOCAL.projects[0], name=name, path=project_path)
    return dataclasses.replace(LOCAL, projects=(project,))


def project_name(dbt_name: str) -> str:
    """A name that the settings allow, made from dbt's name of a project: `Jaffle__Shop` becomes `jaffle_shop`."""
    words = re.findall(r"[a-z0-9]+", dbt_name.lower())
    name = re.sub(r"^[^a-z]+", "", "_".join(words))
    return name[:_LONGEST_NAME].rstrip("_") or "project"


def described(environment: Environment) -> LocalSettings:
    """What the local cloud has to know of `environment`; raises SettingsError if it has no Airflow."""
    airflow, project = environment.airflow, environment.projects[0]
    if airflow is None:
        raise SettingsError(
            f"environment {environment.name!r} must have an Airflow to be tried on this machine, got none"
        )
    return LocalSettings(
        environment=environment.name,
        account=environment.account,
        region=environment.region,
        dags_bucket=airflow.dags_bucket,
        dags_prefix=airflow.dags_prefix,
        airflow_role_arn=airflow.role_arn,
        deployment_key=airflow.key(f"{names.dag_folder(environment.name, project.name)}/deployment.json"),
        project=project.name,
        project_path=str(project.folder),
    )


def main() -> int:
    """Synthesize, or print the settings as JSON; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project_path", type=Path, nargs="?")
    parser.add_argument("--describe", action="store_true", help="print what the local cloud has to know, as JSON")
    arguments = parser.parse_args()
    if not arguments.describe:
        return synthesize(lambda: (local_environment(arguments.project_path),))
    try:
        settings = described(local_environment(arguments.project_path))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(dataclasses.asdict(settings)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
