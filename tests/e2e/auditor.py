"""Takes on the roles of the deployment, to try what they may do."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

import boto3
from botocore.exceptions import ClientError

from tests.e2e.grants import AUDIT, Role, listed

if TYPE_CHECKING:
    from tests.e2e.conftest import Story

Client = Any
_NAME = "auditor"
# SNS says it in words of its own.
_DENIALS = {"AccessDenied", "AccessDeniedException", "AuthorizationError"}


class Login(TypedDict):
    """Temporary credentials, as AWS's programs find them in their environment."""

    AWS_ACCESS_KEY_ID: str
    AWS_SECRET_ACCESS_KEY: str
    AWS_SESSION_TOKEN: str


class Auditor:
    """
    A user who may assume roles.

    The services that assume these roles cannot be asked to misbehave, so the roles are made to trust the auditor, too, until
    `leave`; their own policies stay as they were deployed.
    """

    def __init__(self, story: "Story", name: str = _NAME) -> None:
        self._iam = story.cloud.account.client("iam")
        self._arn = self._iam.create_user(UserName=name)["User"]["Arn"]
        may_assume = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
        self._iam.put_user_policy(UserName=name, PolicyName="assume", PolicyDocument=_document(may_assume))
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        self._endpoint_url, self._region = story.cloud.emulator.endpoint_url, story.choice.settings.region
        own = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=self._region)
        self._sts = own.client("sts", endpoint_url=self._endpoint_url)
        self._trusts: dict[str, Mapping[str, Any]] = {}

    def login(self, role: Role) -> Login:
        """Real credentials of `role`."""
        found = self._iam.get_role(RoleName=role.name)["Role"]
        trust = self._trusts.setdefault(role.name, found["AssumeRolePolicyDocument"])
        trusted = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": self._arn}}
        self._iam.update_assume_role_policy(
            RoleName=role.name, PolicyDocument=_document(*listed(trust["Statement"]), trusted)
        )
        given = self._sts.assume_role(RoleArn=found["Arn"], RoleSessionName=AUDIT)["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        }

    def clients(self, role: Role) -> Callable[[str], Client]:
        """Gives clients with real credentials of `role`."""
        login = self.login(role)
        session = boto3.Session(
            login["AWS_ACCESS_KEY_ID"],
            login["AWS_SECRET_ACCESS_KEY"],
            login["AWS_SESSION_TOKEN"],
            region_name=self._region,
        )
        return lambda service: session.client(service, endpoint_url=self._endpoint_url)  # type: ignore[call-overload]

    def leave(self) -> None:
        """Put the roles' own trust back."""
        for name, trust in self._trusts.items():
            self._iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))


def answer(attempt: Callable[[], object]) -> str:
    """Say "denied" if IAM refused `attempt`, otherwise "allowed" or the code of the error that it ended with."""
    try:
        attempt()
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        return "denied" if code in _DENIALS else code
    return "allowed"


def _document(*statements: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
