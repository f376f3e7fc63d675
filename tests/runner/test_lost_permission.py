"""A permission on the bucket that is taken away while a run is under way."""

import time

import pytest

from tests.faults.machine import Machine
from tests.faults.proxy import Mode
from tests.runner.attempts import builds, ended, started
from tests.unit.runner.support import events_of, validated_record

pytestmark = pytest.mark.usefixtures("schema")
_SECONDS_TO_BEGIN = 60.0


def wait_until_orders_are_told(machine: Machine, run_id: str) -> None:
    """Until the record tells of the first model that others need."""
    until = time.monotonic() + _SECONDS_TO_BEGIN
    while time.monotonic() < until:
        batches = machine.objects(f"runs/{run_id}/attempts/0001/events/").values()
        if any(
            b'"node_finished"' in line and b"model.faults.orders" in line
            for body in batches
            for line in body.splitlines()
        ):
            return
        time.sleep(0.1)
    raise AssertionError("nothing was built")


def test_a_run_that_may_not_write_any_more_ends_as_its_data_does(machine: Machine) -> None:
    """It is green, its log says which action on what was denied, and the next attempt proves what it can and builds the rest."""
    machine.set_pace(4.0)
    attempt = started(machine, "denied", spec={"steps": ["build"]})
    wait_until_orders_are_told(machine, "denied")
    machine.s3_proxy.mode = Mode.FORBIDDEN
    code = ended(attempt)
    machine.heal()

    assert code == 0
    assert len(set(builds(machine))) == len(builds(machine)) == 15
    record = validated_record(machine.store, "denied")
    assert "attempts/0001/end.json" not in record
    log = attempt.log.read_text()
    assert f"s3:PutObject on {machine.store.uri('runs/denied/attempts/0001/events/')}" in log
    assert "AccessDenied" in log
    assert "the run record is incomplete" in log

    assert ended(started(machine, "denied", spec={"steps": ["build"]}, number=2)) == 0
    end = validated_record(machine.store, "denied")["attempts/0002/end.json"]
    assert end["outcome"] == "success"
    proven = {unique_id for unique_id, node in end["nodes"].items() if node.get("from_attempt") == 1}
    assert "model.faults.orders" in proven
    assert [node for node in proven if builds(machine).count(node) > 1] == []


def test_a_record_goes_on_when_the_permission_is_back(machine: Machine) -> None:
    """Nothing is missing in it, and nothing stands twice."""
    machine.set_pace(8.0)
    attempt = started(machine, "denied-for-a-while", spec={"steps": ["build"]})
    wait_until_orders_are_told(machine, "denied-for-a-while")
    machine.s3_proxy.mode = Mode.FORBIDDEN
    until = time.monotonic() + _SECONDS_TO_BEGIN
    while "AccessDenied" not in attempt.log.read_text():
        assert time.monotonic() < until
        time.sleep(0.1)
    machine.s3_proxy.mode = Mode.PASS

    assert ended(attempt) == 0
    record = validated_record(machine.store, "denied-for-a-while")
    assert record["attempts/0001/end.json"]["outcome"] == "success"
    finished = [event["unique_id"] for event in events_of(record) if event["type"] == "node_finished"]
    assert sorted(finished) == sorted(record["attempts/0001/end.json"]["nodes"])
