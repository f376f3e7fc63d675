"""What must be true after each attempt and after the last one; a check yields what is not, in words."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jsonschema

from tests.e2e.secret_search import spellings
from tests.faults.faults import Done
from tests.faults.records import BUILDING_STEPS, DONE, AttemptFiles, Graph, Node, attempts_of, proven_done
from tests.unit.runner.support import validated_files, validator

EVENT_IS_LATE_SECONDS = 4.0
"""Two seconds are promised; the others are for a machine on which several trials and other work run at once."""
COMMIT_IS_LATE_SECONDS = EVENT_IS_LATE_SECONDS + 1.0
"""After the commit in a hook dbt has some more to do before the node is done."""
_DOCS = frozenset({"index.html", "manifest.json", "catalog.json", "run_results.json"})
_STEP_OF_TYPE = {"seed": "seed", "model": "run", "snapshot": "snapshot"}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What is known of the project."""

    graph: Graph
    asked: frozenset[str]
    """All that `build` is asked for."""
    contents: Mapping[str, list[str] | None]
    """What each relation holds after a run that nothing has disturbed."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One attempt as those see it who stand outside: the process, S3 and the warehouse."""

    run_id: str
    number: int
    done: Done
    exit_code: int | None
    """None if it had to be killed though it was to end."""
    steps: Sequence[str]
    objects_before: Mapping[str, bytes]
    objects: Mapping[str, bytes]
    """All below the run's folder, by key."""
    written_at: Mapping[str, float]
    """When S3 took each of them (epoch seconds)."""
    builds: Sequence[tuple[str, float]]
    """The nodes that this attempt has built, as the warehouse knows it, and when they were committed (epoch seconds)."""
    built_before: Counter[str]
    """How often earlier attempts of this run have built each node."""

    @property
    def files(self) -> AttemptFiles | None:
        """The attempt's part of the record."""
        return attempts_of(self.objects, self.run_id).get(self.number)

    @property
    def earlier(self) -> dict[int, AttemptFiles]:
        """The record as the attempt found it."""
        return attempts_of(self.objects_before, self.run_id)

    @property
    def built(self) -> Counter[str]:
        """How often this attempt has built each node."""
        return Counter(node for node, _ in self.builds)


def violations_of(seen: Seen, reference: Reference) -> list[str]:
    """All that is wrong with one attempt."""
    found = [*_invalid_files(seen)]
    if found:
        # What cannot be read says nothing.
        return found
    return [
        *_builds_without_cause(seen, reference),
        *_dishonest_exit_code(seen, reference),
        *_rewritten_files(seen),
        *_untrue_events(seen, reference),
        *_untrue_end(seen, reference),
        *_late_events(seen),
        *_late_commits(seen),
    ]


def slowest_event_seconds(seen: Seen) -> float:
    """How old the oldest event was when S3 took its batch; 0 without events."""
    ages = [age for _, age in _event_ages(seen)]
    return max(ages, default=0.0)


def _invalid_files(seen: Seen) -> Iterator[str]:
    try:
        validated_files(seen.objects, seen.run_id)
    except (AssertionError, ValueError, jsonschema.ValidationError) as error:
        yield f"the record is not valid after attempt {seen.number}: {str(error)[:300]}"


def _rewritten_files(seen: Seen) -> Iterator[str]:
    """What is written stays as it is: earlier attempts' files above all."""
    for key, before in seen.objects_before.items():
        if seen.objects.get(key) != before:
            yield f"attempt {seen.number} has changed {key}"


