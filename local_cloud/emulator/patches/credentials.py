"""The credentials endpoint of a task: temporary credentials of its own task role."""

import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from local_cloud.emulator.patches.stock import Json, Response, imds, replace, sts

_LIFETIME_SECONDS = 3600.0
_ENDPOINT = "/v2/credentials/"


@dataclass(frozen=True)
class _Grant:
    task_arn: str
    role_arn: str
    authorization: str


_grants: dict[str, _Grant] = {}


def apply() -> None:
    """The stock endpoint hands out random credentials that belong to nobody; the task's are those of its role."""

    def handle(stock: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
        async def handle_request(
            method: str, path: str, headers: dict[str, str], body: bytes, query_params: Json
        ) -> Response:
            if not path.startswith(_ENDPOINT):
                return await stock(method, path, headers, body, query_params)
            grant = _grants.get(path.removeprefix(_ENDPOINT))
            if grant is None or headers.get("authorization") != grant.authorization:
                return _answer(403, {"code": "AccessDenied", "message": "no credentials for this token"})
            return _answer(200, role_session(grant.role_arn, grant.task_arn.rsplit("/", 1)[-1]))

        return handle_request

    replace(imds, "handle_request", "method", "path", "headers", "body", "query_params", by=handle)


def grant(task_arn: str, role_arn: str) -> dict[str, str]:
    """The environment variables by which the containers of a task find the credentials of its role."""
    key, authorization = secrets.token_hex(16), secrets.token_urlsafe(32)
    _grants[key] = _Grant(task_arn, role_arn, authorization)
    return {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{_port()}{_ENDPOINT}{key}",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": authorization,
    }


def revoke(task_arn: str) -> None:
    """Hand out no further credentials for a task that has ended."""
    for key in [key for key, granted in _grants.items() if granted.task_arn == task_arn]:
        del _grants[key]


def role_session(role_arn: str, name: str) -> Json:
    """Temporary credentials of a role, in the form in which a container gets them; `name` is the session's."""
    account, role = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
    key = f"ASIA{secrets.token_hex(8).upper()}"
    secret, token = secrets.token_hex(20), secrets.token_hex(40)
    expiration = time.time() + _LIFETIME_SECONDS
    sts.register_session(
        key,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role}/{name}",
            "UserId": f"AROA{role.upper()[:16]}:{name}",
            "SecretAccessKey": secret,
            "SessionToken": token,
            "AccountId": account,
            "Expiration": expiration,
        },
    )
    return {
        "AccessKeyId": key,
        "SecretAccessKey": secret,
        "Token": token,
        "RoleArn": role_arn,
        "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expiration)),
    }


def _port() -> str:
    return os.environ["GATEWAY_PORT"]


def _answer(status: int, document: Json) -> Response:
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()
