"""What earlier attempts have proven done."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.left_sessions import LeftSession, still_there
from runner.record import attempt_folder
from runner.resume import next_attempt, read_resume
from runner.store import Store
from tests.unit.runner.support import REPOSITORY

EXAMPLES = REPOSITORY / "tests/examples/run-record"


def write_attempt(store: Store, number: int, events: list[dict[str, Any]], *, resume_key: str = "same") -> None:
    """Write the record of an attempt that was killed, its events in one batch."""
    folder = attempt_folder("r", number)
    store.put(f"{folder}start.json", json.dumps({"resume_key": resume_key}).encode())
    lines = "".join(json.dumps({"t": "2026-01-01T00:00:00.000000Z", **event}) + "\n" for event in events)
    store.put(f"{folder}events/000001.jsonl", lines.encode())


def started(name: str) -> dict[str, Any]:
    """The event of a node that begins."""
    return {"type": "node_started", "step": "build", "unique_id": name}


def finished(name: str, status: str = "success", step: str = "build", **more: object) -> dict[str, Any]:
    """The event of a node that ended."""
    fields = {"unique_id": name, "resource_type": "model", "name": name, "seconds": 1.0, "thread": "Thread-1"}
    return {"type": "node_finished", "step": step, "status": status, **fields, **more}


def done(store: Store, attempt: int = 2, *, start_over: bool = False) -> dict[str, list[str]]:
    """What the given attempt need not repeat, by step."""
    resume = read_resume(store, "r", attempt, resume_key="same", start_over=start_over)
    return {step: sorted(nodes) for step, nodes in resume.done.items()}


def test_the_first_attempt_continues_nothing(store: Store) -> None:
    """Without earlier attempts there is nothing to read."""
    resume = read_resume(store, "r", 1, resume_key="same", start_over=False)

    assert (resume.as_json(), resume.done, resume.starts_over) == (None, {}, None)


def test_success_and_warning_are_done_and_all_else_is_not(store: Store) -> None:
    """What failed, was skipped or was cut off is to be run; so is what had begun when the process was killed."""
    statuses = ("success", "warn", "fail", "error", "skipped", "not_run")
    write_attempt(store, 1, [finished(status, status) for status in statuses] + [started("begun")])

    assert done(store) == {"build": ["success", "warn"]}


def test_the_last_word_on_a_node_counts(store: Store) -> None:
    """A node that was done once, and was begun again later, is not proven done."""
    write_attempt(store, 1, [finished("a"), finished("b"), finished("c")])
    write_attempt(store, 2, [started("a"), finished("b", "error")])

    assert done(store, 3) == {"build": ["c"]}


def test_done_in_any_attempt_is_done(store: Store) -> None:
    """An attempt that was killed before it could repeat what it found done takes nothing away."""
    write_attempt(store, 1, [finished("a")])
    write_attempt(store, 2, [])
    write_attempt(store, 3, [finished("b")])

    resume = read_resume(store, "r", 4, resume_key="same", start_over=False)
    assert resume.as_json() == {"attempt": 3, "done": ["a", "b"]}


def test_the_attempt_that_did_the_work_is_named(store: Store) -> None:
    """A node that attempt 2 took over from attempt 1 was done in attempt 1."""
    write_attempt(store, 1, [finished("a")])
    write_attempt(store, 2, [finished("a", from_attempt=1), finished("b")])

    nodes = read_resume(store, "r", 3, resume_key="same", start_over=False).done["build"]
    assert {name: node.from_attempt for name, node in nodes.items()} == {"a": 1, "b": 2}


def test_freshness_is_asked_again(store: Store) -> None:
    """That a source was fresh an hour ago says nothing about now."""
    write_attempt(store, 1, [finished("source.raw", step="source_freshness"), finished("a")])

    assert done(store) == {"build": ["a"]}


def test_other_code_starts_over_and_says_so(store: Store) -> None:
    """What other code, vars or another target have built is not what was asked for."""
    write_attempt(store, 1, [finished("a")], resume_key="other")
    resume = read_resume(store, "r", 2, resume_key="same", start_over=False)

    assert (resume.as_json(), resume.done) == (None, {})
    assert resume.starts_over == "attempt 1 ran with other code, vars or target"


def test_other_code_in_between_takes_away_what_was_done_before(store: Store) -> None:
    """Attempt 2 may have built something else in the place of what attempt 1 had built."""
    write_attempt(store, 1, [finished("a")])
    write_attempt(store, 2, [finished("b")], resume_key="other")
    write_attempt(store, 3, [finished("c")])

    assert done(store, 4) == {"build": ["c"]}


def opened(pid: int) -> dict[str, Any]:
    """The event of a session on the warehouse."""
    return {"type": "session_opened", "pid": pid}


def left(store: Store, *, resume_key: str = "same", start_over: bool = False) -> list[int]:
    """The sessions that the third attempt is to look for."""
    resume = read_resume(store, "r", 3, resume_key=resume_key, start_over=start_over)
    return [session.pid for session in resume.left_sessions]


@pytest.mark.parametrize(("resume_key", "start_over"), [("same", False), ("another", False), ("same", True)])
def test_sessions_of_attempts_that_were_killed_are_looked_for(store: Store, resume_key: str, start_over: bool) -> None:
    """Whatever code the killed one ran, and whether or not anything of it counts: its queries hold locks."""
    write_attempt(store, 1, [opened(11), finished("a")])
    write_attempt(store, 2, [opened(21), {"type": "run_finished", "outcome": "interrupted"}])

    assert left(store, resume_key=resume_key, start_over=start_over) == [11, 21]


@pytest.mark.parametrize("outcome", ["success", "failed"])
def test_an_attempt_that_came_to_its_end_has_left_no_session(store: Store, outcome: str) -> None:
    """So the usual further attempt, after a model that failed, asks the warehouse nothing."""
    write_attempt(store, 1, [opened(11), {"type": "run_finished", "outcome": outcome}])

    assert left(store) == []


def test_only_the_session_that_was_noted_is_ended() -> None:
    """Process ids are used again: a session of that number which began at another time is somebody else's."""
    noted = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    sessions = [LeftSession(pid=pid, noted_at=noted) for pid in (1, 2, 3, 4)]
    active = [
        (1, datetime(2026, 1, 1, 11, 59, 58)),  # noqa: DTZ001 - as Redshift tells it, in UTC
        (2, datetime(2026, 1, 1, 12, 5)),  # noqa: DTZ001 - see above
        (3, datetime(2026, 1, 1, 11, 50)),  # noqa: DTZ001 - see above
        (9, datetime(2026, 1, 1, 11, 59, 58)),  # noqa: DTZ001 - see above
    ]

    assert still_there(sessions, active) == [1]


