"""Decides from a run's records how one node task ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from .follower import RunFollower
from .record import NodeResult, succeeded

_CAUSES_AT_MOST = 10


class Outcome(Enum):
    """How a node task ends."""

    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a node task ends, and what its log says of it."""

    outcome: Outcome
    lines: tuple[str, ...]


def verdict(
    follower: RunFollower,
    *,
    unique_id: str,
    tests: Sequence[str],
    since: datetime | None,
    nothing_follows: bool = False,
) -> Verdict | None:
    """
    How the node ended, with its tests; None as long as that is open.

    Only what ended after `since` counts, and what an interrupted attempt left undone counts only if `nothing_follows`. A node without a result in what counts stays open: what that means, once nothing is to come,
    depends on how the run ended.
    """

    def latest(name: str) -> NodeResult | None:
        counting = [
            (result, attempt)
            for result, attempt in follower.results(name)
            if since is None or result.finished_at >= since
        ]
        if not counting:
            return None
        result, attempt = counting[-1]
        return result if nothing_follows or attempt.is_final(result) else None

    node = latest(unique_id)
    if node is None or node.status == "not_run":
        return _unselected(follower, unique_id) if since is None else None
    if node.status == "skipped":
        return Verdict(Outcome.SKIPPED, tuple(_causes(follower, node)))
    if not succeeded(node):
        return Verdict(Outcome.FAILED, (*_facts(node), *_words(node)))
    found = {test: latest(test) for test in tests}
    planned = [test for test in tests if any(attempt.plans(test) for attempt in follower.attempts())]
    for test in tests:
        result = found[test]
        if result is not None and result.status in {"fail", "error"}:
            return Verdict(Outcome.FAILED, (*_facts(node), f"its test {test} did not pass", *_words(result)))
    # A test that dbt skipped waits for another node of its own and says nothing of this one.
    if any((result := found[test]) is None or result.status == "not_run" for test in planned):
        return None
    return Verdict(Outcome.SUCCESS, (*_facts(node), *_notes(node, [result for result in found.values() if result])))


def is_planned(follower: RunFollower, unique_id: str) -> bool:
    """Whether any attempt set out to build the node."""
    return any(attempt.plans(unique_id) for attempt in follower.attempts())


def _unselected(follower: RunFollower, unique_id: str) -> Verdict | None:
    known = [attempt for attempt in follower.attempts() if attempt.plan_is_known]
    if not known or is_planned(follower, unique_id):
        return None
    return Verdict(Outcome.SKIPPED, ("not selected in this run",))


def _causes(follower: RunFollower, node: NodeResult) -> list[str]:
    lines = [f"not built: {node.message or 'something that it depends on failed'}"]
    failed = sorted(
        {
            unique_id
            for attempt in follower.attempts()
            for unique_id, result in attempt.results.items()
            if result.status in {"fail", "error"}
        }
    )
    if failed:
        rest = f" and {len(failed) - _CAUSES_AT_MOST} more" if len(failed) > _CAUSES_AT_MOST else ""
        lines.append(f"failed in this run: {', '.join(failed[:_CAUSES_AT_MOST])}{rest}")
    return lines


def _facts(node: NodeResult) -> list[str]:
    rows = "" if node.rows is None else f", {node.rows:,} rows"
    name = (node.relation or node.unique_id).replace('"', "")
    lines = [f"{node.status}: {name} in {node.seconds:.1f} s{rows}"]
    if node.compiled_path:
        lines.append(f"compiled SQL: {node.compiled_path}")
    return lines


def _words(result: NodeResult) -> list[str]:
    return result.message.strip().splitlines() or ["no message"]


def _notes(node: NodeResult, tests: Sequence[NodeResult]) -> list[str]:
    notes: list[str] = []
    if node.status == "warn":
        notes += [f"warning: {line}" for line in _words(node)]
    for test in tests:
        if test.status == "warn":
            notes.append(f"warning: its test {test.unique_id}: {' '.join(_words(test))}")
    passed = sum(test.status == "success" for test in tests)
    if passed:
        notes.append(f"{passed} of its tests passed")
    return notes
