"""A pipeline's own token makes the deployment's credentials, and nothing of it stays."""

import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.unit.tools.web_server import served
from tools.pipeline_token import PipelineRole, TokenError, credentials

_ROLE = PipelineRole(
    arn="arn:aws:iam::111111111111:role/dev-dbt-deploy", audience="sts.amazonaws.com", region="eu-west-1"
)
_VARIABLES = (
    *("AWS_ID_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GITHUB_ACTIONS"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"),
)


class _GitHub(BaseHTTPRequestHandler):
    """Answers as GitHub's token service: a token for the audience that is asked for, to who has the job's bearer token."""

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        allowed = self.headers["Authorization"] == "Bearer job-token"
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"value": f"token-{query['v'][0]}-{query['audience'][0]}"}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Stay quiet."""


@pytest.fixture(autouse=True)
def _no_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs the tests, it is no pipeline to them."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A job of GitHub's that may have a token."""
    with served(_GitHub) as url:
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{url}/token?v=2")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "job-token")
        yield


def test_github_is_asked_for_a_token_of_the_roles_audience(github: None) -> None:
    """SDKs and the CDK CLI find it in a file, which nobody else can read and which is gone after the deployment."""
    with credentials(_ROLE) as variables:
        file = Path(variables["AWS_WEB_IDENTITY_TOKEN_FILE"])
        assert file.read_text() == "token-2-sts.amazonaws.com"
        assert file.stat().st_mode & 0o077 == 0
        assert variables["AWS_ROLE_ARN"] == _ROLE.arn
        assert variables["AWS_REGION"] == "eu-west-1"
        assert variables["PATH"] == os.environ["PATH"]

    assert not file.parent.exists()


def test_gitlabs_token_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """GitLab makes it when the job starts, for the audience that .gitlab-ci.yml names."""
    monkeypatch.setenv("AWS_ID_TOKEN", "of-gitlab")
    with credentials(_ROLE) as variables:
        assert Path(variables["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text() == "of-gitlab"


def test_a_token_goes_before_keys_that_lie_about(github: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDKs would take a key first, and the deployment would be another's."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.setenv(name, "old")
    with credentials(_ROLE) as variables:
        assert "old" not in variables.values()


def test_outside_of_a_pipeline_the_caller_deploys(monkeypatch: pytest.MonkeyPatch) -> None:
    """With their own credentials; so does a pipeline whose environment has no role."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    with credentials(_ROLE) as variables:
        assert variables == os.environ
    monkeypatch.setenv("AWS_ID_TOKEN", "of-gitlab")
    with credentials(None) as variables:
        assert variables == os.environ


def test_a_job_that_may_have_no_token_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the permission GitHub leaves the address out; AWS's SDKs would only say that there are no credentials."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    with pytest.raises(TokenError, match="give it `permissions: id-token: write`"), credentials(_ROLE):
        pass


def test_a_token_that_is_refused_is_an_error_with_the_audience(github: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bearer token does not show in it."""
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-another-job")
    words = r"no token for audience 'sts.amazonaws.com': HTTP Error 401"
    with pytest.raises(TokenError, match=words) as error, credentials(_ROLE):
        pass
    assert "of-another-job" not in str(error.value)
