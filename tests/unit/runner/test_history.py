"""The history that a project's runs leave for the pages, and what a report takes from it."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.history import MOST_RUNS, RUNS_OF_A_NODE, History, Past, run_entry
from runner.nodes import NodeResult
from runner.outcome import NodeStatus
from runner.store import Store, StoreError
from tests.pages.runs import Shop, iso, start_of


def node(name: str, status: NodeStatus, seconds: float = 1.0, **more: Any) -> NodeResult:  # noqa: ANN401 - any field
    """How a model ended."""
    fields: dict[str, Any] = {
        "unique_id": f"model.shop.{name}",
        "resource_type": "model",
        "name": name,
        "step": "build",
    }
    return NodeResult(**{**fields, "status": status, "seconds": seconds, **more})


def end(store: Store, run_id: str, *results: NodeResult, attempt: int = 1, outcome: str = "success") -> Past:
    """One attempt from its begin to its end; returns what it knew of earlier ones."""
    start = start_of(run_id=run_id, attempt=attempt)
    history = History(store, start=start)
    history.begin()
    past = history.read(within_seconds=10)
    entry = run_entry(
        start=start,
        outcome=outcome,
        headline=outcome,
        ended_at=iso(60),
        seconds=60.0,
        results=results,
        counts={},
        has_docs=True,
    )
    for upload in history.uploads(
        past, run=entry, results=results, docs_prefix=f"bookshop/docs/{run_id}/", manifest=Shop(4).manifest()
    ):
        assert isinstance(upload.source, bytes)
        store.put(upload.key, upload.source)
    return past


def read(store: Store, name: str) -> Any:  # noqa: ANN401 - JSON
    """A file of the history."""
    return json.loads(store.get(f"history/{name}.json") or b"null")


def known(store: Store) -> Past:
    """What a next run would know."""
    history = History(store, start=start_of(run_id="next"))
    history.begin()
    return history.read(within_seconds=10)


def test_a_first_run_knows_nothing_and_leaves_a_history(store: Store) -> None:
    """Four files, of which the portal needs the small one alone."""
    past = end(store, "first", node("a", NodeStatus.SUCCESS))

    assert (past.runs, past.nodes, past.usual_seconds()) == ([], {}, None)
    assert [run["run_id"] for run in read(store, "runs")["runs"]] == ["first"]
    assert read(store, "nodes")["nodes"] == [["model.shop.a", "model", "a", "s", [1.0]]]
    assert read(store, "overview")["last"]["outcome"] == "success"
    assert ["model", "stg_orders", "All stg orders of the shop."] in [
        entry[1:4] for entry in read(store, "models")["models"]
    ]


def test_the_usual_time_is_the_median_of_good_runs(store: Store) -> None:
    """What failed or was skipped took no time that says anything."""
    for number, (status, seconds) in enumerate(
        [(NodeStatus.SUCCESS, 1.0), (NodeStatus.ERROR, 90.0), (NodeStatus.SUCCESS, 3.0), (NodeStatus.WARN, 8.0)]
    ):
        end(store, f"r{number}", node("a", status, seconds))

    past = known(store).node("model.shop.a")
    assert past is not None
    assert (past.usual_seconds, past.statuses) == (3.0, "sesw")


def test_since_when_a_node_fails_is_known(store: Store) -> None:
    """From the first failure after the last success; what was skipped in between is no success."""
    for number, status in enumerate([NodeStatus.SUCCESS, NodeStatus.ERROR, NodeStatus.SKIPPED, NodeStatus.FAIL]):
        end(store, f"r{number}", node("a", status), node("b", NodeStatus.SUCCESS))

    past = known(store)
    failing, good = past.node("model.shop.a"), past.node("model.shop.b")
    assert failing is not None and good is not None  # noqa: PT018 - for the type checker
    assert (failing.failing_since, good.failing_since) == (iso(60), None)


def test_a_killed_attempt_is_told_by_the_next(store: Store) -> None:
    """It has said that it began, and nothing else ever does."""
    History(store, start=start_of(run_id="night")).begin()
    while not read(store, "overview"):
        pass
    past = end(store, "night", node("a", NodeStatus.SUCCESS), attempt=2)

    assert [(run["attempt"], run["outcome"]) for run in past.attempts("night")] == [(1, "killed"), (2, "killed")]
    assert [(run["attempt"], run["outcome"]) for run in read(store, "runs")["runs"]] == [(1, "killed"), (2, "success")]
    assert read(store, "overview")["begun"] == []


def test_a_run_that_is_on_is_in_the_overview(store: Store) -> None:
    """The portal says so; its predecessor is still the last one that ended."""
    end(store, "first", node("a", NodeStatus.SUCCESS))
    known(store)

    overview = read(store, "overview")
    assert [begun["run_id"] for begun in overview["begun"]] == ["next"]
    assert overview["last"]["run_id"] == "first"


def test_files_stay_small(store: Store) -> None:
    """The last 1,000 runs, the last 30 results of a node, and no node that none of them knows."""
    start = start_of(run_id="last")
    old = {
        **run_entry(
            start=start,
            outcome="success",
            headline="",
            ended_at=iso(1),
            seconds=1,
            results=(),
            counts={},
            has_docs=False,
        )
    }
    past = Past(
        runs=[{**old, "run_id": f"r{number}"} for number in range(MOST_RUNS + 5)],
        columns=[[f"r{number}", 1, iso(0)] for number in range(RUNS_OF_A_NODE)],
        nodes={
            "model.shop.gone": [
                "model",
                "gone",
                "s" + "-" * (RUNS_OF_A_NODE - 1),
                [1.0, *[None] * (RUNS_OF_A_NODE - 1)],
            ],
            "model.shop.a": ["model", "a", "s" * RUNS_OF_A_NODE, [1.0] * RUNS_OF_A_NODE],
        },
    )
    uploads = History(store, start=start).uploads(
        past, run={**old, "run_id": "last"}, results=[node("a", NodeStatus.SUCCESS)], docs_prefix=None, manifest=None
    )
    files = {upload.key: json.loads(upload.source) for upload in uploads if isinstance(upload.source, bytes)}

    assert len(files["history/runs.json"]["runs"]) == MOST_RUNS
    assert files["history/runs.json"]["runs"][-1]["run_id"] == "last"
    assert [(entry[0], len(entry[3]), len(entry[4])) for entry in files["history/nodes.json"]["nodes"]] == [
        ("model.shop.a", RUNS_OF_A_NODE, RUNS_OF_A_NODE)
    ]


def test_what_an_earlier_attempt_has_told_is_not_told_twice(store: Store) -> None:
    """A node that a resumed attempt takes over stands in the attempt that ran it."""
    end(store, "night", node("a", NodeStatus.SUCCESS), node("b", NodeStatus.ERROR), outcome="failed")
    end(store, "night", node("a", NodeStatus.SUCCESS, from_attempt=1), node("b", NodeStatus.SUCCESS), attempt=2)

    assert {entry[2]: entry[3] for entry in read(store, "nodes")["nodes"]} == {"a": "s-", "b": "es"}


def test_the_models_are_written_when_the_code_is_new_only(store: Store) -> None:
    """They are the largest file, and change with the code alone."""
    end(store, "first")
    store.put("history/models.json", b'{"format_version": 1, "models": "untouched"}')
    end(store, "second")

    assert read(store, "models")["models"] == "untouched"


@pytest.mark.parametrize(
    "body", [b"no json", b"[]", b'{"format_version": 2, "runs": [1]}', b'{"format_version": 1, "nodes": [1]}']
)
def test_a_broken_history_is_begun_anew(store: Store, body: bytes) -> None:
    """It can be lost without harm, so nothing in it can stop a run."""
    for name in ("overview", "runs", "nodes"):
        store.put(f"history/{name}.json", body)

    end(store, "first", node("a", NodeStatus.SUCCESS))
    assert [run["run_id"] for run in read(store, "runs")["runs"]] == ["first"]


def test_a_store_that_refuses_costs_the_history_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning in the log; the report is then made without earlier runs."""

    def refuse(*_: object, **__: object) -> None:
        raise StoreError("s3:GetObject failed")

    monkeypatch.setattr(store, "get", refuse)

    assert known(store) == Past()


def test_names_are_never_keys(store: Store, tmp_path: Path) -> None:
    """A node called `__proto__` is an entry of a list, as others are."""
    end(store, "first", node("x", NodeStatus.SUCCESS, unique_id="__proto__"))

    assert isinstance(read(store, "nodes")["nodes"], list)
    assert known(store).node("__proto__") is not None
