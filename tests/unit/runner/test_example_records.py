"""The example records, which the tests of the DAG package read too."""

import json
from pathlib import Path

import pytest

from tests.unit.runner.support import REPOSITORY, validator

EXAMPLES = REPOSITORY / "tests/examples/run-record"
ATTEMPTS = sorted(EXAMPLES.glob("*/attempts/*"))


def name_of(path: Path) -> str:
    """The attempt's name in a test report."""
    return str(path.relative_to(EXAMPLES))


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=name_of)
def test_every_file_is_valid(attempt: Path) -> None:
    """start.json, end.json and each event are what the schemas say."""
    validator("start").validate(json.loads((attempt / "start.json").read_text()))
    if (attempt / "end.json").exists():
        validator("end").validate(json.loads((attempt / "end.json").read_text()))
    for batch in attempt.glob("events/*.jsonl"):
        for line in batch.read_text().splitlines():
            validator("event").validate(json.loads(line))


@pytest.mark.parametrize("attempt", [path for path in ATTEMPTS if (path / "end.json").exists()], ids=name_of)
def test_every_planned_node_ends_exactly_once(attempt: Path) -> None:
    """What was asked for and what ended are the same nodes, in the events as in end.json."""
    lines = [line for batch in sorted(attempt.glob("events/*.jsonl")) for line in batch.read_text().splitlines()]
    events = [json.loads(line) for line in lines]
    planned = [
        (event["step"], node["unique_id"]) for event in events if event["type"] == "planned" for node in event["nodes"]
    ]
    ended = [(event["step"], event["unique_id"]) for event in events if event["type"] == "node_finished"]

    assert sorted(planned) == sorted(ended)
    assert {unique_id for _, unique_id in ended} == set(json.loads((attempt / "end.json").read_text())["nodes"])


def test_the_endings_are_what_the_folders_say() -> None:
    """One example of each ending."""
    endings = {
        name_of(path): json.loads((path / "end.json").read_text())["outcome"] if (path / "end.json").exists() else None
        for path in ATTEMPTS
    }

    assert endings == {
        "green/attempts/0001": "success",
        "failed/attempts/0001": "failed",
        "interrupted/attempts/0001": "interrupted",
        "killed/attempts/0001": None,
        "resumed/attempts/0001": None,
        "resumed/attempts/0002": "success",
    }
