"""The fault suite must be able to fail: each thing that it is to find is found in an attempt in which all else is right."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from local_cloud.redshift_stand_in import ActiveQuery
from runner.run_spec import RunSpec
from tests.faults.checks import Reference, Seen, secrets_found, violations_of, violations_of_the_result
from tests.faults.faults import Done
from tests.faults.records import Graph
from tests.faults.trial import queries_left

FILES = ("sources.json", "index.html", "manifest.json", "catalog.json", "run_results.json")
RUN = "seed-1"
FOLDER = f"runs/{RUN}/attempts/"
BEGAN = 1_800_000_000.0
SEED, MODEL, TEST, LAST = "seed.p.raw", "model.p.orders", "test.p.unique", "model.p.report"
PARENTS = {SEED: [], MODEL: [SEED], TEST: [MODEL], LAST: [MODEL]}
TYPES = {SEED: "seed", MODEL: "model", TEST: "test", LAST: "model"}
MANIFEST = {
    "nodes": {
        unique_id: {
            "depends_on": {"nodes": PARENTS[unique_id]},
            "resource_type": TYPES[unique_id],
            "config": {"materialized": "table"},
            "alias": unique_id.split(".")[-1],
            "name": unique_id.split(".")[-1],
        }
        for unique_id in PARENTS
    },
    "unit_tests": {},
}
REFERENCE = Reference(
    graph=Graph(MANIFEST),
    asked=frozenset(PARENTS),
    contents={SEED: ["1"], MODEL: ["2"], LAST: ["3"]},
)
Events = list[dict[str, Any]]


def at(seconds: float) -> str:
    """A time of the record."""
    return datetime.fromtimestamp(BEGAN + seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def node_events(unique_id: str, second: float, *, status: str = "success", **fields: object) -> Events:
    """A node begins and ends; one with `from_attempt` only ends."""
    started = {"t": at(second), "type": "node_started", "step": "build", "unique_id": unique_id}
    finished = {
        "t": at(second),
        "type": "node_finished",
        "step": "build",
        "unique_id": unique_id,
        "resource_type": TYPES[unique_id],
        "name": unique_id,
        "status": status,
        "seconds": 0.1,
        "thread": "",
        **fields,
    }
    return [finished] if "from_attempt" in fields or status in {"not_run", "skipped"} else [started, finished]


def record(
    nodes: Mapping[str, Events], *, number: int = 1, outcome: str | None = "success", code: int = 0
) -> dict[str, bytes]:
    """The files of an attempt in which these nodes ended; without end.json if there is no outcome."""
    ended = [event for events in nodes.values() for event in events]
    statuses = {event["unique_id"]: event["status"] for event in ended if event["type"] == "node_finished"}
    events: Events = [
        {"t": at(0), "type": "step_started", "step": "build"},
        {
            "t": at(0),
            "type": "planned",
            "step": "build",
            "nodes": [
                {"unique_id": unique_id, "resource_type": TYPES[unique_id], "name": unique_id} for unique_id in PARENTS
            ],
        },
        *ended,
    ]
    told = {"outcome": outcome, "exit_code": code, "headline": "it ended"}
    if outcome:
        events.append({"t": at(4), "type": "run_finished", **told})
    start = {
        "format_version": 1,
        "project": "p",
        "environment": "dev",
        "run_id": RUN,
        "attempt": number,
        "started_at": at(0),
        "writer": "0123456789abcdef",
        "code": {"fingerprint": "0" * 64},
        "resume_key": "0" * 64,
        "launched_by": {},
        "spec": RunSpec().as_json(),
        "versions": {"dbt-core": "1", "dbt-redshift": "1"},
        "resumes": None,
    }
    counts = Counter(statuses.values())
    end = {
        "format_version": 1,
        "run_id": RUN,
        "attempt": number,
        "started_at": at(0),
        "ended_at": at(4),
        **told,
        "seconds": 4.0,
        "steps": [{"name": "build", "policy": "must_pass", "outcome": outcome, "seconds": 4.0}],
        "nodes": {
            unique_id: {"status": status, "step": "build", "seconds": 0.1} for unique_id, status in statuses.items()
        },
        "counts": {name: counts[name] for name in ("success", "warn", "fail", "error", "skipped", "not_run")},
        "docs": None,
    }
    folder = f"{FOLDER}{number:04d}/"
    files = {f"{folder}start.json": start, **({f"{folder}end.json": end} if outcome else {})}
    lines = "".join(json.dumps(event) + "\n" for event in events)
    return {
        **{key: json.dumps(file).encode() for key, file in files.items()},
        f"{folder}events/000001.jsonl": lines.encode(),
    }


ALL_WELL = {unique_id: node_events(unique_id, second) for second, unique_id in enumerate(PARENTS)}
BUILT = [(SEED, BEGAN), (MODEL, BEGAN + 1), (LAST, BEGAN + 3)]
UNDISTURBED = Seen(
    run_id=RUN,
    number=1,
    done=Done(),
    exit_code=0,
    steps=["build"],
    objects_before={},
    objects=record(ALL_WELL),
    written_at=dict.fromkeys(record(ALL_WELL), BEGAN + 1),
    builds=BUILT,
    built_before=Counter(),
)
KILLED_IN_THE_MIDDLE = {SEED: ALL_WELL[SEED], MODEL: ALL_WELL[MODEL]}
KILLED = Done(hit=True, killed_at=BEGAN + 3, touched={"runner"})
STOPPED = Done(hit=True, stopped_at=1.0, touched={"runner"})
LEFT_OUT = {
    SEED: node_events(SEED, 0, from_attempt=1),
    MODEL: node_events(MODEL, 1, from_attempt=1),
    TEST: ALL_WELL[TEST],
    LAST: ALL_WELL[LAST],
}


def seen(objects: Mapping[str, bytes], **changes: Any) -> Seen:  # noqa: ANN401 - any field of Seen
    """The undisturbed attempt with other files, and with `changes`."""
    return replace(UNDISTURBED, objects=objects, written_at={"": 0.0} | dict.fromkeys(objects, BEGAN + 1), **changes)


def second_attempt(first: dict[str, bytes], nodes: Mapping[str, Events], **changes: Any) -> Seen:  # noqa: ANN401 - see above
    """An attempt that goes on after `first`."""
    fields: dict[str, Any] = {
        "number": 2,
        "objects_before": first,
        "builds": [(LAST, BEGAN + 3)],
        "built_before": Counter([SEED, MODEL]),
    }
    return seen({**first, **record(nodes, number=2)}, **fields | changes)


def changed(name: str, change: Callable[[dict[str, Any]], None]) -> dict[str, bytes]:
    """The undisturbed attempt's files, one of them other than it was."""
    objects = dict(UNDISTURBED.objects)
    content = json.loads(objects[f"{FOLDER}0001/{name}"])
    change(content)
    return {**objects, f"{FOLDER}0001/{name}": json.dumps(content).encode()}


