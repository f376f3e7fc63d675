"""Copies the DAG files of an environment, as they were deployed, to a folder: `make dags`. For those who ship DAGs by git."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from stacks import names
from stacks.settings import AirflowTarget, Environment

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class DagsError(Exception):
    """The DAG files cannot be copied; the message says why and what to do."""


def copy_dags(environment: Environment, to: Path, *, s3: "S3Client") -> list[Path]:
    """
    Make `to` hold the DAG files of the environment that its last deployment wrote to Airflow's bucket; returns them.

    They name what only a deployment knows (revisions, roles, buckets), which is why they come from there and not from the templates.
    Folders in `to` that are of this environment are kept exactly as in the bucket and go with their project; others are left alone.
    Raises DagsError if the environment has no Airflow, or nothing is deployed.
    """
    if environment.airflow is None:
        raise DagsError(f"environment {environment.name!r} has no airflow in its settings")
    package = names.dag_package(environment.name)
    folders = [
        package,
        f"{package}.dist-info",
        *(names.dag_folder(environment.name, project.name) for project in environment.projects),
    ]
    files = {path: body for folder in folders for path, body in _files(environment.airflow, folder, s3).items()}
    if not files:
        raise DagsError(
            f"nothing of environment {environment.name!r} is in bucket {environment.airflow.dags_bucket!r}: deploy it first"
        )
    _remove_old(to, environment.name, folders)
    for path, body in files.items():
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        (to / path).write_bytes(body)
    return [to / path for path in files]


def _files(airflow: AirflowTarget, folder: str, s3: "S3Client") -> Mapping[str, bytes]:
    prefix = f"{airflow.key(folder)}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=airflow.dags_bucket, Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return {
        f"{folder}/{key.removeprefix(prefix)}": s3.get_object(Bucket=airflow.dags_bucket, Key=key)["Body"].read()
        for key in keys
    }


def _remove_old(to: Path, environment_name: str, folders: Sequence[str]) -> None:
    for folder in folders:
        shutil.rmtree(to / folder, ignore_errors=True)
    for deployment in to.glob("*/deployment.json"):
        if json.loads(deployment.read_text(encoding="utf-8")).get("environment") == environment_name:
            shutil.rmtree(deployment.parent)


def main(arguments: Sequence[str], environments: Sequence[Environment]) -> int:
    """Copy the files of the environment that is named first to the folder that is named second; returns the exit code."""
    name, to = arguments
    environment = next((found for found in environments if found.name == name), None)
    if environment is None:
        allowed = ", ".join(found.name for found in environments)
        print(f"error: environment must be one of {allowed}, got {name!r}", file=sys.stderr)
        return 1
    try:
        written = copy_dags(environment, Path(to), s3=boto3.client("s3", region_name=environment.region))
    except DagsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(written)} files of environment {name} are in {to}")
    return 0


if __name__ == "__main__":
    from stacks.environments import ENVIRONMENTS

    raise SystemExit(main(sys.argv[1:], ENVIRONMENTS))
