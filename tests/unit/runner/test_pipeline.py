"""The steps of a run, and what the ending of each means for the others, with a session that acts as it is told."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.dbt_session import DbtSession, Observer, StepResult
from runner.endings import Endings
from runner.events import EventReader
from runner.nodes import NodeLedger, NodeResult, PlannedNode
from runner.outcome import NodeStatus, Outcome
from runner.pipeline import Pipeline
from runner.record import AttemptRecord
from runner.run_spec import StepName, run_spec_from


class Record:
    """Keeps the events that a real record would write."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def event(self, kind: str, **fields: object) -> None:
        """Keep one event."""
        self.events.append({"type": kind, **fields})


class Session:
    """Runs nothing: each step is a list of nodes with dbt's word for how they end, or an error."""

    def __init__(self, target_folder: Path, steps: Mapping[str, list[tuple[str, str]] | str]) -> None:
        self.target_folder = target_folder
        self.manifest = SimpleNamespace(nodes={})
        self.steps = steps
        self.docs_compiled: bool | None = None
        self.stop: Callable[[], None] = lambda: None

    def plan(self, step: StepName) -> list[PlannedNode]:
        """Return the nodes of a step."""
        nodes = self.steps[step]
        assert not isinstance(nodes, str)
        return [PlannedNode(unique_id=f"model.{name}", resource_type="model", name=name) for name, _ in nodes]

    def run(self, step: StepName, *, done: frozenset[str], observer: Observer) -> StepResult:
        """Tell the observer of each node, but for those that are done, and of none that is "never reached"."""
        nodes = self.steps[step]
        if isinstance(nodes, str):
            return StepResult(outcome=Outcome.ERROR, message=nodes, results=())
        observer.planned(self.plan(step), done)
        bad = False
        for name, status in nodes:
            if f"model.{name}" in done or status == "never reached":
                continue
            observer.started(f"model.{name}")
            if status == "never ends":
                break
            if status == "stopped in it":
                self.stop()
                return StepResult(outcome=Outcome.ERROR, message="interrupted", results=())
            if status == "stopped, then error":
                self.stop()
            ended = status.removeprefix("stopped, then ")
            bad = bad or ended in {"error", "fail", "skipped"}
            observer.finished(dbt_result(name, ended))
        return StepResult(outcome=Outcome.FAILED if bad else Outcome.SUCCESS, message=None, results=())

    def generate_docs(self, *, compile_nodes: bool) -> StepResult:
        """Succeed."""
        self.docs_compiled = compile_nodes
        return StepResult(outcome=Outcome.SUCCESS, message=None, results=())

    def cancel_queries(self) -> None:
        """Cancel nothing."""


def dbt_result(name: str, status: str) -> SimpleNamespace:
    """What dbt would report of a node."""
    node = SimpleNamespace(unique_id=f"model.{name}", resource_type="model", name=name, compiled_code="select 1")
    return SimpleNamespace(
        node=node,
        status=status,
        execution_time=1.0,
        thread_id="Thread-1",
        message=None,
        adapter_response={},
        failures=None,
    )


def ran(
    tmp_path: Path,
    steps: Mapping[str, list[tuple[str, str]] | str],
    *,
    order: list[Any] | None = None,
    done: Mapping[str, NodeResult] | None = None,
    stopped: str | None = None,
) -> tuple[Pipeline, NodeLedger, Record]:
    """The pipeline after it has run."""
    record = Record()
    ledger = NodeLedger(cast("AttemptRecord", record))
    endings = Endings(deadline_seconds=60, stop_timeout_seconds=30)
    endings.reason = stopped
    (tmp_path / "target").mkdir()
    session = Session(tmp_path / "target", steps)
    session.stop = lambda: setattr(endings, "reason", "SIGTERM was received")
    pipeline = Pipeline(
        session=cast("DbtSession", session),
        steps=run_spec_from(("run", {"steps": order or list(steps)})).steps,
        record=cast("AttemptRecord", record),
        ledger=ledger,
        events=EventReader(),
        results_folder=tmp_path / "results",
        done=lambda _: done or {},
        endings=endings,
        sampled_rows=0,
    )
    pipeline.run()
    return pipeline, ledger, record


def outcomes(pipeline: Pipeline) -> dict[str, str]:
    """How each step ended."""
    return {ending.step.name.value: ending.outcome.value for ending in pipeline.endings}


def statuses(ledger: NodeLedger) -> dict[str, str]:
    """How each node ended."""
    return {result.name: result.status.value for result in ledger.results()}


def test_all_steps_run_when_all_is_well(tmp_path: Path) -> None:
    """Each step ends with success, and each node once."""
    pipeline, ledger, _ = ran(tmp_path, {"build": [("a", "success"), ("b", "pass")], "docs": []})

    assert outcomes(pipeline) == {"build": "success", "docs": "success"}
    assert statuses(ledger) == {"a": "success", "b": "success"}


def test_warnings_do_not_fail_a_step(tmp_path: Path) -> None:
    """They are told, though."""
    pipeline, _, _ = ran(tmp_path, {"build": [("a", "warn")]})

    assert (pipeline.endings[0].outcome.value, pipeline.endings[0].message) == ("warn", "1 warn")


def test_steps_that_must_pass_are_skipped_after_one_that_did_not(tmp_path: Path) -> None:
    """Their nodes are in the record as not run; what only reports still runs."""
    pipeline, ledger, _ = ran(tmp_path, {"run": [("a", "error")], "test": [("t", "pass")], "docs": []})

    assert outcomes(pipeline) == {"run": "failed", "test": "skipped", "docs": "success"}
    assert statuses(ledger) == {"a": "error", "t": "not_run"}


