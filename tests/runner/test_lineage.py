"""What an OpenLineage server hears of a run."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.machine import Machine
from tests.runner.attempts import ended, started
from tests.runner.openlineage_server import OpenLineageServer
from tests.unit.runner.support import validated_record

KEY = f"key-{secrets.token_hex(16)}"


@pytest.fixture(scope="module")
def server() -> Iterator[OpenLineageServer]:
    """One server for the tests of this file."""
    with OpenLineageServer(key=KEY) as server:
        yield server


@pytest.fixture(scope="module")
def heard(machine: Machine, server: OpenLineageServer) -> list[dict[str, Any]]:
    """The events of a green run; neither its log nor its record has the key."""
    machine.empty_warehouse()
    secret = machine.make_secret("lineage", {"api_key": KEY})
    attempt = started(
        machine,
        "told",
        spec={"steps": ["source_freshness", "build", "docs"]},
        lineage={"url": server.url, "api_key_secret": secret},
    )
    code = ended(attempt)
    log = attempt.log.read_text()
    assert code == 0, log
    assert "events of lineage were sent" in log
    assert KEY not in log
    assert KEY not in str(validated_record(machine.store, "told"))
    return server.events


def test_the_run_is_the_parent_of_its_nodes(heard: list[dict[str, Any]]) -> None:
    """It begins before and ends after them, and each names it."""
    first, *nodes, last = heard

    assert (first["eventType"], last["eventType"]) == ("START", "COMPLETE")
    assert (first["job"]["namespace"], first["job"]["name"]) == ("dev", "dbt-run-faults")
    assert first["run"]["runId"] == last["run"]["runId"]
    assert nodes
    assert {event["run"]["facets"]["parent"]["run"]["runId"] for event in nodes} == {first["run"]["runId"]}


def test_models_tell_what_they_read_and_write(heard: list[dict[str, Any]]) -> None:
    """With their columns, and where each column comes from."""
    (event,) = (
        event
        for event in heard
        if event["job"]["name"] == "warehouse.built.faults.order_sizes.build.run" and event["eventType"] == "COMPLETE"
    )
    (written,) = event["outputs"]

    assert [dataset["name"] for dataset in event["inputs"]] == ["warehouse.built.orders"]
    assert written["name"] == "warehouse.built.order_sizes"
    assert [column["name"] for column in written["facets"]["schema"]["fields"]] == ["tens", "orders"]
    assert "tens" in written["facets"]["columnLineage"]["fields"]


def test_tests_are_told_with_what_they_test(heard: list[dict[str, Any]]) -> None:
    """As assertions on the model."""
    told = {
        (dataset["name"], assertion["assertion"], assertion.get("column"), assertion["success"])
        for event in heard
        for dataset in event.get("inputs", [])
        for assertion in dataset.get("facets", {}).get("dataQualityAssertions", {}).get("assertions", [])
    }

    assert ("warehouse.built.orders", "unique", "id", True) in told
    assert ("warehouse.built.orders", "no_small_orders", None, False) in told


def test_a_server_that_refuses_changes_nothing_about_the_run(machine: Machine, server: OpenLineageServer) -> None:
    """The log says so in one line, and the run stays green."""
    attempt = started(machine, "refused", spec={"steps": ["build"]}, lineage={"url": server.url})

    assert ended(attempt) == 0
    assert validated_record(machine.store, "refused")["attempts/0001/end.json"]["outcome"] == "success"
    lines = [line for line in attempt.log.read_text().splitlines() if "lineage" in line]
    assert len(lines) == 1
    assert f"events of lineage were not sent to {server.url}" in lines[0]


def test_lineage_that_cannot_be_is_said_before_anything_is_touched(machine: Machine) -> None:
    """A field that nobody knows is an error, as everywhere."""
    machine.empty_warehouse()
    attempt = started(machine, "mistyped", spec={"steps": ["build"]}, lineage={"uri": "https://example.com"})

    assert ended(attempt) == 2
    assert (
        "unknown field 'uri' in lineage, allowed are ['api_key_secret', 'namespace', 'url']" in attempt.log.read_text()
    )
    assert list(machine.store.keys("runs/mistyped/")) == []