def _builds_without_cause(seen: Seen, reference: Reference) -> Iterator[str]:
    """A node may be built again only if it, or something before it, was not proven done."""
    proven = proven_done(seen.earlier)
    is_build = "build" in seen.steps
    for node, times in seen.built.items():
        if times > 1:
            yield f"attempt {seen.number} built {node} {times} times"
        step = "build" if is_build else _STEP_OF_TYPE[node.split(".")[0]]
        asked = {
            unique_id
            for unique_id in reference.asked
            if is_build or _STEP_OF_TYPE.get(unique_id.split(".")[0], "test") == step
        }
        undone = {unique_id for unique_id in asked if (step, unique_id) not in proven}
        if node not in reference.graph.with_all_after(undone, gates=is_build):
            yield f"attempt {seen.number} built {node} again though it and all before it were proven done"


def _dishonest_exit_code(seen: Seen, reference: Reference) -> Iterator[str]:
    number, code, done, files = seen.number, seen.exit_code, seen.done, seen.files
    end = files.end if files else None
    unbuilt = sorted(node for node in reference.graph.builds if not (seen.built_before + seen.built)[node])
    if code == 0 and unbuilt:
        yield f"attempt {number} ended with 0, but {unbuilt} were never built"
    if end and code is not None and code >= 0 and end["exit_code"] != code:
        yield f"attempt {number} ended with {code}, its end.json says {end['exit_code']}"
    if not done.hit and code != 0:
        yield f"attempt {number}, which nothing disturbed, ended with {code}"
    if done.hit and done.touched == {"s3"} and seen.built and code != 0:
        yield f"attempt {number} built but ended with {code}, though only S3 was away"
    # Before the runner waits for signals, SIGTERM ends any program; as PID 1 of a container it would not be noticed.
    may_be_signalled = done.killed_at or (done.stopped_at and files is None)
    if code is not None and code < 0 and not may_be_signalled:
        yield f"attempt {number} was ended by signal {-code}"
    if code == 1 and done.touched == {"runner"}:
        yield f"attempt {number} blames its models (exit code 1) for being stopped"
    if not done.hit and not end:
        yield f"attempt {number}, which nothing disturbed, has no end.json"


def _untrue_events(seen: Seen, reference: Reference) -> Iterator[str]:
    files, number, built = seen.files, seen.number, seen.built
    if files is None:
        return
    proven = proven_done(seen.earlier)
    for event in files.finished():
        unique_id, status = event["unique_id"], event["status"]
        is_built_here = unique_id in reference.graph.builds and event["step"] in BUILDING_STEPS
        if "from_attempt" in event:
            if (event["step"], unique_id) not in proven:
                yield f"attempt {number} left out {unique_id}, which is not proven done"
        elif is_built_here and status in DONE and not built[unique_id]:
            yield f"attempt {number} says that {unique_id} is done, but it was not built"
        if status in {"skipped", "not_run"} and "cut_off" not in event and is_built_here and built[unique_id]:
            yield f"attempt {number} says that {unique_id} was not run, but it was built"
        if "cut_off" in event and seen.done.stopped_at is None:
            yield f"attempt {number} says that a stop cut {unique_id} off, but nobody stopped it"
    ended = Counter((event["step"], event["unique_id"]) for event in files.finished())
    twice = sorted(node for node, times in ended.items() if times > 1)
    unplanned = sorted(set(ended) - set(files.planned()))
    if twice or unplanned:
        yield f"attempt {number}: nodes ended twice {twice} or without being planned {unplanned}"


def _untrue_end(seen: Seen, reference: Reference) -> Iterator[str]:
    files, number = seen.files, seen.number
    if files is None or files.end is None:
        return
    end = files.end
    finished = files.finished()
    planned: set[Node] = set(files.planned())
    ended = {(event["step"], event["unique_id"]) for event in finished}
    if planned != ended:
        yield f"attempt {number} has ended without a word on {sorted(planned - ended)}"
    if set(end["nodes"]) != {node for _, node in ended}:
        yield f"attempt {number}: end.json and the events tell of different nodes"
    statuses = Counter(event["status"] for event in finished)
    if {status: count for status, count in end["counts"].items() if count} != statuses:
        yield f"attempt {number}: end.json counts {end['counts']}, the events say {dict(statuses)}"
    by_node: dict[str, set[str]] = {}
    for event in finished:
        by_node.setdefault(event["unique_id"], set()).add(event["status"])
    for node, entry in end["nodes"].items():
        told = by_node.get(node, set())
        if entry["status"] not in told:
            yield f"attempt {number}: end.json says {entry['status']} of {node}, the events {sorted(told)}"
    last = files.events[-1]
    if last["type"] != "run_finished" or any(last[name] != end[name] for name in ("outcome", "exit_code", "headline")):
        yield f"attempt {number}: the last event {last} is not what end.json says"
    if end["outcome"] == "success":
        yield from _untrue_success(files, end, reference)