KILLED_RECORD = record(KILLED_IN_THE_MIDDLE, outcome=None)
STOPPED_NODES = {
    **KILLED_IN_THE_MIDDLE,
    TEST: node_events(TEST, 2, status="not_run", cut_off=True),
    LAST: node_events(LAST, 2, status="not_run"),
}


@pytest.mark.parametrize(
    "attempt",
    [
        UNDISTURBED,
        seen(KILLED_RECORD, done=KILLED, exit_code=-9, builds=BUILT[:2]),
        second_attempt(KILLED_RECORD, LEFT_OUT),
        # The commit was less than two seconds before the kill, so its event was lost, and it is built again.
        second_attempt(
            record({SEED: ALL_WELL[SEED]}, outcome=None),
            {**LEFT_OUT, MODEL: ALL_WELL[MODEL]},
            builds=BUILT[1:],
        ),
        seen(record(STOPPED_NODES, outcome="interrupted", code=2), done=STOPPED, exit_code=2, builds=BUILT[:2]),
    ],
    ids=["undisturbed", "killed", "resumed", "killed between commit and event", "stopped"],
)
def test_finds_nothing_where_nothing_is_wrong(attempt: Seen) -> None:
    """What is found below is found because of the one thing that is changed."""
    assert violations_of(attempt, REFERENCE) == []


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (replace(UNDISTURBED, builds=BUILT[:2]), "says that model.p.report is done, but it was not built"),
        (replace(UNDISTURBED, builds=[*BUILT, BUILT[1]]), "built model.p.orders 2 times"),
        (
            second_attempt(KILLED_RECORD, {**LEFT_OUT, MODEL: ALL_WELL[MODEL]}, builds=BUILT[1:]),
            "built model.p.orders again though it and all before it were proven done",
        ),
        (
            second_attempt(record({SEED: ALL_WELL[SEED]}, outcome=None), LEFT_OUT),
            "left out model.p.orders, which is not proven done",
        ),
        (
            seen(record(KILLED_IN_THE_MIDDLE), builds=BUILT[:2]),
            "claims success with steps [] and without ['model.p.report', 'test.p.unique']",
        ),
        (seen(record(KILLED_IN_THE_MIDDLE), builds=BUILT[:2]), "ended with 0, but ['model.p.report'] were never built"),
        (seen(record(KILLED_IN_THE_MIDDLE), builds=BUILT[:2]), "has ended without a word on"),
        (
            seen(changed("end.json", lambda end: end["steps"][0].update(outcome="failed"))),
            "claims success with steps ['build']",
        ),
        (replace(UNDISTURBED, exit_code=1), "ended with 1, its end.json says 0"),
        (replace(UNDISTURBED, exit_code=2), "which nothing disturbed, ended with 2"),
        (
            seen(record(STOPPED_NODES, outcome="failed", code=1), done=STOPPED, exit_code=1, builds=BUILT[:2]),
            "blames its models",
        ),
        (replace(UNDISTURBED, exit_code=-15, done=STOPPED), "was ended by signal 15"),
        (
            replace(UNDISTURBED, exit_code=2, done=Done(hit=True, touched={"s3"})),
            "built but ended with 2, though only S3 was away",
        ),
        (seen(KILLED_RECORD), "which nothing disturbed, has no end.json"),
        (
            seen(
                record({**STOPPED_NODES, LAST: node_events(LAST, 2, status="skipped")}, outcome="interrupted", code=2),
                done=STOPPED,
                exit_code=2,
            ),
            "says that model.p.report was not run, but it was built",
        ),
        (
            seen(
                record(STOPPED_NODES, outcome="interrupted", code=2),
                done=Done(hit=True, touched={"warehouse"}),
                exit_code=2,
                builds=BUILT[:2],
            ),
            "says that a stop cut test.p.unique off, but nobody stopped it",
        ),
        (seen(record({**ALL_WELL, LAST: ALL_WELL[LAST] * 2})), "nodes ended twice [('build', 'model.p.report')]"),
        (seen(changed("start.json", lambda start: start.pop("resume_key"))), "the record is not valid"),
        (seen(changed("end.json", lambda end: end.update(surprise=1))), "the record is not valid"),
        (
            seen({**UNDISTURBED.objects, f"{FOLDER}0001/events/000003.jsonl": b'{"type": "step_started"}\n'}),
            "the record is not valid",
        ),
        (seen({**UNDISTURBED.objects, f"{FOLDER}0001/events/000002.jsonl": b'{"t": "20'}), "the record is not valid"),
        (
            seen(changed("end.json", lambda end: end["nodes"].pop(LAST))),
            "end.json and the events tell of different nodes",
        ),
        (seen(changed("end.json", lambda end: end["counts"].update(success=3))), "the events say {'success': 4}"),
        (
            seen(changed("end.json", lambda end: end["nodes"][LAST].update(status="warn"))),
            "end.json says warn of model.p.report, the events ['success']",
        ),
        (seen(changed("end.json", lambda end: end.update(headline="another"))), "is not what end.json says"),
        (
            replace(UNDISTURBED, objects_before={f"{FOLDER}0001/start.json": b"{}"}),
            "attempt 1 has changed runs/seed-1/attempts/0001/start.json",
        ),
        (
            replace(UNDISTURBED, written_at=dict.fromkeys(UNDISTURBED.objects, BEGAN + 4.5)),
            "was 4.5 s old when S3 took it",
        ),
        (
            seen(
                record({SEED: ALL_WELL[SEED]}, outcome=None),
                done=replace(KILLED, killed_at=BEGAN + 7),
                exit_code=-9,
                builds=BUILT[:2],
            ),
            "model.p.orders was committed 6.0 s before the kill and is not in the record",
        ),
    ],
)
def test_finds_what_is_wrong(attempt: Seen, words: str) -> None:
    """One thing is wrong, and a violation names it."""
    found = violations_of(attempt, REFERENCE)

    assert [violation for violation in found if words in violation], found


