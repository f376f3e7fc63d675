"""Where an artifact comes from, as an in-toto statement with SLSA's predicate: commit, locked packages, who built it."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from constructs_lib.repository import REPOSITORY

_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://slsa.dev/provenance/v1"
_BUILD_TYPE = "urn:dbt-on-fargate:make-ci-build:v1"
_LOCKS = (
    *("requirements.txt", "package-lock.json", "container/*requirements.txt", "local_cloud/*-requirements.txt"),
    *("pages/package-lock.json", "functions/*/package-lock.json", "projects/*/package-lock.yml"),
)


def provenance(subjects: Mapping[str, str], *, commit: str, started: datetime, finished: datetime) -> str:
    """
    The JSON of the statement about `subjects`, names with their SHA-256, that were built of `commit`.

    It is not signed. Times are of UTC.
    """
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subjects.items())],
        "predicateType": _PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD_TYPE,
                "externalParameters": {"source": {"uri": _source(), "digest": {"gitCommit": commit}}},
                "resolvedDependencies": [
                    {"uri": _source(), "digest": {"gitCommit": commit}},
                    *({"name": name, "digest": {"sha256": digest}} for name, digest in _locks()),
                ],
            },
            "runDetails": {
                "builder": {"id": _builder()},
                "metadata": {
                    **({"invocationId": invocation} if (invocation := _invocation()) else {}),
                    "startedOn": f"{started:%Y-%m-%dT%H:%M:%SZ}",
                    "finishedOn": f"{finished:%Y-%m-%dT%H:%M:%SZ}",
                },
            },
        },
    }
    return json.dumps(statement, indent=1) + "\n"


def _locks() -> Iterator[tuple[str, str]]:
    for file in sorted({file for pattern in _LOCKS for file in REPOSITORY.glob(pattern)}):
        yield file.relative_to(REPOSITORY).as_posix(), _sha256(file)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _source() -> str:
    """The repository's address, without a user or a password that may stand in it."""
    asked = subprocess.run(
        ["git", "remote", "get-url", "origin"], cwd=REPOSITORY, check=False, capture_output=True, text=True
    )
    scheme, _, rest = asked.stdout.strip().rpartition("://")
    if not rest:
        return "git+file:."
    place = rest.rpartition("@")[2]
    # "git@host:owner/name.git", as ssh is written without a scheme.
    return f"git+{scheme}://{place}" if scheme else f"git+ssh://{place.replace(':', '/', 1)}"


def _builder() -> str:
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_WORKFLOW_REF']}"
    if os.environ.get("GITLAB_CI") == "true":
        return f"{os.environ['CI_PROJECT_URL']}//.gitlab-ci.yml"
    return "urn:dbt-on-fargate:a-person"


def _invocation() -> str | None:
    if os.environ.get("GITHUB_ACTIONS") == "true":
        run = f"{os.environ['GITHUB_REPOSITORY']}/actions/runs/{os.environ['GITHUB_RUN_ID']}"
        return f"{os.environ['GITHUB_SERVER_URL']}/{run}/attempts/{os.environ['GITHUB_RUN_ATTEMPT']}"
    return os.environ.get("CI_JOB_URL")
