"""The files of one attempt, as S3 sees them."""

import json
import time
from itertools import pairwise
from typing import Any

import pytest

from runner.record import SECONDS_BETWEEN_BATCHES, AttemptRecord
from runner.store import AlreadyExists, Store, StoreError


class MemoryStore(Store):
    """A store in memory that notes when what was put, and refuses as often as it is told to."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.puts: list[tuple[float, str]] = []
        self.refusals = 0

    def put(self, key: str, body: bytes, **options: object) -> None:
        """Keep the object, unless it is to be refused."""
        if self.refusals:
            self.refusals -= 1
            raise StoreError("s3:PutObject failed: SlowDown")
        if options.get("only_if_absent") and key in self.objects:
            raise AlreadyExists(key)
        self.objects[key] = body
        self.puts.append((time.monotonic(), key))

    def get(self, key: str) -> bytes | None:
        """Return what was kept."""
        return self.objects.get(key)


def begun() -> tuple[MemoryStore, AttemptRecord]:
    """A record that has its start.json."""
    memory = MemoryStore()
    record = AttemptRecord(memory, run_id="r", attempt=1)
    record.start({"writer": "a"})
    return memory, record


def events(memory: MemoryStore) -> list[dict[str, Any]]:
    """All events that arrived, in the order of the batches."""
    batches = sorted(key for key in memory.objects if "/events/" in key)
    return [json.loads(line) for key in batches for line in memory.objects[key].decode().splitlines()]


def test_writes_start_then_batches_then_end() -> None:
    """end.json is the last file, and the batches are numbered from 1."""
    memory, record = begun()
    record.event("step_started", step="build")
    record.end({"outcome": "success"}, within_seconds=5)

    assert [key for _, key in memory.puts] == [
        "runs/r/attempts/0001/start.json",
        "runs/r/attempts/0001/events/000001.jsonl",
        "runs/r/attempts/0001/end.json",
    ]


def test_sends_at_most_one_batch_a_second() -> None:
    """However many events there are, the number of requests does not grow with them."""
    memory, record = begun()
    before = time.monotonic()
    for number in range(250):
        record.event("node_started", step="build", unique_id=f"model.shop.m{number}")
        time.sleep(0.01)
    seconds = time.monotonic() - before
    record.end({}, within_seconds=5)

    times = [moment for moment, key in memory.puts if "/events/" in key]
    gaps = [later - earlier for earlier, later in pairwise(times[:-1])]
    assert [f"model.shop.m{number}" for number in range(250)] == [event["unique_id"] for event in events(memory)]
    assert len(times) <= seconds / SECONDS_BETWEEN_BATCHES + 2
    assert all(gap >= SECONDS_BETWEEN_BATCHES * 0.95 for gap in gaps)


def test_an_event_arrives_though_none_follows() -> None:
    """Whoever reads the record while the run is on is at most the time between two batches behind, and a request."""
    memory, record = begun()
    happened = time.monotonic()
    record.event("step_started", step="build")
    while not any("/events/" in key for _, key in memory.puts):
        assert time.monotonic() < happened + 20
        time.sleep(0.01)
    record.end({}, within_seconds=5)

    assert [event["step"] for event in events(memory)] == ["build"]
    # Two seconds are promised; the rest is for the request.
    assert SECONDS_BETWEEN_BATCHES <= 1


def test_repeats_a_batch_that_s3_did_not_take_and_keeps_the_order() -> None:
    """A refusal loses nothing, doubles nothing and leaves no gap."""
    memory, record = begun()
    memory.refusals = 2
    for number in range(5):
        record.event("node_started", step="build", unique_id=str(number))
    complete = record.end({}, within_seconds=20)

    assert complete
    assert [event["unique_id"] for event in events(memory)] == ["0", "1", "2", "3", "4"]


def test_gives_up_in_time_when_s3_is_gone() -> None:
    """The end of a run waits for S3 only so long, and says that the record is incomplete."""
    memory, record = begun()
    memory.refusals = 10**6
    record.event("step_started", step="build")
    before = time.monotonic()
    complete = record.end({}, within_seconds=1.5)

    assert not complete
    assert time.monotonic() - before < 20
    assert "runs/r/attempts/0001/end.json" not in memory.objects


def test_an_attempt_has_one_writer() -> None:
    """The second container that claims an attempt is refused."""
    memory, record = begun()
    second = AttemptRecord(memory, run_id="r", attempt=1)

    with pytest.raises(AlreadyExists):
        second.start({"writer": "b"})
    record.end({}, within_seconds=5)


def test_its_own_repeated_claim_is_not_another_writer() -> None:
    """A request whose answer was lost is sent again, and S3 then says that the file exists."""
    memory = MemoryStore()
    AttemptRecord(memory, run_id="r", attempt=1).start({"writer": "a"})

    AttemptRecord(memory, run_id="r", attempt=1).start({"writer": "a"})

    assert [key for _, key in memory.puts] == ["runs/r/attempts/0001/start.json"]


@pytest.mark.usefixtures("aws")
def test_s3_itself_refuses_the_second_writer(store: Store) -> None:
    """The claim is S3's conditional write, not a look beforehand."""
    store.put("start.json", b"a", only_if_absent=True)

    with pytest.raises(AlreadyExists):
        store.put("start.json", b"b", only_if_absent=True)
    assert store.get("start.json") == b"a"
