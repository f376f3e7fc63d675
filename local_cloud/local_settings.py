"""What the local cloud has to know of the settings that it deploys."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_REPOSITORY_ROOT = Path(__file__).resolve().parent.parent


class WrongSettingsError(ValueError):
    """The settings, or the dbt project that was named, are refused; the message says what was got and what is allowed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalSettings:
    """The part of an environment of `stacks/environments.py`, with one project, that the local cloud plays the rest of AWS for."""

    environment: str
    account: str
    region: str
    dags_bucket: str
    dags_prefix: str
    airflow_role_arn: str
    deployment_key: str
    """Where the deployment writes the values of the project's DAG, in the bucket of DAG files."""
    project: str
    project_path: str


def read_local_settings(project_path: Path | None = None) -> LocalSettings:
    """
    The local environment's settings, with the dbt project at `project_path` (default: the sample).

    They are read in a process of their own: importing them starts the CDK's Node process, which would get the Ctrl-C of this one.
    Raises WrongSettingsError.
    """
    command = [sys.executable, "-m", "local_cloud.app", "--describe"]
    if project_path is not None:
        command.append(str(project_path))
    done = subprocess.run(
        command,
        cwd=_REPOSITORY_ROOT,
        # The pinned Node lies beside this Python; jsii complains about others.
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"},
        check=False,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    if done.returncode != 0:
        raise WrongSettingsError(done.stderr.strip())
    return LocalSettings(**json.loads(done.stdout))
