"""Clients of AWS under the launch role of a deployment, without a connection that someone has to make by hand."""

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.client import BaseClient  # type: ignore[import-untyped]  # no stubs beside Airflow

_PASSING_ERROR_CODES = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServerException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


# One client, and so one session of the role, for all triggers of a process. Clients of boto3 may be shared by threads.
@functools.lru_cache(maxsize=64)
def client(service: str, role_arn: str, region: str) -> "BaseClient":
    """A boto3 client of `service` under the role."""
    # Importing the provider costs more than all the rest of parsing a DAG file, and parsing needs no client.
    from .hook import LaunchRoleHook  # noqa: PLC0415 -- see above

    return LaunchRoleHook(role_arn=role_arn, region=region, service=service).get_client_type(region_name=region)


def may_pass(error: Exception) -> bool:
    """Whether AWS may answer the same call later: throttling, its own faults, no connection."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # noqa: PLC0415 -- no stubs beside Airflow; not needed to parse a DAG

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error.response["Error"]["Code"] in _PASSING_ERROR_CODES or status >= 500
    # No credentials, say, does not mend itself; a broken connection does. Both are BotoCoreErrors.
    return isinstance(error, BotoCoreError) and "Credential" not in type(error).__name__
