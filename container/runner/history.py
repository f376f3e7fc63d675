"""
The history of a project's runs: small files that the pages read, and that medians are taken from.

It is kept beside the run records, can be lost without harm, and costs a run at most three GETs and five PUTs. Format:
docs/pages.md.
"""

from __future__ import annotations

import json
import logging
import statistics
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.clock import now
from runner.dbt_types import DbtObject
from runner.nodes import NodeResult
from runner.outcome import DONE, NodeStatus
from runner.store import ALWAYS_CHECK, JSON, Store, StoreError, Upload

FOLDER = "history/"
FORMAT_VERSION = 1
MOST_RUNS = 1000
"""Runs in runs.json; older ones are still in their records."""
RUNS_OF_A_NODE = 30
RUNS_IN_OVERVIEW = 30
_MEDIAN_OF = 10
_MOST_BEGUN = 20
_MOST_NAMES = 5
_LONGEST_TEXT = 300
_LOG = logging.getLogger("runner")
_LETTERS = {
    NodeStatus.SUCCESS: "s",
    NodeStatus.WARN: "w",
    NodeStatus.FAIL: "f",
    NodeStatus.ERROR: "e",
    NodeStatus.SKIPPED: "k",
    NodeStatus.NOT_RUN: "n",
}
_ABSENT = "-"
_DESCRIBED = frozenset({"model", "seed", "snapshot", "source"})

_Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class NodePast:
    """What earlier runs say of one node."""

    statuses: str
    """A letter for each of the runs that it took part in, oldest first."""
    usual_seconds: float | None
    """The median of its last good runs."""
    failing_since: str | None
    """When the first of the failures ended that now are the last ones without a success between them."""


@dataclass(kw_only=True)
class Past:
    """What is known of earlier runs; empty for a project's first run, and where S3 did not answer."""

    overview: _Json = field(default_factory=dict)
    runs: list[_Json] = field(default_factory=list)
    columns: list[list[Any]] = field(default_factory=list)
    """`[run_id, attempt, ended_at]` of the runs that `nodes` tells of, oldest first."""
    nodes: dict[str, list[Any]] = field(default_factory=dict)
    """By unique id: type, name, a letter for each column, seconds for each column."""

    def usual_seconds(self) -> float | None:
        """Return the median time of the last runs that ended well in one attempt."""
        good = [run["seconds"] for run in self.runs if run["outcome"] == "success" and run["attempt"] == 1]
        return statistics.median(good[-_MEDIAN_OF:]) if good else None

    def node(self, unique_id: str) -> NodePast | None:
        """Return what is known of one node."""
        known = self.nodes.get(unique_id)
        if known is None:
            return None
        _, _, letters, seconds = known
        good = [
            took
            for letter, took in zip(letters, seconds, strict=False)
            if letter in "sw" and isinstance(took, int | float)
        ]
        failing: str | None = None
        for column, letter in zip(reversed(self.columns), reversed(letters), strict=False):
            if letter in "sw":
                break
            if letter in "fe":
                failing = column[2]
        return NodePast(
            statuses=letters.replace(_ABSENT, ""),
            usual_seconds=round(statistics.median(good[-_MEDIAN_OF:]), 3) if good else None,
            failing_since=failing,
        )

    def attempts(self, run_id: str) -> list[_Json]:
        """Return the earlier attempts of a run, the killed ones too."""
        known = [run for run in self.runs if run["run_id"] == run_id]
        known += [_killed(begun) for begun in self.left() if begun["run_id"] == run_id]
        return sorted({run["attempt"]: run for run in known}.values(), key=lambda run: int(run["attempt"]))

    def left(self) -> list[_Json]:
        """Return the attempts that have begun and of which no end is known."""
        ended = {(run["run_id"], run["attempt"]) for run in self.runs}
        return [begun for begun in self.overview.get("begun", []) if (begun["run_id"], begun["attempt"]) not in ended]


