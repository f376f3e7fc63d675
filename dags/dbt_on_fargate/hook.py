"""The amazon provider's hook with a connection that is made of the deployment."""

import functools
import json
from typing import Any

from airflow.models.connection import Connection
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper
from botocore.config import Config  # type: ignore[import-untyped]  # no stubs beside Airflow

# Each call is repeated by boto3 at first, by its caller later: a trigger that is blocked for minutes says nothing.
_CLIENT_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 4}, connect_timeout=10, read_timeout=30)


class LaunchRoleHook(AwsGenericHook[Any]):
    """
    The provider's hook with a connection made of the deployment: Airflow's own credentials assume `role_arn`.

    The provider refreshes the session of the role before it ends, so a run may take longer than the hour that AWS allows a chained role.
    """

    def __init__(self, *, role_arn: str, region: str, service: str) -> None:
        super().__init__(aws_conn_id=None, region_name=region, client_type=service, config=_CLIENT_CONFIG)
        self._role_arn = role_arn
        self._role_region = region

    @functools.cached_property
    def conn_config(self) -> AwsConnectionWrapper:
        """The connection, which exists in this process only."""
        extra = {
            "role_arn": self._role_arn,
            "region_name": self._role_region,
            "assume_role_kwargs": {"RoleSessionName": "airflow"},
        }
        connection = Connection(conn_id="dbt_on_fargate", conn_type="aws", extra=json.dumps(extra))
        return AwsConnectionWrapper(conn=connection, region_name=self._role_region, botocore_config=_CLIENT_CONFIG)
