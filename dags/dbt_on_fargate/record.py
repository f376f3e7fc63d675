"""Reads the run record that the container writes to S3 (its format: docs/run-record.md)."""

import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import aws
from .deployment import RecordPlace

if TYPE_CHECKING:
    from botocore.client import BaseClient  # type: ignore[import-untyped]  # no stubs beside Airflow

# `end.json` follows the last events; S3 shows it at once, the container needs a moment to write it.
SECONDS_FOR_THE_END = 15.0

_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
# What stands between the name of a run and the rest, in a record of what a person cleared.
_CLEARED = ".clear-"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+=@-]{0,149}")

# The states of a node that leave nothing to wait for in the attempt that reports them.
_SUCCEEDED = frozenset({"success", "warn"})
# What the container writes for what it will not come to, a moment before it says how the run ended.
_NOT_RUN = "not_run"

# The steps that build nodes; the others only test, document or measure them.
_BUILDING_STEPS = frozenset({"build", "run", "seed", "snapshot"})
# Those after which nothing changes any more in what is built, nor in what is known of it.
_DECIDING_STEPS = _BUILDING_STEPS | {"test"}


def record_id(run_id: str) -> str:
    """
    The name of a DAG run in the record: the run's id where the record's rules allow it, else a safe form with a hash of it.

    At most 150 of the 200 characters that are allowed, which leaves room for `cleared_record_id`.
    """
    if _RUN_ID.fullmatch(run_id):
        return run_id
    safe = re.sub(r"[^A-Za-z0-9_.:+=@-]", "-", run_id)[:130]
    return f"r-{safe}-{hashlib.sha256(run_id.encode()).hexdigest()[:12]}"


def cleared_record_id(base: str, *, task_id: str, generation: int) -> str:
    """
    The name of the record of what a person cleared.

    A record of its own, because within one record the container skips what is done already, and what is cleared has to run again.
    """
    return f"{base}{_CLEARED}{generation}-{_task_hash(task_id)}"


def newest_record(names: Iterable[str], *, base: str, task_id: str) -> str:
    """Among the names of a run's records, the last that belongs to the task; `base` if nobody cleared it."""
    mine = {
        int(number): name
        for name in names
        for number, _, task_hash in [name.removeprefix(f"{base}{_CLEARED}").partition("-")]
        if task_hash == _task_hash(task_id) and number.isdecimal()
    }
    return mine[max(mine)] if mine else base


def _task_hash(task_id: str) -> str:
    return hashlib.sha256(task_id.encode()).hexdigest()[:6]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeResult:
    """How a node or test ended in one attempt."""

    unique_id: str
    status: str
    message: str
    relation: str | None
    rows: int | None
    seconds: float
    compiled_path: str | None
    finished_at: datetime
    # The earlier attempt that has built it, if not this one.
    from_attempt: int | None = None