def test_a_step_that_only_reports_stops_nothing(tmp_path: Path) -> None:
    """A stale source does not keep models from being built."""
    pipeline, _, _ = ran(tmp_path, {"source_freshness": [("s", "error")], "build": [("a", "success")]})

    assert outcomes(pipeline) == {"source_freshness": "failed", "build": "success"}


def test_success_is_not_believed_while_a_node_is_not_done(tmp_path: Path) -> None:
    """Dbt says success, and a model that was asked for has no result: the step has failed."""
    pipeline, ledger, _ = ran(tmp_path, {"build": [("a", "success"), ("b", "never reached")]})

    assert outcomes(pipeline) == {"build": "failed"}
    assert statuses(ledger) == {"a": "success", "b": "not_run"}


def test_some_batches_of_a_microbatch_model_are_not_all(tmp_path: Path) -> None:
    """A partial success is an error: the model is not done."""
    assert statuses(ran(tmp_path, {"build": [("a", "partial success")]})[1]) == {"a": "error"}


@pytest.mark.parametrize("how", ["stopped in it", "stopped, then error"])
def test_a_node_that_a_stop_cuts_off_is_not_run(tmp_path: Path, how: str) -> None:
    """Nothing is wrong with it: it is told from an error, and from what had not begun, and the step was interrupted."""
    steps = {"build": [("a", "success"), ("b", how), ("c", "never reached")]}
    pipeline, ledger, record = ran(tmp_path, steps)

    assert outcomes(pipeline) == {"build": "interrupted"}
    assert statuses(ledger) == {"a": "success", "b": "not_run", "c": "not_run"}
    ended = [event for event in record.events if event["type"] == "node_finished"]
    told = {event["name"]: (event["cut_off"], event["message"]) for event in ended}
    assert told["b"] == (True, "cut off while it ran: SIGTERM was received")
    assert told["c"] == (None, "not run: SIGTERM was received")


def test_what_dbt_skips_after_a_stop_is_not_run(tmp_path: Path) -> None:
    """It depends on a node that was cut off, not on one that failed: the next attempt comes to both."""
    steps = {"build": [("a", "stopped, then error"), ("b", "skipped")]}
    _, ledger, _ = ran(tmp_path, steps)

    assert statuses(ledger) == {"a": "not_run", "b": "not_run"}


def test_an_error_before_the_stop_stays_one(tmp_path: Path) -> None:
    """What the database refused is said, though the run was stopped after it."""
    _, ledger, _ = ran(tmp_path, {"build": [("a", "error"), ("b", "stopped in it")]})

    assert statuses(ledger) == {"a": "error", "b": "not_run"}


def test_a_node_in_which_dbt_breaks_is_an_error(tmp_path: Path) -> None:
    """Nobody has stopped it, so something is wrong."""
    steps = {"build": [("a", "never ends")]}
    _, ledger, _ = ran(tmp_path, steps)

    assert statuses(ledger) == {"a": "error"}


def test_what_dbt_could_not_do_is_an_error_in_its_words(tmp_path: Path) -> None:
    """A step that did not come as far as its nodes."""
    pipeline, _, _ = ran(tmp_path, {"build": "Database Error: no route to host", "docs": []})

    ending = pipeline.endings[0]
    assert (ending.outcome.value, ending.message) == ("error", "Database Error: no route to host")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ({"build": []}, {"build": "error"}),
        ({"run": [], "test": []}, {"run": "success", "test": "error"}),
        ({"seed": [], "run": [("a", "success")]}, {"seed": "success", "run": "success"}),
        ({"source_freshness": [], "build": [("a", "success")]}, {"source_freshness": "success", "build": "success"}),
    ],
)
def test_a_selection_that_matches_nothing_at_all_is_an_error(
    tmp_path: Path, steps: Mapping[str, list[tuple[str, str]]], expected: dict[str, str]
) -> None:
    """Dbt calls it a success; but a name with a typing error has not been built."""
    assert expected == outcomes(ran(tmp_path, steps)[0])


def test_nodes_that_are_done_end_as_they_did(tmp_path: Path) -> None:
    """They are in this attempt's record with the attempt that did them, and are not run."""
    done = {
        "model.a": NodeResult(
            unique_id="model.a", resource_type="model", name="a", step="build", status=NodeStatus.WARN, from_attempt=1
        )
    }
    pipeline, ledger, record = ran(tmp_path, {"build": [("a", "error"), ("b", "success")]}, done=done)

    assert outcomes(pipeline) == {"build": "warn"}
    assert statuses(ledger) == {"a": "warn", "b": "success"}
    assert [event["unique_id"] for event in record.events if event["type"] == "node_started"] == ["model.b"]


def test_nothing_begins_once_the_run_is_stopped(tmp_path: Path) -> None:
    """Every node that was asked for is in the record as not run, with the reason."""
    pipeline, ledger, _ = ran(tmp_path, {"build": [("a", "success")], "docs": []}, stopped="SIGTERM was received")

    assert outcomes(pipeline) == {"build": "skipped", "docs": "skipped"}
    assert [result.message for result in ledger.results()] == ["not run: SIGTERM was received"]


def test_results_of_each_step_are_kept_apart(tmp_path: Path) -> None:
    """Under the step's number and name."""
    pipeline, _, _ = ran(tmp_path, {"run": [("a", "success")], "test": [("t", "pass")]})

    assert [ending.folder for ending in pipeline.endings] == ["01-run", "02-test"]
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["01-run", "02-test"]
