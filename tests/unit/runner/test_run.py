"""A whole attempt with the real dbt, on the endings that need no warehouse."""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from runner.endings import Endings
from runner.outcome import ExitCode, SettingsError
from runner.run import Run
from runner.settings import settings_from
from runner.store import Store
from tests.unit.runner.support import BUCKET, events_of, validated_record, validator

pytestmark = pytest.mark.slow

CANARY = "canary'\"&$ü-of-the-warehouse"


def run(project: Path, scratch: Path, *, run_id: str = "r", **variables: str) -> ExitCode:
    """One attempt, in this process."""
    deployment: dict[str, Any] = {
        "format_version": 1,
        "environment": "dev",
        "project": "shop",
        "bucket": BUCKET,
        "schema": "analytics",
        "credentials": {"kind": "glue_connection", "connection_name": "warehouse"},
    }
    environ: Mapping[str, str] = {
        "RUNNER_DEPLOYMENT": json.dumps(deployment),
        "RUNNER_RUN_ID": run_id,
        "RUNNER_PROJECT_FOLDER": str(project),
        "RUNNER_SCRATCH_FOLDER": str(scratch),
        **variables,
    }
    return Run(settings_from(environ), Endings(deadline_seconds=600, stop_timeout_seconds=30)).execute()


@pytest.fixture
def nowhere(aws: None) -> None:
    """A Glue connection to a warehouse that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    boto3.client("glue").create_connection(
        ConnectionInput={
            "Name": "warehouse",
            "ConnectionType": "JDBC",
            "ConnectionProperties": {
                "JDBC_CONNECTION_URL": f"jdbc:redshift://127.0.0.1:{port}/warehouse",
                "USERNAME": "dbt",
                "PASSWORD": CANARY,
            },
        }
    )


def test_failing_credentials_leave_a_record_with_the_reason(store: Store, project: Path, tmp_path: Path) -> None:
    """start.json is written before credentials are fetched, so that their failure can be read in the record."""
    code = run(project, tmp_path)

    record = validated_record(store, "r")
    end = record["attempts/0001/end.json"]
    assert (code, end["exit_code"], end["outcome"]) == (ExitCode.DID_NOT_FINISH, 2, "error")
    assert "glue:GetConnection on Glue connection 'warehouse'" in end["headline"]
    assert "glue:GetConnection" in record["attempts/0001/report.html"].decode()
    assert [event["type"] for event in events_of(record)] == ["run_finished"]


@pytest.mark.usefixtures("nowhere")
def test_a_project_that_does_not_parse_ends_with_dbts_words(store: Store, project: Path, tmp_path: Path) -> None:
    """The warehouse is not touched, and the report says what dbt says."""
    (project / "models/broken.sql").write_text("select * from {{ ref('nothing') }}\n")
    code = run(project, tmp_path)

    record = validated_record(store, "r")
    assert (code, record["attempts/0001/end.json"]["outcome"]) == (ExitCode.DID_NOT_FINISH, "error")
    assert "depends on a node named 'nothing'" in record["attempts/0001/report.html"].decode()


@pytest.mark.usefixtures("nowhere")
def test_an_unreachable_warehouse_leaves_every_node_not_run(store: Store, project: Path, tmp_path: Path) -> None:
    """What was asked for is in the record though none of it could begin, the exit code is 2, and no docs are published."""
    code = run(project, tmp_path, RUNNER_SPEC='{"steps": ["build", "docs"]}')

    record = validated_record(store, "r")
    end = record["attempts/0001/end.json"]
    planned = {
        node["unique_id"] for event in events_of(record) if event["type"] == "planned" for node in event["nodes"]
    }
    assert (code, end["outcome"], end["docs"]) == (ExitCode.DID_NOT_FINISH, "error", None)
    assert "Connection refused" in json.dumps(end["steps"][0])
    assert planned == set(end["nodes"])
    assert {"not_run"} == {node["status"] for node in end["nodes"].values()}
    validator("latest").validate(json.loads(store.get("latest.json") or b""))


@pytest.mark.usefixtures("nowhere")
def test_the_password_is_in_no_file_record_or_log_line(
    store: Store, project: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is in this process's environment only, under a name that dbt keeps out of its own logs and models."""
    run(project, tmp_path)

    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    kept = b"".join(store.get(key) or b"" for key in store.keys(""))
    logged = capfd.readouterr()
    assert os.environ["DBT_ENV_SECRET_REDSHIFT_PASSWORD"] == CANARY
    assert [value for value in os.environ.values() if "of-the-warehouse" in value] == [CANARY]
    assert b"of-the-warehouse" not in written + kept
    assert "of-the-warehouse" not in logged.out + logged.err