@dataclass
class Attempt:
    """What is known so far of one attempt."""

    number: int
    next_batch: int = 1
    steps: tuple[str, ...] = ()
    planned: dict[str, set[str]] = field(default_factory=dict)
    # The steps of which all is planned that ever will be: they work on nodes, or are over.
    planned_steps: set[str] = field(default_factory=set)
    results: dict[str, NodeResult] = field(default_factory=dict)
    # What is at work, and since when.
    started: dict[str, datetime] = field(default_factory=dict)
    # As the last event says; empty while the container is at work, and for ever if it was killed.
    outcome: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether the container wrote the last of its events."""
        return bool(self.outcome)

    def is_final(self, result: "NodeResult") -> bool:
        """
        Whether a result of this attempt stands, so that no later attempt of the record replaces it.

        A node that the end of the run cut off, or that it did not come to, is the next attempt's if the run was interrupted; so is one
        that had failed before and that nobody has been told of.
        """
        if succeeded(result):
            return True
        if self.is_finished:
            return self.outcome != "interrupted"
        return result.status != _NOT_RUN

    @property
    def is_settled(self) -> bool:
        """Whether all that builds or tests nodes is done and stands; docs and the report may be to come."""
        deciding = [step for step in self.steps if step in _DECIDING_STEPS]
        if not deciding or not self.planned_steps.issuperset(deciding):
            return False
        planned = set().union(*(self.planned.get(step, set()) for step in deciding))
        return all(name in self.results and self.is_final(self.results[name]) for name in planned)

    @property
    def plan_is_known(self) -> bool:
        """Whether what is not planned by now will not be built by this attempt."""
        building = [step for step in self.steps if step in _BUILDING_STEPS]
        return self.is_finished or (bool(building) and self.planned_steps.issuperset(building))

    def plans(self, unique_id: str) -> bool:
        """Whether a step of this attempt set out to build or test the node."""
        return any(unique_id in nodes for nodes in self.planned.values())

    def add(self, event: Mapping[str, Any]) -> None:
        """Take in one line of the event files; types of later format versions are left alone."""
        match event["type"]:
            case "planned":
                nodes = {node["unique_id"] for node in event["nodes"]}
                self.planned.setdefault(event["step"], set()).update(nodes)
            case "node_started":
                self.planned_steps.add(event["step"])
                self.started[event["unique_id"]] = datetime.fromisoformat(event["t"])
            case "step_finished":
                self.planned_steps.add(event["step"])
            case "node_finished":
                self.planned_steps.add(event["step"])
                self.started.pop(event["unique_id"], None)
                self.results[event["unique_id"]] = NodeResult(
                    unique_id=event["unique_id"],
                    status=event["status"],
                    message=event.get("message") or "",
                    relation=event.get("relation"),
                    rows=event.get("rows"),
                    seconds=float(event.get("seconds") or 0.0),
                    compiled_path=event.get("compiled_path"),
                    finished_at=datetime.fromisoformat(event["t"]),
                    from_attempt=event.get("from_attempt"),
                )
            case "run_finished":
                self.outcome = event["outcome"]


class RunRecord:
    """
    One record (`runs/<record id>/`), read as it grows.

    `read_new` and the other reading methods block; a trigger calls them in a thread, one at a time.
    """

    def __init__(self, *, client: "BaseClient", bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self.attempts: dict[int, Attempt] = {}

    def read_new(self, *, look_for_attempts: bool) -> bool:
        """
        Read what the container wrote since the last call; returns whether there was anything.

        One request for each batch of events and one that finds no further; one more with `look_for_attempts`.
        """
        found = False
        if look_for_attempts:
            for number in sorted(set(self.attempt_numbers()) - self.attempts.keys()):
                start = self._json(f"attempts/{number:04d}/start.json")
                if start is not None:
                    steps = tuple(step["name"] for step in start.get("spec", {}).get("steps", []))
                    self.attempts[number] = Attempt(number, steps=steps)
                    found = True
        for attempt in self.attempts.values():
            if not attempt.is_finished:
                found = self._read_batches(attempt) or found
        return found

    def attempt_numbers(self) -> list[int]:
        """The numbers of the attempts that have begun."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=f"{self._prefix}attempts/", Delimiter="/"
        )
        return sorted(
            int(folder["Prefix"].removesuffix("/").rpartition("/")[2])
            for page in pages
            for folder in page.get("CommonPrefixes", [])
        )

    def end(self, attempt: int, *, within_seconds: float = 0.0) -> dict[str, Any] | None:
        """`end.json` of an attempt; None if it is unfinished or was killed and that does not change `within_seconds`."""
        until = time.monotonic() + within_seconds
        while (end := self._json(f"attempts/{attempt:04d}/end.json")) is None and time.monotonic() < until:
            time.sleep(0.5)
        return end

    def write_spec(self, spec: Mapping[str, Any]) -> str:
        """Write `spec.json` for a container whose spec is too large for ECS's overrides; returns its address."""
        key = f"{self._prefix}spec.json"
        self._client.put_object(
            Bucket=self._bucket, Key=key, Body=json.dumps(spec).encode(), ContentType="application/json"
        )
        return f"s3://{self._bucket}/{key}"

    def results(self, unique_id: str) -> list[tuple[NodeResult, Attempt]]:
        """How the node ended in each attempt that ran it."""
        return [
            (attempt.results[unique_id], attempt) for attempt in self.attempts.values() if unique_id in attempt.results
        ]

    def unique_ids(self) -> set[str]:
        """The nodes and tests that any attempt has a result of."""
        return set().union(*(attempt.results for attempt in self.attempts.values()))

    def _read_batches(self, attempt: Attempt) -> bool:
        found = False
        while (batch := self._body(f"attempts/{attempt.number:04d}/events/{attempt.next_batch:06d}.jsonl")) is not None:
            found = True
            attempt.next_batch += 1
            for line in batch.decode("utf-8").splitlines():
                if line.strip():
                    attempt.add(json.loads(line))
            if attempt.is_finished:
                break
        return found

    def _json(self, name: str) -> dict[str, Any] | None:
        body = self._body(name)
        if body is None:
            return None
        content: dict[str, Any] = json.loads(body)
        return content

    def _body(self, name: str) -> bytes | None:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}{name}")
        except self._client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise
        body: bytes = answer["Body"].read()
        return body


def open_record(place: RecordPlace, name: str) -> RunRecord:
    """The record called `name` of a project."""
    return RunRecord(
        client=aws.client("s3", place.launch_role_arn, place.region),
        bucket=place.bucket_name,
        prefix=f"{place.project_prefix}runs/{name}/",
    )


def cleared_records(place: RecordPlace, base: str) -> list[str]:
    """The names of the records of what people cleared in the run called `base`."""
    client = aws.client("s3", place.launch_role_arn, place.region)
    folder = f"{place.project_prefix}runs/"
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=place.bucket_name, Prefix=f"{folder}{base}{_CLEARED}", Delimiter="/"
    )
    return [
        entry["Prefix"].removeprefix(folder).removesuffix("/")
        for page in pages
        for entry in page.get("CommonPrefixes", [])
    ]


def succeeded(result: NodeResult) -> bool:
    """Whether a node or test is as it should be, warnings included."""
    return result.status in _SUCCEEDED


def went_well(end: Mapping[str, Any], own: Sequence[str] = ()) -> bool:
    """Whether a finished run (`end.json`) is a success; if `own` names a node and its tests, whether these are."""
    if not own:
        return bool(end["outcome"] == "success")
    node, *tests = (end["nodes"].get(unique_id, {}).get("status") for unique_id in own)
    # A test that dbt skipped waits for another node of its own, and one that was not selected is not there.
    return node in _SUCCEEDED and all(status in _SUCCEEDED | {"skipped", None} for status in tests)


def summary(end: Mapping[str, Any]) -> dict[str, Any]:
    """What a finished run leaves for other tasks: small, and without texts of the database."""
    return {name: end[name] for name in ("run_id", "attempt", "outcome", "headline", "counts")}
