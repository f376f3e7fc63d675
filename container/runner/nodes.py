"""The nodes that a step was asked for, and what became of each."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.clock import now
from runner.outcome import DONE, NodeStatus
from runner.record import AttemptRecord

_TOLD_IN_FULL = frozenset({NodeStatus.ERROR, NodeStatus.FAIL, NodeStatus.WARN})
_LONGEST_FILE_NAME_BYTES = 240
"""With its ending it fits file systems, on which copies of the record are read, and with its folders the 1,024 bytes of an S3 key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedNode:
    """A node that was asked for."""

    unique_id: str
    resource_type: str
    name: str
    attached_node: str | None = None
    """For a test, the unique id of the model, seed, snapshot or source that it belongs to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeResult:
    """How one node ended."""

    unique_id: str
    resource_type: str
    name: str
    step: str
    status: NodeStatus
    seconds: float = 0.0
    thread: str | None = None
    message: str | None = None
    relation: str | None = None
    rows: int | None = None
    failures: int | None = None
    compiled_code: str | None = field(default=None, repr=False)
    """The SQL that was sent, for the report; the record holds it as a file if the node failed."""
    attached_node: str | None = None
    from_attempt: int | None = None
    cut_off: bool = False
    """Whether a node that was not run had begun: the stop came in the middle of it."""
    ended_at: str = ""

    @property
    def is_told_in_full(self) -> bool:
        """Whether message and SQL of it stand in the report, and its SQL beside the record."""
        return self.status in _TOLD_IN_FULL or self.cut_off


class NodeLedger:
    """
    Keeps, for every node of every step, what was asked for and how it ended, and writes both into the record.

    dbt's threads report into it at once, so it locks. A node ends once: what is reported first stands.
    """

    def __init__(self, record: AttemptRecord) -> None:
        self._record = record
        self._lock = threading.Lock()
        self._planned: dict[str, dict[str, PlannedNode]] = {}
        self._results: dict[str, dict[str, NodeResult]] = {}
        self._started: set[tuple[str, str]] = set()

    def plan(self, step: str, nodes: Iterable[PlannedNode]) -> None:
        """Note what `step` was asked for; a step's second plan changes nothing."""
        with self._lock:
            if step in self._planned:
                return
            ordered = sorted(nodes, key=lambda node: node.unique_id)
            self._planned[step] = {node.unique_id: node for node in ordered}
            self._results[step] = {}
        for first in range(0, len(ordered), 200):
            self._record.event(
                "planned",
                step=step,
                nodes=[
                    {"unique_id": node.unique_id, "resource_type": node.resource_type, "name": node.name}
                    for node in ordered[first : first + 200]
                ],
            )

    def started(self, step: str, unique_id: str) -> None:
        """Note that dbt began with a node."""
        with self._lock:
            if unique_id not in self._planned.get(step, {}) or (step, unique_id) in self._started:
                return
            self._started.add((step, unique_id))
        self._record.event("node_started", step=step, unique_id=unique_id)

    def finished(self, result: NodeResult) -> None:
        """Note how a node ended, also one that no selection names, such as a hook that failed."""
        with self._lock:
            results = self._results.setdefault(result.step, {})
            if result.unique_id in results:
                return
            planned = self._planned.get(result.step, {}).get(result.unique_id)
            results[result.unique_id] = result
        self._record.event(
            "node_finished",
            step=result.step,
            unique_id=result.unique_id,
            resource_type=result.resource_type,
            name=result.name,
            status=result.status.value,
            message=result.message,
            relation=result.relation,
            rows=result.rows,
            seconds=round(result.seconds, 3),
            thread=result.thread or "",
            compiled_path=self._compiled_path(result),
            failures=result.failures,
            attached_node=result.attached_node or (planned.attached_node if planned else None),
            from_attempt=result.from_attempt,
            cut_off=result.cut_off or None,
        )

    def _compiled_path(self, result: NodeResult) -> str | None:
        has_file = result.compiled_code is not None and result.is_told_in_full
        return compiled_path(result.step, result.unique_id) if has_file else None

    def close(self, step: str, *, because: str | None = None, stopped: bool = False) -> None:
        """
        End each node of `step` that has no result yet.

        One that had begun is an error, unless the run was `stopped`: then nothing is wrong with it.
        """
        with self._lock:
            planned = self._planned.get(step, {})
            open_nodes = [node for unique_id, node in planned.items() if unique_id not in self._results[step]]
        for node in open_nodes:
            started = (step, node.unique_id) in self._started
            reason = because or "dbt ended before it"
            self.finished(
                NodeResult(
                    unique_id=node.unique_id,
                    resource_type=node.resource_type,
                    name=node.name,
                    step=step,
                    status=NodeStatus.ERROR if started and not stopped else NodeStatus.NOT_RUN,
                    message=f"cut off while it ran: {reason}" if started else f"not run: {reason}",
                    attached_node=node.attached_node,
                    cut_off=started and stopped,
                    ended_at=now(),
                )
            )

    def results(self, step: str | None = None) -> list[NodeResult]:
        """Return how the nodes of `step`, or of all steps, ended, in the order in which they did."""
        with self._lock:
            chosen = [self._results.get(step, {})] if step else list(self._results.values())
            return [result for results in chosen for result in results.values()]

    def planned(self, step: str) -> Mapping[str, PlannedNode]:
        """Return what `step` was asked for."""
        with self._lock:
            return dict(self._planned.get(step, {}))

    def undone(self, step: str) -> list[str]:
        """Return the nodes that `step` was asked for and that are not proven done."""
        with self._lock:
            results = self._results.get(step, {})
            return [
                unique_id
                for unique_id in self._planned.get(step, {})
                if unique_id not in results or results[unique_id].status not in DONE
            ]

    def counts(self) -> dict[str, int]:
        """Return how many nodes ended in each status; a node of several steps counts in each."""
        found = Counter(result.status.value for result in self.results())
        return {status.value: found[status.value] for status in NodeStatus}

    def as_json(self) -> dict[str, Any]:
        """Return `nodes` of end.json; of a node that took part in several steps, its worst ending."""
        nodes: dict[str, NodeResult] = {}
        for result in self.results():
            known = nodes.get(result.unique_id)
            if known is None or _SEVERITY[result.status] >= _SEVERITY[known.status]:
                nodes[result.unique_id] = result
        return {unique_id: _as_json(result) for unique_id, result in sorted(nodes.items())}


