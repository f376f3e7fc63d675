"""A running emulator as its users see it."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

REPO_ROOT = Path(__file__).parents[2]
ACCOUNT = "210987654321"
REGION = "eu-west-1"


@dataclass(frozen=True)
class Aws:
    """One running emulator as its users see it."""

    endpoint_url: str
    access_key_id: str = "test"
    secret_access_key: str = "test"
    session_token: str | None = None
    iam_log: Path | None = None
    image_findings: Path | None = None

    def client(self, service: str) -> Any:  # noqa: ANN401 -- there are no types for most of these services
        """A client with the credentials of this account's user."""
        return _client(self, service)

    def assume(self, role_arn: str) -> "Aws":
        """The same emulator, seen with the credentials of a role."""
        given = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="test")["Credentials"]
        return Aws(
            self.endpoint_url, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], self.iam_log
        )


# One for all: each session of its own would read the descriptions of the services again, half a second for EC2 alone.
_session: Any = boto3.Session(region_name=REGION)


@functools.cache
def _client(where: Aws, service: str) -> Any:  # noqa: ANN401 -- there are no types for most of these services
    return _session.client(
        service,
        endpoint_url=where.endpoint_url,
        aws_access_key_id=where.access_key_id,
        aws_secret_access_key=where.secret_access_key,
        aws_session_token=where.session_token,
    )
