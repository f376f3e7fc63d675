"""The data of the report page, in the form of docs/pages.md: small, and with every text of others cut to a size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from runner.dbt_types import DbtObject
from runner.history import Past
from runner.nodes import NodeResult
from runner.pipeline import StepEnding

FORMAT_VERSION = 1
_LONGEST_NAME = 300
_LONGEST_MESSAGE = 20_000
_LONGEST_SQL = 100_000
_LONGEST_VALUE = 1_000
_SHORT_MESSAGE = 300
_MOST_COLUMNS = 100
_MOST_TEXT = 3_000_000
"""Characters of messages and SQL in one page; beyond it messages are short and SQL is left to the record."""

Graph = Mapping[str, tuple[str, str, Sequence[str]]]
"""By unique id: type, name and the unique ids that it needs."""

Origins = Mapping[str, tuple[str, str]]
"""By unique id: the file that it is written in, and its description."""


def graph_of(manifest: DbtObject) -> Graph:
    """Return dbt's graph, as far as a run can concern it."""
    found: dict[str, tuple[str, str, Sequence[str]]] = {
        unique_id: (str(node.resource_type), node.name, getattr(node.depends_on, "nodes", ()))
        # dbt 1.10 has no functions.
        for nodes in (manifest.nodes, manifest.unit_tests, getattr(manifest, "functions", {}))
        for unique_id, node in nodes.items()
    }
    found |= {
        unique_id: ("source", f"{source.source_name}.{source.name}", ())
        for unique_id, source in manifest.sources.items()
    }
    return found


def origins_of(manifest: DbtObject, results: Sequence[NodeResult]) -> Origins:
    """Return where the nodes whose message stands in the report come from: what people look for when one has failed."""
    told = {result.unique_id for result in results if result.is_told_in_full}
    return {
        unique_id: (node.original_file_path, node.description or "")
        for nodes in (manifest.nodes, manifest.unit_tests)
        for unique_id, node in nodes.items()
        if unique_id in told
    }


def page_data(
    *,
    start: Mapping[str, Any],
    outcome: str,
    headline: str,
    reason: str | None,
    ended_at: str,
    seconds: float,
    endings: Sequence[StepEnding],
    results: Sequence[NodeResult],
    samples: Mapping[tuple[str, str], Mapping[str, Any]],
    withheld: Mapping[tuple[str, str], str],
    docs: Mapping[str, Any] | None,
    graph: Graph,
    origins: Origins,
    past: Past,
) -> dict[str, Any]:
    """Return the object that stands in the page."""
    steps = {ending.step.name.value: number for number, ending in enumerate(endings)}
    nodes = _Nodes(results, graph)
    details, cut = _details(results, samples, withheld, origins)
    data: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        **{name: start[name] for name in ("project", "environment", "run_id", "attempt", "started_at")},
        "outcome": outcome,
        "headline": _cut(headline, _LONGEST_VALUE),
        "reason": None if reason is None else _cut(reason, _LONGEST_MESSAGE),
        "ended_at": ended_at,
        "seconds": round(seconds, 1),
        "usual_seconds": past.usual_seconds(),
        "threads": start.get("spec", {}).get("threads"),
        "code": start["code"],
        "versions": start["versions"],
        "launched_by": {
            _cut(name, _LONGEST_NAME): _cut(text, _LONGEST_VALUE) for name, text in start["launched_by"].items()
        },
        "attempts": _attempts(start, outcome, seconds, past),
        "steps": [_step(ending) for ending in endings],
        "docs": docs,
        "nodes": nodes.rows(start["started_at"], steps, past),
        "details": details,
        "history": {
            str(number): {
                name: value
                for name, value in (("statuses", known.statuses), ("failing_since", known.failing_since))
                if value
            }
            for number, result in enumerate(results)
            if (result.is_told_in_full or result.resource_type == "source") and (known := past.node(result.unique_id))
        },
        "edges": nodes.edges(),
        "cut": cut,
    }
    return data | {name: start[name] for name in ("task_arn", "log", "starts_over") if start.get(name)}


