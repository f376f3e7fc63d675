"""An artifact's provenance says of which commit, by whom and with which locked packages it was built."""

import hashlib
import json
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest

from constructs_lib.repository import REPOSITORY
from tools.provenance import provenance

_STARTED, _FINISHED = datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC), datetime(2026, 11, 23, 1, 3, 4, tzinfo=UTC)
_GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "owner/dbt",
    "GITHUB_WORKFLOW_REF": "owner/dbt/.github/workflows/deploy.yml@refs/heads/main",
    "GITHUB_RUN_ID": "12",
    "GITHUB_RUN_ATTEMPT": "2",
}
_GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_URL": "https://gitlab.com/group/dbt",
    "CI_JOB_URL": "https://gitlab.com/group/dbt/-/jobs/34",
}


@pytest.fixture(autouse=True)
def _no_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs the tests, it is no pipeline to them."""
    for name in (*_GITHUB, *_GITLAB):
        monkeypatch.delenv(name, raising=False)


def _statement() -> dict[str, Any]:
    text = provenance({"images/a.tar": "ab" * 32}, commit="c0ffee", started=_STARTED, finished=_FINISHED)
    statement: dict[str, Any] = json.loads(text)
    return statement


def test_statement_is_in_totos_about_the_images_with_slsas_predicate() -> None:
    """Tools that check provenance know both."""
    statement = _statement()

    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "images/a.tar", "digest": {"sha256": "ab" * 32}}]
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["predicate"]["runDetails"] == {
        "builder": {"id": "urn:dbt-on-fargate:a-person"},
        "metadata": {"startedOn": "2026-11-23T01:02:03Z", "finishedOn": "2026-11-23T01:03:04Z"},
    }


def test_every_lock_file_is_named_with_its_hash() -> None:
    """Those that git knows: what is not in a lock file is in no image."""
    dependencies = _statement()["predicate"]["buildDefinition"]["resolvedDependencies"]
    named = {entry["name"]: entry["digest"]["sha256"] for entry in dependencies if "name" in entry}
    patterns = ("*requirements.txt", "*package-lock.json", "projects/*/package-lock.yml")
    known = subprocess.run(
        ["git", "ls-files", *patterns], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.split()

    assert "container/requirements.txt" in named
    assert set(named) == {name for name in known if not name.startswith("tests/")}
    file = REPOSITORY / "container/requirements.txt"
    assert named["container/requirements.txt"] == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("variables", "builder", "invocation"),
    [
        (
            _GITHUB,
            "https://github.com/owner/dbt/.github/workflows/deploy.yml@refs/heads/main",
            "https://github.com/owner/dbt/actions/runs/12/attempts/2",
        ),
        (_GITLAB, "https://gitlab.com/group/dbt//.gitlab-ci.yml", "https://gitlab.com/group/dbt/-/jobs/34"),
    ],
    ids=["github", "gitlab"],
)
def test_pipeline_that_built_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], builder: str, invocation: str
) -> None:
    """With the address of its run."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    details = _statement()["predicate"]["runDetails"]

    assert details["builder"] == {"id": builder}
    assert details["metadata"]["invocationId"] == invocation


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("https://user:word@github.com/owner/dbt.git", "git+https://github.com/owner/dbt.git"),
        ("git@github.com:owner/dbt.git", "git+ssh://github.com/owner/dbt.git"),
        ("", "git+file:."),
    ],
)
def test_source_is_named_without_credentials(monkeypatch: pytest.MonkeyPatch, remote: str, source: str) -> None:
    """A token that stands in a remote's address does not get into an artifact."""
    done = subprocess.CompletedProcess([], 0, stdout=f"{remote}\n")
    monkeypatch.setattr("tools.provenance.subprocess.run", lambda *_, **__: done)

    definition = _statement()["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["source"] == {"uri": source, "digest": {"gitCommit": "c0ffee"}}
