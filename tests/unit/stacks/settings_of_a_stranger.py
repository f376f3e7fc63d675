"""Settings as a user would write them, for tests to change one value of."""

from pathlib import Path
from typing import Any

from constructs_lib.warehouse_credentials import GlueConnection
from stacks.settings import AirflowTarget, DbtProject, Environment, ExistingNetwork

NETWORK: dict[str, Any] = {
    "vpc_id": "vpc-0123456789abcdef0",
    "availability_zones": ("eu-west-1a", "eu-west-1b"),
    "private_subnet_ids": ("subnet-0123456789abcdef0", "subnet-0123456789abcdef1"),
}


def project(path: Path, /, **changes: object) -> DbtProject:
    """A project at `path`."""
    values: dict[str, Any] = {
        "name": "tiny",
        "path": path,
        "credentials": GlueConnection("warehouse"),
        "schema": "analytics",
    }
    return DbtProject(**{**values, **changes})


def environment(path: Path, /, **changes: object) -> Environment:
    """An environment with one project at `path`."""
    values: dict[str, Any] = {
        "name": "try",
        "account": "333333333333",
        "region": "eu-west-1",
        "network": ExistingNetwork(**NETWORK),
        "airflow": AirflowTarget(
            dags_bucket="try-airflow", dags_prefix="dags", role_arn="arn:aws:iam::333333333333:role/airflow"
        ),
        "keeps_data_on_destroy": False,
        "projects": (project(path),),
    }
    return Environment(**{**values, **changes})