class _Nodes:
    """The nodes that ended, then those that only stand between them in the graph."""

    def __init__(self, results: Sequence[NodeResult], graph: Graph) -> None:
        self._results = results
        self._graph = graph
        self._numbers: dict[str, int] = {}
        for number, result in enumerate(results):
            # A node of several steps stands in each; edges go to where it was built.
            self._numbers.setdefault(result.unique_id, number)
        self._others: list[str] = []
        waiting = list(self._numbers)
        while waiting:
            for parent in self._parents(waiting.pop()):
                if parent not in self._numbers and parent in graph:
                    self._numbers[parent] = len(results) + len(self._others)
                    self._others.append(parent)
                    # What is ephemeral is never run; what lies before it matters to what comes after.
                    waiting.append(parent)

    def _parents(self, unique_id: str) -> Sequence[str]:
        return self._graph[unique_id][2] if unique_id in self._graph else ()

    def rows(self, started_at: str, steps: Mapping[str, int], past: Past) -> list[list[Any]]:
        """Return a row for each node; the fields are those of docs/pages.md."""
        began = datetime.fromisoformat(started_at).timestamp()
        lanes: dict[str, dict[str, int]] = {}
        starts = [_start(result, began) for result in self._results]
        in_order = sorted(range(len(starts)), key=lambda number: starts[number] or 0.0)
        for number in in_order:
            result = self._results[number]
            if starts[number] is not None:
                threads = lanes.setdefault(result.step, {})
                threads.setdefault(result.thread or "", len(threads))
        rows: list[list[Any]] = []
        for result, start in zip(self._results, starts, strict=True):
            known = past.node(result.unique_id)
            rows.append(
                [
                    _cut(result.unique_id, _LONGEST_NAME),
                    result.resource_type,
                    _cut(result.name, _LONGEST_NAME),
                    steps.get(result.step),
                    result.status.value,
                    start,
                    round(result.seconds, 3),
                    None if start is None else lanes[result.step][result.thread or ""],
                    result.rows,
                    result.failures,
                    result.from_attempt,
                    known.usual_seconds if known else None,
                    self._numbers.get(result.attached_node) if result.attached_node else None,
                ]
            )
        for unique_id in self._others:
            kind, name, _ = self._graph[unique_id]
            rows.append(
                [_cut(unique_id, _LONGEST_NAME), kind, _cut(name, _LONGEST_NAME), None, None, *[None] * 7, None]
            )
        return rows

    def edges(self) -> list[int]:
        """Return pairs of numbers: the first is needed by the second."""
        return [
            number
            for unique_id, child in self._numbers.items()
            for parent in self._parents(unique_id)
            if parent in self._numbers
            for number in (self._numbers[parent], child)
        ]


def _start(result: NodeResult, began: float) -> float | None:
    """Return how long after the run the node began, None if it did not run in this attempt."""
    if result.from_attempt is not None or not result.ended_at or not result.thread:
        return None
    return round(max(0.0, datetime.fromisoformat(result.ended_at).timestamp() - result.seconds - began), 3)


def _details(
    results: Sequence[NodeResult],
    samples: Mapping[tuple[str, str], Mapping[str, Any]],
    withheld: Mapping[tuple[str, str], str],
    origins: Origins,
) -> tuple[dict[str, Any], int]:
    """Return the long texts by the node's number, and of how many nodes they were too long for the page."""
    details: dict[str, Any] = {}
    left, cut = _MOST_TEXT, 0
    # What failed is told before what only warns.
    order = sorted(range(len(results)), key=lambda number: (results[number].status == "warn", number))
    for number in order:
        result = results[number]
        if not result.is_told_in_full and not (result.resource_type == "source" and result.message):
            continue
        key = (result.step, result.unique_id)
        detail: dict[str, Any] = {}
        fits = left > 0
        for name, text, longest in (
            ("message", result.message, _LONGEST_MESSAGE if fits else _SHORT_MESSAGE),
            ("sql", result.compiled_code if fits and result.is_told_in_full else None, _LONGEST_SQL),
        ):
            if text:
                detail[name] = _cut(text.strip(), longest)
                left -= len(detail[name])
                if len(text) > longest:
                    detail[f"{name}_cut"] = len(text) - longest
        cut += not fits
        for name, text in zip(("file", "about"), origins.get(result.unique_id, ()), strict=False):
            if text.strip():
                detail[name] = _cut(text.strip(), _LONGEST_VALUE)
        if key in withheld:
            detail["withheld"] = withheld[key]
        elif key in samples and fits:
            detail["sample"] = _sample(samples[key])
            left -= sum(len(value or "") for row in detail["sample"]["rows"] for value in row)
        details[str(number)] = detail
    return details, cut


def _sample(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "columns": [_cut(str(name), _LONGEST_NAME) for name in found["columns"][:_MOST_COLUMNS]],
        "rows": [
            [None if value is None else _cut(value, _LONGEST_VALUE) for value in row[:_MOST_COLUMNS]]
            for row in found["rows"]
        ],
    }


def _step(ending: StepEnding) -> dict[str, Any]:
    entry = ending.as_json()
    return entry | ({"message": _cut(entry["message"], _LONGEST_VALUE)} if "message" in entry else {})


def _attempts(start: Mapping[str, Any], outcome: str, seconds: float, past: Past) -> list[dict[str, Any]]:
    names = ("attempt", "started_at", "outcome", "seconds")
    known = [{name: run[name] for name in names} for run in past.attempts(start["run_id"])]
    own = dict(zip(names, (start["attempt"], start["started_at"], outcome, round(seconds, 1)), strict=True))
    return [*(attempt for attempt in known if attempt["attempt"] < start["attempt"]), own]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
