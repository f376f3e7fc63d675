"""What earlier attempts of this run have proven done, read from their records."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.left_sessions import LeftSession, sessions_of
from runner.nodes import NodeResult
from runner.outcome import DONE, NodeStatus, SettingsError
from runner.record import attempt_folder
from runner.store import Store

_LOG = logging.getLogger("runner")
_RESUMABLE_STEPS = frozenset({"seed", "snapshot", "run", "test", "build"})
"""Freshness is a statement about now and is asked again; docs are cheap."""


@dataclass(frozen=True, kw_only=True)
class Resume:
    """What this attempt need not repeat."""

    attempt: int | None = None
    """The latest attempt that is continued, None if everything is to be done."""
    done: Mapping[str, Mapping[str, NodeResult]] = field(default_factory=dict)
    """By step and unique id."""
    left_sessions: Sequence[LeftSession] = ()
    """On the warehouse, of all attempts that did not come to their own end, whatever code they ran."""
    starts_over: str | None = None
    """Why earlier attempts count for nothing, if there are any and they do not."""

    def as_json(self) -> dict[str, Any] | None:
        """Return `resumes` of start.json."""
        if self.attempt is None:
            return None
        ids = sorted({unique_id for nodes in self.done.values() for unique_id in nodes})
        return {"attempt": self.attempt, "done": ids}


def next_attempt(store: Store, run_id: str) -> int:
    """Return the first number after all attempts that have a start.json."""
    return max(_attempts(store, run_id), default=0) + 1


def read_resume(store: Store, run_id: str, attempt: int, *, resume_key: str, start_over: bool) -> Resume:
    """
    Read what attempts of `run_id` before `attempt` have proven done.

    Only events count, not end.json: an attempt that was killed has none. A node is proven done if its last word, over all
    attempts, is a success for the same `resume_key` (code, vars and target). An attempt with another key has built something
    else in its place, so nothing before it counts. What was done but not yet written when the process was killed is done
    again: nobody can tell it from what was not done.
    """
    earlier = [number for number in _attempts(store, run_id) if number < attempt]
    done: dict[str, dict[str, NodeResult]] = {}
    left: list[LeftSession] = []
    continued: int | None = None
    starts_over: str | None = None
    for number in earlier:
        start = _json(store, f"{attempt_folder(run_id, number)}start.json")
        if start is None:
            continue
        events = list(_events(store, run_id, number))
        left += sessions_of(events)
        if start.get("resume_key") != resume_key:
            done, continued = {}, None
            starts_over = f"attempt {number} ran with other code, vars or target"
            continue
        starts_over = None
        continued = number
        _replay(events, number, done)
    if start_over and earlier:
        return Resume(left_sessions=left, starts_over="the run spec says start_over")
    found = {step: nodes for step, nodes in done.items() if nodes}
    return Resume(attempt=continued, done=found, left_sessions=left, starts_over=starts_over)


def _events(store: Store, run_id: str, attempt: int) -> Iterator[Mapping[str, Any]]:
    for key in store.keys(f"{attempt_folder(run_id, attempt)}events/"):
        for line in (store.get(key) or b"").splitlines():
            yield json.loads(line)


def _replay(events: Iterable[Mapping[str, Any]], attempt: int, done: dict[str, dict[str, NodeResult]]) -> None:
    for event in events:
        nodes = done.setdefault(event.get("step", ""), {})
        if event["type"] == "node_started":
            nodes.pop(event["unique_id"], None)
        elif event["type"] == "node_finished" and event["step"] in _RESUMABLE_STEPS:
            result = _result(event, attempt)
            if result.status in DONE:
                nodes[result.unique_id] = result
            else:
                nodes.pop(result.unique_id, None)


def _result(event: Mapping[str, Any], attempt: int) -> NodeResult:
    origin = event.get("from_attempt", attempt)
    return NodeResult(
        unique_id=event["unique_id"],
        resource_type=event["resource_type"],
        name=event["name"],
        step=event["step"],
        status=NodeStatus(event["status"]),
        seconds=event["seconds"],
        thread=event["thread"] or None,
        message=event.get("message"),
        relation=event.get("relation"),
        rows=event.get("rows"),
        failures=event.get("failures"),
        attached_node=event.get("attached_node"),
        from_attempt=origin,
        ended_at=event["t"],
    )


def _attempts(store: Store, run_id: str) -> list[int]:
    names = store.folders(f"runs/{run_id}/attempts/")
    strange = [name for name in names if not name.isdigit()]
    if strange:
        raise SettingsError(f"{store.uri(f'runs/{run_id}/attempts/')} holds {strange[0]!r}, which is not an attempt")
    return sorted(int(name) for name in names)


def _json(store: Store, key: str) -> Mapping[str, Any] | None:
    body = store.get(key)
    value: Mapping[str, Any] | None = None if body is None else json.loads(body)
    return value
