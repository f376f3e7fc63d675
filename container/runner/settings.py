"""The environment variables that the container is started with, typed and validated."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.outcome import SettingsError

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+=@-]{0,199}")
ENVIRONMENT_NAME = re.compile(r"[a-z](?:-?[a-z0-9])*")
PROJECT_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
DEFAULT_STOP_TIMEOUT_SECONDS = 30
"""What ECS grants between SIGTERM and SIGKILL unless the task definition says otherwise."""

_DEPLOYMENT_FIELDS = frozenset(
    {
        "format_version",
        "environment",
        "project",
        "bucket",
        "schema",
        "credentials",
        "spec",
        "stop_timeout_seconds",
        "git_commit",
        "image",
        "lineage",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """What the task definition says about this deployment (`RUNNER_DEPLOYMENT`)."""

    environment: str
    project: str
    bucket: str
    schema: str
    credentials: Mapping[str, Any]
    spec: Mapping[str, Any] = field(default_factory=dict)
    stop_timeout_seconds: int = DEFAULT_STOP_TIMEOUT_SECONDS
    git_commit: str | None = None
    image: str | None = None
    lineage: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything that this run was told from outside."""

    deployment: Deployment
    run_id: str
    attempt: int | None
    spec: Mapping[str, Any] = field(default_factory=dict)
    spec_uri: str | None = None
    launched_by: Mapping[str, str] = field(default_factory=dict)
    project_folder: Path = Path("/opt/dbt/project")
    scratch_folder: Path = Path("/scratch")


def settings_from(environ: Mapping[str, str]) -> Settings:
    """
    Read the settings out of `environ`.

    Raises SettingsError with one sentence that names the variable, the value got and what is allowed.
    """
    if environ.get("RUNNER_SPEC") and environ.get("RUNNER_SPEC_URI"):
        raise SettingsError("RUNNER_SPEC and RUNNER_SPEC_URI are both set, only one of them is allowed")
    return Settings(
        deployment=_deployment(_json_object(environ, "RUNNER_DEPLOYMENT", required=True)),
        run_id=_run_id(environ.get("RUNNER_RUN_ID")),
        attempt=_attempt(environ.get("RUNNER_ATTEMPT")),
        spec=_json_object(environ, "RUNNER_SPEC"),
        spec_uri=environ.get("RUNNER_SPEC_URI") or None,
        launched_by=_launched_by(_json_object(environ, "RUNNER_LAUNCHED_BY")),
        project_folder=Path(environ.get("RUNNER_PROJECT_FOLDER") or "/opt/dbt/project"),
        scratch_folder=Path(environ.get("RUNNER_SCRATCH_FOLDER") or "/scratch"),
    )


def manual_run_id() -> str:
    """Return the id of a run that a person starts now; two at the same second differ."""
    return f"manual-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def _json_object(environ: Mapping[str, str], name: str, *, required: bool = False) -> Mapping[str, Any]:
    text = environ.get(name)
    if not text:
        if required:
            raise SettingsError(f"{name} is not set, it must hold the deployment as JSON")
        return {}
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{name} must be JSON, got {_shortened(text)} ({error})") from error
    if not isinstance(value, dict):
        raise SettingsError(f"{name} must be a JSON object, got {_shortened(text)}")
    return value


def _deployment(value: Mapping[str, Any]) -> Deployment:
    unknown = sorted(set(value) - _DEPLOYMENT_FIELDS)
    if unknown:
        raise SettingsError(
            f"unknown field {unknown[0]!r} in RUNNER_DEPLOYMENT, allowed are {sorted(_DEPLOYMENT_FIELDS)}"
        )
    if value.get("format_version") != 1:
        raise SettingsError(f"format_version of RUNNER_DEPLOYMENT must be 1, got {value.get('format_version')!r}")
    return Deployment(
        environment=_name(value, "environment", ENVIRONMENT_NAME),
        project=_name(value, "project", PROJECT_NAME),
        bucket=_text(value, "bucket"),
        schema=_text(value, "schema"),
        credentials=_object(value, "credentials"),
        spec=_object(value, "spec") if value.get("spec") is not None else {},
        stop_timeout_seconds=_stop_timeout(value.get("stop_timeout_seconds", DEFAULT_STOP_TIMEOUT_SECONDS)),
        git_commit=_text(value, "git_commit") if value.get("git_commit") else None,
        image=_text(value, "image") if value.get("image") else None,
        lineage=_object(value, "lineage") if value.get("lineage") is not None else None,
    )


def _text(value: Mapping[str, Any], name: str) -> str:
    got = value.get(name)
    if not isinstance(got, str) or not got:
        raise SettingsError(f"{name} of RUNNER_DEPLOYMENT must be a text that is not empty, got {got!r}")
    return got


def _name(value: Mapping[str, Any], name: str, allowed: re.Pattern[str]) -> str:
    got = _text(value, name)
    if not allowed.fullmatch(got):
        raise SettingsError(f"{name} of RUNNER_DEPLOYMENT must match {allowed.pattern}, got {got!r}")
    return got


def _object(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    got = value.get(name)
    if not isinstance(got, dict):
        raise SettingsError(f"{name} of RUNNER_DEPLOYMENT must be an object, got {got!r}")
    return got


def _stop_timeout(got: object) -> int:
    # ECS: at most 120 s on Fargate. Less than 10 s leaves no time to cancel queries and to complete the record.
    if isinstance(got, bool) or not isinstance(got, int) or not 10 <= got <= 120:
        raise SettingsError(f"stop_timeout_seconds of RUNNER_DEPLOYMENT must be 10..120, got {got!r}")
    return got


def _run_id(got: str | None) -> str:
    if not got:
        return manual_run_id()
    if not RUN_ID.fullmatch(got):
        raise SettingsError(f"RUNNER_RUN_ID must match {RUN_ID.pattern}, got {_shortened(got)}")
    return got


def _attempt(got: str | None) -> int | None:
    if not got:
        return None
    if not re.fullmatch(r"[1-9]\d{0,3}", got):
        raise SettingsError(f"RUNNER_ATTEMPT must be 1..9999, got {_shortened(got)}")
    return int(got)


def _launched_by(value: Mapping[str, Any]) -> Mapping[str, str]:
    for key, text in value.items():
        if not isinstance(text, str):
            raise SettingsError(f"RUNNER_LAUNCHED_BY must hold texts only, got {text!r} for {key!r}")
    return value


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