def test_a_late_event_is_no_violation_while_s3_is_away() -> None:
    """What S3 does not take cannot be there."""
    attempt = replace(
        UNDISTURBED,
        written_at=dict.fromkeys(UNDISTURBED.objects, BEGAN + 60),
        done=Done(hit=True, touched={"s3"}),
    )

    assert violations_of(attempt, REFERENCE) == []


@pytest.mark.parametrize(
    ("contents", "latest", "docs", "words"),
    [
        ({LAST: None}, {}, 5, "model.p.report holds None, an undisturbed run leaves ['3']"),
        ({MODEL: ["2", "2"]}, {}, 5, "model.p.orders holds ['2', '2']"),
        ({}, {"run_id": "seed-0"}, 5, "does not tell of the last attempt"),
        ({}, {"outcome": "failed"}, 5, "does not tell of the last attempt"),
        ({}, {"attempt": "2"}, 5, "latest.json is not valid"),
        ({}, {}, 4, "where there are ['docs/seed-1-0002/catalog.json', 'docs/seed-1-0002/index.html'"),
    ],
)
def test_finds_what_the_last_attempt_has_not_mended(
    contents: Mapping[str, Any], latest: Mapping[str, Any], docs: int, words: str
) -> None:
    """The warehouse, the pointer and the docs are compared with what an undisturbed run leaves."""
    pointer = {
        "format_version": 1,
        "run_id": RUN,
        "attempt": 2,
        "outcome": "success",
        "ended_at": at(9),
        "docs_prefix": "p/docs/seed-1-0002/",
    }

    def found(contents: Mapping[str, Any], latest: Mapping[str, Any], docs: int) -> list[str]:
        return violations_of_the_result(
            {**REFERENCE.contents, **contents},
            REFERENCE,
            latest=json.dumps({**pointer, **latest}).encode(),
            run_id=RUN,
            docs=[f"docs/seed-1-0002/{name}" for name in FILES[:docs]],
        )

    assert found({}, {}, 5) == []
    told = found(contents, latest, docs)
    assert len(told) == 1
    assert words in told[0]


def test_finds_a_query_that_goes_on() -> None:
    """One that ends in time is no violation, one that does not is."""
    query = ActiveQuery(7, "select pg_sleep(60)")
    ending = [[query], [query], []]

    assert queries_left(lambda: ending.pop(0), within_seconds=5) == []
    assert queries_left(lambda: [query], within_seconds=0.1) == [query]


def test_finds_the_password_in_any_spelling() -> None:
    """As it is in a log, and escaped in a JSON file."""
    places = {"log": b"it is a'\"b$\xc3\xa4", "record": json.dumps({"message": "a'\"b$ä"}).encode(), "clean": b"a'b"}

    assert secrets_found(places, "a'\"b$ä") == ["the password is in log", "the password is in record"]
