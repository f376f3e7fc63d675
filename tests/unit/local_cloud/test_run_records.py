"""What the demo and the tests read of a run record."""

import json
from collections.abc import Iterator, Mapping, Sequence

import boto3
import pytest
from moto import mock_aws

from local_cloud.run_records import RunRecords


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunRecords]:
    """A bucket with one unfinished and one finished attempt; moto plays S3, whose content is all that matters here."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="records")
        root = "shop/runs/r1/attempts"
        planned = {"type": "planned", "step": "build", "nodes": [{"unique_id": name} for name in ("a", "b", "c")]}
        started = {"type": "step_started", "step": "build"}
        finished = [
            {"type": "node_finished", "unique_id": "a", "status": "success"},
            {"type": "node_finished", "unique_id": "b", "status": "error"},
        ]
        content: Mapping[str, Sequence[object]] = {
            f"{root}/0001/start.json": [{"attempt": 1}],
            f"{root}/0002/start.json": [{"attempt": 2}],
            f"{root}/0002/events/000001.jsonl": [started, planned],
            f"{root}/0002/events/000002.jsonl": finished,
            f"{root}/0002/end.json": [{"outcome": "failed"}],
        }
        for key, lines in content.items():
            s3.put_object(Bucket="records", Key=key, Body="\n".join(json.dumps(line) for line in lines))
        yield RunRecords(s3, bucket="records", project="shop")


def test_last_attempt_is_read_in_order(records: RunRecords) -> None:
    """Without a number the last attempt is meant, its batches in the order of their numbers."""
    attempt = records.attempt("r1")

    assert attempt is not None
    assert attempt.start["attempt"] == 2
    assert [event["type"] for event in attempt.events] == ["step_started", "planned", "node_finished", "node_finished"]
    assert attempt.end == {"outcome": "failed"}


def test_progress_counts_what_is_done(records: RunRecords) -> None:
    """The words on a terminal say how many nodes are done and how many of them failed."""
    attempt = records.attempt("r1")

    assert attempt is not None
    assert attempt.progress() == "build: 2 of 3 done, 1 failed"


def test_unfinished_attempt_has_no_end(records: RunRecords) -> None:
    """A container that was killed leaves no end, and that is told apart from a failed one."""
    attempt = records.attempt("r1", 1)

    assert attempt is not None
    assert attempt.end is None


def test_run_that_never_began_is_none(records: RunRecords) -> None:
    """A run whose container never started has no attempt."""
    assert records.attempt("r2") is None