def test_start_over_repeats_everything(store: Store) -> None:
    """Whoever wants a run repeated says so in its spec."""
    write_attempt(store, 1, [finished("a")])

    assert done(store, start_over=True) == {}


def test_next_attempt_follows_the_last_one(store: Store) -> None:
    """A launcher that counts nothing gets the next free number."""
    write_attempt(store, 1, [])
    write_attempt(store, 3, [])

    assert (next_attempt(store, "other"), next_attempt(store, "r")) == (1, 4)


def test_goes_on_after_a_real_kill(store: Store) -> None:
    """Of the example run that was killed, exactly what its events prove done is left out."""
    folder = EXAMPLES / "killed/attempts/0001"
    for path in sorted(folder.rglob("*.json*")):
        store.put(f"{attempt_folder('r', 1)}{path.relative_to(folder).as_posix()}", path.read_bytes())
    start = json.loads((folder / "start.json").read_text())
    second = json.loads((EXAMPLES / "resumed/attempts/0002/start.json").read_text())

    resume = read_resume(store, "r", 2, resume_key=start["resume_key"], start_over=False)
    assert second["resumes"] == resume.as_json()


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.rglob("events/*.jsonl")), ids=lambda path: str(path.relative_to(EXAMPLES))
)
def test_times_of_events_do_not_go_back(path: Path) -> None:
    """Events stand in the order in which they happened."""
    times = [json.loads(line)["t"] for line in path.read_text().splitlines()]

    assert sorted(times) == times
