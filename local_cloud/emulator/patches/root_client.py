"""Calls of the emulator to itself, for what a service does on behalf of the account."""

import os
from typing import Any

import botocore.session

from local_cloud.emulator.patches.stock import responses


def root_client(service: str) -> Any:  # noqa: ANN401 -- botocore has no types here
    """A client of this emulator, as the account's root user, in the region of the request that is being served."""
    return botocore.session.get_session().create_client(
        service,
        region_name=responses.get_region(),
        endpoint_url=f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 -- any value will do for the emulator's root user
    )