def compiled_path(step: str, unique_id: str) -> str:
    """Return where the SQL of a failed node is kept, relative to the attempt's folder."""
    return f"compiled/{step}/{file_name(unique_id)}.sql"


def sample_path(step: str, unique_id: str) -> str:
    """Return where rows of a failed test are kept, relative to the attempt's folder."""
    return f"failed_rows/{step}/{file_name(unique_id)}.json"


def file_name(unique_id: str) -> str:
    """
    Return the unique id, or of a long one its beginning and a hash of it.

    dbt puts all arguments of a generic test into its unique id; some are thousands of characters long.
    """
    encoded = unique_id.encode(errors="replace")
    if len(encoded) <= _LONGEST_FILE_NAME_BYTES:
        return unique_id
    ending = f"-{hashlib.sha256(encoded).hexdigest()[:16]}"
    return encoded[: _LONGEST_FILE_NAME_BYTES - len(ending)].decode(errors="ignore") + ending


_FROM_GOOD_TO_BAD = (
    NodeStatus.SUCCESS,
    NodeStatus.WARN,
    NodeStatus.NOT_RUN,
    NodeStatus.SKIPPED,
    NodeStatus.FAIL,
    NodeStatus.ERROR,
)
_SEVERITY = {status: rank for rank, status in enumerate(_FROM_GOOD_TO_BAD)}


def _as_json(result: NodeResult) -> dict[str, Any]:
    fields = {
        "status": result.status.value,
        "message": result.message,
        "step": result.step,
        "seconds": round(result.seconds, 3),
        "from_attempt": result.from_attempt,
        "cut_off": result.cut_off or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
