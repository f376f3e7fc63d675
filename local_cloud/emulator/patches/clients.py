"""Calls of the emulator to itself, for what a service does on behalf of the account or as a role."""

import os
from typing import Any

import botocore.session

from local_cloud.emulator.patches.credentials import role_session
from local_cloud.emulator.patches.stock import responses


def root_client(service: str) -> Any:  # noqa: ANN401 -- botocore has no types here
    """A client of this emulator, as the account's root user, in the region of the request that is being served."""
    # Any value will do for the emulator's root user.
    return _client(service, access_key_id="test", secret_access_key="test")  # noqa: S106


def role_client(service: str, role_arn: str, *, session: str) -> Any:  # noqa: ANN401 -- botocore has no types here
    """The same as the role: every call is authorized by its policies and recorded."""
    given = role_session(role_arn, session)
    return _client(
        service,
        access_key_id=given["AccessKeyId"],
        secret_access_key=given["SecretAccessKey"],
        session_token=given["Token"],
    )


def _client(service: str, *, access_key_id: str, secret_access_key: str, session_token: str | None = None) -> Any:  # noqa: ANN401 -- botocore has no types here
    return botocore.session.get_session().create_client(
        service,
        region_name=responses.get_region(),
        endpoint_url=f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        aws_session_token=session_token,
    )