@pytest.mark.usefixtures("nowhere")
def test_the_second_run_of_an_image_parses_nothing_again(store: Store, project: Path, tmp_path: Path) -> None:
    """The parse cache of the first run is valid in the second, for the same code, connection and vars."""
    spec = '{"steps": ["docs"]}'
    run(project, tmp_path / "first", run_id="first", RUNNER_SPEC=spec)
    before = list(store.keys("cache/"))
    run(project, tmp_path / "second", run_id="second", RUNNER_SPEC=spec)

    cached = (tmp_path / "second/target/partial_parse.msgpack").read_bytes()
    assert before == list(store.keys("cache/"))
    assert len(before) == 1
    # dbt writes the file whenever it has parsed anything.
    assert cached == store.get(before[0])


@pytest.mark.parametrize("spec", ['{"colour": "red"}', '{"threads": 1000}'])
@pytest.mark.usefixtures("nowhere")
def test_rejects_a_wrong_spec_before_anything_is_written(
    store: Store, project: Path, tmp_path: Path, spec: str
) -> None:
    """A mistake in the launch is no attempt."""
    with pytest.raises(SettingsError, match="RUNNER_SPEC"):
        run(project, tmp_path, RUNNER_SPEC=spec)
    assert list(store.keys("")) == []


@pytest.mark.usefixtures("nowhere")
def test_rejects_an_attempt_that_has_a_writer(store: Store, project: Path, tmp_path: Path) -> None:
    """Two containers never write one attempt; the second one leaves the first one's files alone."""
    store.put("runs/r/attempts/0002/start.json", b'{"writer": "other"}')

    with pytest.raises(SettingsError, match="attempt 2 of run 'r' has a writer already"):
        run(project, tmp_path, RUNNER_ATTEMPT="2")
    assert store.get("runs/r/attempts/0002/start.json") == b'{"writer": "other"}'


@pytest.mark.usefixtures("nowhere")
def test_a_large_spec_comes_from_the_projects_own_prefix(store: Store, project: Path, tmp_path: Path) -> None:
    """A pointer to S3 instead of an override, which is capped and logged."""
    store.put("runs/r/spec.json", json.dumps({"select": ["orders"] * 500, "steps": ["run"]}).encode())
    run(project, tmp_path, RUNNER_SPEC_URI=f"s3://{BUCKET}/shop/runs/r/spec.json")

    start = json.loads(store.get("runs/r/attempts/0001/start.json") or b"")
    assert (len(start["spec"]["select"]), start["spec"]["steps"][0]["name"]) == (500, "run")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (f"s3://{BUCKET}/other/spec.json", f"RUNNER_SPEC_URI must begin with s3://{BUCKET}/shop/"),
        (f"s3://{BUCKET}/shop/nothing.json", "where there is nothing"),
        (f"s3://{BUCKET}/shop/text.json", "is not JSON"),
        (f"s3://{BUCKET}/shop/list.json", "must hold a JSON object"),
    ],
)
@pytest.mark.usefixtures("nowhere")
def test_rejects_a_spec_pointer_that_leads_nowhere(
    store: Store, project: Path, tmp_path: Path, uri: str, words: str
) -> None:
    """Another project's spec, none, or something else."""
    store.put("text.json", b"text")
    store.put("list.json", b"[]")

    with pytest.raises(SettingsError, match=words):
        run(project, tmp_path, RUNNER_SPEC_URI=uri)


@pytest.mark.usefixtures("nowhere")
def test_rejects_a_selection_that_cannot_be_made(store: Store, project: Path, tmp_path: Path) -> None:
    """A selector that does not exist is dbt's error, and the run's."""
    code = run(project, tmp_path, RUNNER_SPEC='{"selector": "nightly", "steps": ["build"]}')

    end = validated_record(store, "r")["attempts/0001/end.json"]
    assert (code, end["outcome"]) == (ExitCode.DID_NOT_FINISH, "error")
    assert "nightly" in end["headline"]