def _untrue_success(files: AttemptFiles, end: Mapping[str, Any], reference: Reference) -> Iterator[str]:
    """A record may claim success only if every node that was asked for is done."""
    wrong = [step["name"] for step in end["steps"] if step["policy"] == "must_pass" and step["outcome"] not in DONE]
    undone = reference.asked - {event["unique_id"] for event in files.finished() if event["status"] in DONE}
    if wrong or undone:
        yield f"attempt {files.number} claims success with steps {wrong} and without {sorted(undone)}"


def _event_ages(seen: Seen) -> Iterator[tuple[str, float]]:
    """Each batch of events of the attempt, and how old its first event was when S3 took it."""
    folder = f"runs/{seen.run_id}/attempts/{seen.number:04d}/events/"
    for key, body in seen.objects.items():
        if key.startswith(folder):
            first = json.loads(body.decode().split("\n", 1)[0])
            yield key, seen.written_at[key] - datetime.fromisoformat(first["t"]).timestamp()


def _late_events(seen: Seen) -> Iterator[str]:
    if "s3" in seen.done.touched:
        return
    for key, age in _event_ages(seen):
        if age > EVENT_IS_LATE_SECONDS:
            yield f"the first event of {key} was {age:.1f} s old when S3 took it"


def _late_commits(seen: Seen) -> Iterator[str]:
    """What was committed some seconds before a kill is in the record."""
    files, killed_at = seen.files, seen.done.killed_at
    if files is None or killed_at is None or "s3" in seen.done.touched:
        return
    told = {event["unique_id"] for event in files.finished() if event["status"] in DONE}
    for node, committed_at in seen.builds:
        behind = killed_at - committed_at
        if node not in told and behind > COMMIT_IS_LATE_SECONDS:
            yield f"{node} was committed {behind:.1f} s before the kill and is not in the record"


def secrets_found(places: Mapping[str, bytes], secret: str) -> list[str]:
    """The places that hold `secret` in any spelling."""
    ways = spellings(secret)
    return [f"the password is in {place}" for place, data in places.items() if any(way in data for way in ways)]


def violations_of_the_result(
    contents: Mapping[str, list[str] | None],
    reference: Reference,
    *,
    latest: bytes | None,
    run_id: str,
    docs: Collection[str] | None,
) -> list[str]:
    """
    What is wrong after the attempt that nothing disturbed: the warehouse must be as after an undisturbed run.

    `docs` are the keys below the prefix that `latest` points to, None if the run was not asked for docs.
    """
    found = [
        f"{node} holds {contents[node]}, an undisturbed run leaves {expected}"
        for node, expected in reference.contents.items()
        if contents[node] != expected
    ]
    told = json.loads(latest or b"{}")
    try:
        validator("latest").validate(told)
    except jsonschema.ValidationError as error:
        return [*found, f"latest.json is not valid: {error.message}"]
    if told["run_id"] != run_id or told["outcome"] != "success":
        found.append(f"latest.json does not tell of the last attempt: {told}")
    # With the freshness of sources where a step has asked for it.
    if docs is not None and {key.rpartition("/")[2] for key in docs} - {"sources.json"} != _DOCS:
        found.append(f"latest.json points to {told['docs_prefix']}, where there are {sorted(docs)}")
    return found
