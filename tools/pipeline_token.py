"""Who a command is when a pipeline starts it: a role of the environment's, by the pipeline's own token."""

import json
import os
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token
_GITHUB_URL = "ACTIONS_ID_TOKEN_REQUEST_URL"
_GITHUB_BEARER = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
# The name that .gitlab-ci.yml gives to it, below `id_tokens`.
_GITLAB_TOKEN = "AWS_ID_TOKEN"  # noqa: S105 - the name of a variable
# What the SDKs would take before a token: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
_OTHER_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")


class TokenError(Exception):
    """A pipeline gave no token; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineRole:
    """A role of an environment of `region`, and the audience that tokens for it must be made out for."""

    arn: str
    audience: str
    region: str


@contextmanager
def credentials(role: PipelineRole | None) -> Iterator[Mapping[str, str]]:
    """
    The environment of programs: as `role` in a pipeline that hands out tokens, else as whoever calls.

    The token lies in a file that only this user can read, and that is gone after the block. Raises TokenError.
    """
    token = _token(role.audience) if role is not None else None
    if role is None or token is None:
        yield os.environ
        return
    with tempfile.TemporaryDirectory(prefix="pipeline-") as folder:
        file = Path(folder) / "token"
        file.touch(mode=0o600)
        file.write_text(token, encoding="utf-8")
        yield {
            **{name: value for name, value in os.environ.items() if name not in _OTHER_CREDENTIALS},
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
            "AWS_ROLE_ARN": role.arn,
            "AWS_ROLE_SESSION_NAME": "pipeline",
            "AWS_REGION": role.region,
        }


def _token(audience: str) -> str | None:
    if gitlab := os.environ.get(_GITLAB_TOKEN):
        return gitlab
    url, bearer = os.environ.get(_GITHUB_URL), os.environ.get(_GITHUB_BEARER)
    if url and bearer:
        return _github_token(url, bearer, audience)
    if os.environ.get("GITHUB_ACTIONS") == "true" and not any(os.environ.get(name) for name in _OTHER_CREDENTIALS):
        raise TokenError("GitHub gives this job no token; give it `permissions: id-token: write`")
    return None


def _github_token(url: str, bearer: str, audience: str) -> str:
    separator = "&" if urllib.parse.urlsplit(url).query else "?"
    request = urllib.request.Request(  # noqa: S310 - GitHub's own address, out of the job's environment
        f"{url}{separator}{urllib.parse.urlencode({'audience': audience})}",
        headers={"Authorization": f"Bearer {bearer}", "Accept": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
            return str(json.load(response)["value"])
    except (urllib.error.URLError, TimeoutError, ValueError, KeyError) as error:
        raise TokenError(f"GitHub gave no token for audience {audience!r}: {error}") from error