class History:
    """One attempt's part in the history; nothing in it raises or takes longer than it is given."""

    def __init__(self, store: Store, *, start: Mapping[str, Any]) -> None:
        self._store = store
        self._start = start
        self._overview: _Json = {}
        self._begun: _Json = {name: start[name] for name in ("run_id", "attempt", "started_at")}
        self._thread = threading.Thread(target=self._say_it_began, name="history", daemon=True)

    def begin(self) -> None:
        """Say, on a thread of its own, that this attempt has begun: if it is killed, nothing else will."""
        self._thread.start()

    def read(self, *, within_seconds: float) -> Past:
        """Return what is known; call it after `begin`."""
        past = Past()
        reading = threading.Thread(target=self._read, args=(past,), name="history", daemon=True)
        reading.start()
        reading.join(within_seconds)
        if reading.is_alive():
            _LOG.warning("S3 did not tell of earlier runs within %.0f s", within_seconds)
            return Past()
        return past

    def uploads(
        self,
        past: Past,
        *,
        run: Mapping[str, Any],
        results: Iterable[NodeResult],
        docs_prefix: str | None,
        manifest: DbtObject,
    ) -> list[Upload]:
        """Return what is to be written once this attempt has ended as `run` says."""
        own = (run["run_id"], run["attempt"])
        killed = [_killed(begun) for begun in past.left() if (begun["run_id"], begun["attempt"]) != own]
        runs = [known for known in past.runs if (known["run_id"], known["attempt"]) != own]
        runs = [*runs, *killed, dict(run)][-MOST_RUNS:]
        fingerprint = self._start["code"]["fingerprint"]
        models = _models(manifest) if manifest is not None and past.overview.get("models_of") != fingerprint else None
        overview = {
            **_heading(self._start),
            "written_at": now(),
            "begun": [],
            "last": dict(run),
            "docs_prefix": docs_prefix or past.overview.get("docs_prefix"),
            "models_of": past.overview.get("models_of") if models is None else fingerprint,
            "runs": [_short(known) for known in runs[-RUNS_IN_OVERVIEW:]],
        }
        files: dict[str, Any] = {
            "runs.json": {**_heading(self._start), "runs": runs},
            "nodes.json": {**_heading(self._start), **_with_run(past, run, results)},
            "overview.json": overview,
        }
        if models is not None:
            files["models.json"] = {**_heading(self._start), "models": models}
        return [
            Upload(
                key=f"{FOLDER}{name}",
                source=json.dumps(content, separators=(",", ":")).encode(),
                content_type=JSON,
                cache_control=ALWAYS_CHECK,
            )
            for name, content in files.items()
        ]

    def _say_it_began(self) -> None:
        try:
            overview = _read(self._store, "overview.json")
            overview["begun"] = [*overview.get("begun", []), self._begun][-_MOST_BEGUN:]
            self._overview = overview
            content = {**_heading(self._start), **overview}
            self._store.put(f"{FOLDER}overview.json", json.dumps(content).encode(), cache_control=ALWAYS_CHECK)
        except (StoreError, ValueError, AttributeError, TypeError) as error:
            _LOG.warning("the history does not know that this attempt has begun: %s", error)

    def _read(self, past: Past) -> None:
        try:
            self._thread.join()
            past.overview = self._overview
            past.runs = list(_read(self._store, "runs.json").get("runs", []))
            nodes = _read(self._store, "nodes.json")
            past.columns = list(nodes.get("runs", []))
            past.nodes = {unique_id: rest for unique_id, *rest in nodes.get("nodes", [])}
        except (StoreError, ValueError, AttributeError, TypeError) as error:
            _LOG.warning("nothing is known of earlier runs: %s", error)


def run_entry(
    *,
    start: Mapping[str, Any],
    outcome: str,
    headline: str,
    ended_at: str,
    seconds: float,
    results: Sequence[NodeResult],
    counts: Mapping[str, int],
    has_docs: bool,
) -> _Json:
    """Return the entry of one attempt in runs.json."""
    failed = [result.name for result in results if result.status in {NodeStatus.ERROR, NodeStatus.FAIL}]
    return {
        "run_id": start["run_id"],
        "attempt": start["attempt"],
        "outcome": outcome,
        "headline": headline[:_LONGEST_TEXT],
        "started_at": start["started_at"],
        "ended_at": ended_at,
        "seconds": round(seconds, 1),
        "counts": {status: number for status, number in counts.items() if number},
        "failed": [name[:_LONGEST_TEXT] for name in failed[:_MOST_NAMES]],
        "docs": has_docs,
    }


def _with_run(past: Past, run: Mapping[str, Any], results: Iterable[NodeResult]) -> _Json:
    known_attempts = {(run_id, attempt) for run_id, attempt, _ in past.columns}
    kept = past.columns[-(RUNS_OF_A_NODE - 1) :]
    dropped = len(past.columns) - len(kept)
    nodes: dict[str, list[Any]] = {}
    for unique_id, (kind, name, letters, seconds) in past.nodes.items():
        nodes[unique_id] = [kind, name, letters[dropped:] + _ABSENT, [*seconds[dropped:], None]]
    for result in results:
        if result.from_attempt is not None and (run["run_id"], result.from_attempt) in known_attempts:
            continue
        entry = nodes.setdefault(
            result.unique_id, [result.resource_type, result.name, _ABSENT * (len(kept) + 1), [None] * (len(kept) + 1)]
        )
        entry[2] = entry[2][:-1] + _LETTERS[result.status]
        entry[3][-1] = round(result.seconds, 2) if result.status in DONE else None
    return {
        "runs": [*kept, [run["run_id"], run["attempt"], run["ended_at"]]],
        # A list, not an object: a node may be called what it likes.
        "nodes": [[unique_id, *rest] for unique_id, rest in nodes.items() if rest[2].strip(_ABSENT)],
    }


def _models(manifest: DbtObject) -> list[list[Any]]:
    """Return what people search for: unique id, type, name, description, names of columns."""
    found = [node for node in manifest.nodes.values() if str(node.resource_type) in _DESCRIBED]
    return [
        [
            node.unique_id,
            str(node.resource_type),
            f"{node.source_name}.{node.name}" if str(node.resource_type) == "source" else node.name,
            node.description[:_LONGEST_TEXT],
            list(node.columns),
        ]
        for node in [*found, *manifest.sources.values()]
    ]


def _short(run: Mapping[str, Any]) -> _Json:
    return {name: run.get(name) for name in ("run_id", "attempt", "outcome", "started_at", "seconds")}


def _killed(begun: Mapping[str, Any]) -> _Json:
    return {
        **{name: begun[name] for name in ("run_id", "attempt", "started_at")},
        "outcome": "killed",
        "headline": "the container was killed, or its end could not be written",
        "ended_at": begun["started_at"],
        "seconds": None,
        "counts": {},
        "failed": [],
        "docs": False,
    }


def _heading(start: Mapping[str, Any]) -> _Json:
    return {"format_version": FORMAT_VERSION, "project": start["project"], "environment": start["environment"]}


def _read(store: Store, name: str) -> _Json:
    body = store.get(f"{FOLDER}{name}")
    value: _Json = json.loads(body) if body else {}
    # A later format is not ours to change or to guess at; the file is then begun anew.
    return value if value.get("format_version") == FORMAT_VERSION else {}
