"""Triggers one by one, in an event loop of their own; a real triggerer runs them in test_real_airflow."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import MART, ORDERS, ORDERS_TEST, REPORT, SEED
from deployed import DEPLOYMENT
from fake_aws import FakeAws, FakeContainer, RecordWriter

from dbt_on_fargate import compat, follower, triggers
from dbt_on_fargate.containers import Containers
from dbt_on_fargate.deployment import Deployment
from dbt_on_fargate.triggers import ContainerTrigger, NodeTrigger, PauseTrigger, ResultTrigger

PLACE = {name: DEPLOYMENT[name] for name in ("launch_role_arn", "region", "bucket_name", "project_prefix")}
TRY = SimpleNamespace(
    dag_id="dbt_dev_bookshop", run_id="run-1", task_id="marts.fct_orders", try_number=1, map_index=-1, id=None
)


@pytest.fixture
def run_state(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The states of Airflow's tasks; the run task waits."""
    states = {"run_dbt": "deferred"}
    monkeypatch.setattr(compat, "task_states", lambda **_: dict(states))
    monkeypatch.setattr(compat, "xcom", lambda **_: "the container image is not in the registry")
    monkeypatch.setattr(follower, "_POLL_SECONDS", 0.05)
    return states


def first_event(trigger: Any, timeout_seconds: float = 30) -> Any:  # noqa: ANN401 -- triggers and events of Airflow 2 or 3
    """What the trigger fires first."""
    trigger._task_instance = trigger.task_instance = None
    type(trigger)._try = property(lambda _: TRY)  # the triggerer would set it

    async def run() -> Any:  # noqa: ANN401 -- see above
        async for event in trigger.run():
            return event
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(asyncio.wait_for(run(), timeout=timeout_seconds))


def node_trigger(unique_id: str, *tests: str) -> NodeTrigger:
    """The trigger of a node's task."""
    return NodeTrigger(place=json.dumps(PLACE), unique_id=unique_id, tests=" ".join(tests), run_task_id="run_dbt")


def result_trigger() -> ResultTrigger:
    """The trigger of the task that ends as the run shall end."""
    return ResultTrigger(place=json.dumps(PLACE), run_task_id="run_dbt")


def outcome(event: Any) -> str:  # noqa: ANN401 -- an event of Airflow 2 or 3
    """How the event ends the task."""
    return str(event.task_instance_state.value)


def test_node_ends_as_soon_as_its_part_is_written(own_aws: FakeAws, run_state: dict[str, str]) -> None:
    """The run goes on; the node does not wait for it."""
    record = RecordWriter(own_aws, "run-1", 1)
    record.start("build")
    record.plan(SEED, MART)
    record.finish_node(SEED)

    assert outcome(first_event(node_trigger(SEED))) == "success"


def test_warning_is_green(own_aws: FakeAws, run_state: dict[str, str]) -> None:
    """A test that warns is told in the log and does not fail its model."""
    record = RecordWriter(own_aws, "run-1", 1)
    record.start("build")
    record.plan(ORDERS, ORDERS_TEST)
    record.finish_node(ORDERS)
    record.finish_node(ORDERS_TEST, status="warn", message="Got 2 results")

    assert outcome(first_event(node_trigger(ORDERS, ORDERS_TEST))) == "success"


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "upstream_failed"])
def test_node_does_not_wait_for_a_run_that_is_over(own_aws: FakeAws, run_state: dict[str, str], state: str) -> None:
    """However the run task ended, what is not built is not green."""
    run_state["run_dbt"] = state

    assert outcome(first_event(node_trigger(MART))) == "failed"


def test_error_of_an_interrupted_attempt_waits_for_the_next(own_aws: FakeAws, run_state: dict[str, str]) -> None:
    """The node that was at work when Spot took the container is built by the next attempt and never was red."""
    record = RecordWriter(own_aws, "run-1", 1)
    record.start("build")
    record.plan(MART)
    record.finish_node(MART, status="error", message="server socket closed")
    record.end("interrupted", 2, "stopped", {})
    second = RecordWriter(own_aws, "run-1", 2)
    second.start("build")
    second.plan(MART)
    second.finish_node(MART)

    assert outcome(first_event(node_trigger(MART))) == "success"


def test_node_of_an_interrupted_run_without_another_attempt_fails(own_aws: FakeAws, run_state: dict[str, str]) -> None:
    """When Airflow is done with the run task, nothing more comes."""
    record = RecordWriter(own_aws, "run-1", 1)
    record.start("build")
    record.plan(MART, REPORT)
    record.finish_node(MART, status="error", message="server socket closed")
    record.finish_node(REPORT, status="not_run", message="not run: SIGTERM was received")
    record.end("interrupted", 2, "stopped", {})
    run_state["run_dbt"] = "failed"

    assert outcome(first_event(node_trigger(MART))) == "failed"
    assert outcome(first_event(node_trigger(REPORT))) == "failed"


@pytest.mark.parametrize("part", ["not begun", "cut off"])
def test_node_of_a_run_that_is_out_of_time_says_so(
    own_aws: FakeAws,
    run_state: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    part: str,
) -> None:
    """Airflow skips what a run that is out of time has left; a trigger may see that before Airflow cancels it."""
    record = RecordWriter(own_aws, "run-1", 1)
    record.start("build")
    record.plan(MART)
    if part == "cut off":
        record.finish_node(MART, status="error", message="server socket closed")
        record.end("interrupted", 2, "stopped", {})
    run_state["run_dbt"] = "skipped"

    with caplog.at_level("INFO"):
        assert outcome(first_event(node_trigger(MART))) == "failed"
    # Airflow 3 writes past Python's logging.
    assert "the DAG run passed its time limit" in caplog.text + capsys.readouterr().out


@pytest.fixture
def container(own_aws: FakeAws, deployment: Deployment) -> FakeContainer:
    """A container at work."""

    def script(container: FakeContainer) -> int:
        container.stop_requested.wait(30)
        return 143

    own_aws.script = script
    Containers(deployment).launch(token="t", environment={"RUNNER_RUN_ID": "run-1", "RUNNER_ATTEMPT": "1"})
    return own_aws.containers[0]


def container_trigger(container: FakeContainer) -> ContainerTrigger:
    """The trigger that waits for it, as the triggerer makes it of what was stored."""
    _, arguments = ContainerTrigger(
        deployment=Deployment.from_mapping(DEPLOYMENT).as_mapping(), task_arn=container.arn, record="run-1", attempt=1,
        run_task_id="run_dbt", since=time.time() - 60, own=[],
    ).serialize()  # fmt: skip
    return ContainerTrigger(**arguments)


@pytest.mark.parametrize(("still_waits", "status"), [(True, "RUNNING"), (False, "STOPPED")])
def test_kill_stops_the_container_and_a_restart_does_not(
    container: FakeContainer, monkeypatch: pytest.MonkeyPatch, still_waits: bool, status: str
) -> None:
    """A triggerer that is restarted, or replaced by another, cancels its triggers too; then the task still waits."""
    monkeypatch.setattr(compat, "deferred_by", lambda *_: still_waits)
    asyncio.run(container_trigger(container).on_kill())

    assert container.desired_status == status


def test_kill_that_is_cancelled_goes_on(container: FakeContainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow cancels a trigger every second until it has ended, and so the kill that the first of them began."""
    asked, answered = threading.Event(), threading.Event()

    def deferred_by(*_: object) -> bool:
        asked.set()
        return not answered.wait(30)

    monkeypatch.setattr(compat, "deferred_by", deferred_by)

    async def kill_twice() -> None:
        kill = asyncio.create_task(container_trigger(container).on_kill())
        await asyncio.to_thread(asked.wait, 30)
        kill.cancel()
        with pytest.raises(asyncio.CancelledError):
            await kill
        answered.set()
        await asyncio.to_thread(container.stop_requested.wait, 20)

    asyncio.run(kill_twice())

    assert container.stop_requested.is_set()


def test_kill_is_tried_again_when_nobody_answers(container: FakeContainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that is away for a moment does not leave a container at work."""
    answers: Iterator[Exception | bool] = iter([ConnectionError("no answer"), False])

    def deferred_by(*_: object) -> bool:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(compat, "deferred_by", deferred_by)
    asyncio.run(container_trigger(container).on_kill())

    assert container.stop_requested.is_set()


def test_finished_run_ends_its_task_without_a_worker(
    own_aws: FakeAws, container: FakeContainer, run_state: dict[str, str]
) -> None:
    """The record is complete, so nothing waits for AWS to tidy up."""
    record = RecordWriter(own_aws, "run-1", 1)
    record.start("build")
    record.end("success", 0, "5 nodes built", {})
    event = first_event(container_trigger(container))

    assert outcome(event) == "success"
    assert event.xcoms["return_value"]["headline"] == "5 nodes built"


def test_dead_container_is_told_to_a_worker(
    container: FakeContainer, run_state: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a worker can fail a task with a reason."""
    container.stop_requested.set()
    container.ended.wait(10)
    event = first_event(container_trigger(container)).payload

    assert event["container"]["exit_code"] == 143
    assert (event["is_finished"], event["is_overdue"]) == (False, False)


def test_throttling_does_not_end_the_wait(
    own_aws: FakeAws, container: FakeContainer, run_state: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DescribeTasks is throttled when many tasks are watched; that says nothing of the container."""
    monkeypatch.setattr(triggers, "_SECONDS_BETWEEN_LOOKS", 0.1)
    answers = iter([(400, {"__type": "ThrottlingException", "message": "Rate exceeded"})] * 4)
    answer = own_aws.ecs
    monkeypatch.setattr(own_aws, "ecs", lambda action, request: next(answers, None) or answer(action, request))
    container.stop_requested.set()
    container.ended.wait(10)

    assert first_event(container_trigger(container)).payload["container"]["exit_code"] == 143


def test_pause_ends_when_the_others_are_gone(container: FakeContainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before, and without waiting for the end of the time."""
    monkeypatch.setattr(triggers, "_SECONDS_BEFORE_RESUMING", 0.0)
    container.stop_requested.set()
    container.ended.wait(10)
    trigger = PauseTrigger(
        deployment=Deployment.from_mapping(DEPLOYMENT).as_mapping(), task_arns=[container.arn], seconds=600
    )

    assert first_event(trigger).payload is None


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        # Airflow has not heard of the other tasks' ends yet.
        ({"run_dbt": "deferred", "marts.fct_orders": "deferred"}, "success"),
        ({"run_dbt": "success", "marts.fct_orders": "success"}, "success"),
        # Someone set it by hand.
        ({"run_dbt": "success", "marts.fct_orders": "failed"}, "failed"),
    ],
)
def test_result_of_a_good_run_waits_for_nobody(
    own_aws: FakeAws, run_state: dict[str, str], states: dict[str, str], expected: str
) -> None:
    """The run is green with its container's last word, unless a task is red already."""
    record = RecordWriter(own_aws, "run-1", 1)
    record.start("build")
    record.plan(MART)
    record.finish_node(MART)
    record.end("success", 0, "built", {})
    run_state |= states

    assert outcome(first_event(result_trigger())) == expected


def test_result_of_a_run_that_goes_on_is_open(own_aws: FakeAws, run_state: dict[str, str]) -> None:
    """An attempt that ended otherwise than well says nothing of the run: another may follow."""
    record = RecordWriter(own_aws, "run-1", 1)
    record.start("build")
    record.plan(MART)
    record.finish_node(MART)
    record.end("interrupted", 2, "stopped", {})
    run_state |= {"marts.fct_orders": "success"}

    with pytest.raises(TimeoutError):
        first_event(result_trigger(), timeout_seconds=1)


def test_thousand_nodes_share_one_reader(own_aws: FakeAws, run_state: dict[str, str]) -> None:
    """Requests to S3 do not grow with the number of nodes."""
    record = RecordWriter(own_aws, "run-1", 1)
    names = [f"model.big.m{number}" for number in range(1000)]
    record.start("build")
    record.plan(*names)
    for name in names[:3]:
        record.finish_node(name)
    record.events(
        *(
            {"type": "node_finished", "step": "build", "unique_id": name, "status": "success", "seconds": 1}
            for name in names
        )
    )

    async def run_all() -> list[str]:
        async def one(name: str) -> str:
            trigger = node_trigger(name)
            type(trigger)._try = property(lambda _: TRY)  # type: ignore[assignment, method-assign]  # the triggerer would set it
            async for event in trigger.run():
                return outcome(event)
            return "nothing"

        return await asyncio.gather(*(one(name) for name in names))

    reads_before = own_aws.reads
    assert set(asyncio.run(run_all())) == {"success"}
    assert own_aws.reads - reads_before < len(names) / 5


def test_ten_runs_have_a_reader_each(
    own_aws: FakeAws, run_state: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Projects that run at the same time on one triggerer cost what their runs cost, and none gets another's results."""
    names = [f"model.big.m{number}" for number in range(300)]
    runs = [f"run-{number}" for number in range(10)]
    for run_id in runs:
        record = RecordWriter(own_aws, run_id, 1)
        record.start("build")
        record.plan(*names)
        if run_id == runs[0]:
            record.events(
                *({"type": "node_finished", "step": "build", "unique_id": n, "status": "error"} for n in names)
            )
        else:
            record.finish_nodes(*names)
    tries = {run_id: SimpleNamespace(**(vars(TRY) | {"run_id": run_id})) for run_id in runs}
    monkeypatch.setattr(NodeTrigger, "_try", property(lambda trigger: tries[trigger.run_id]))

    async def run_all() -> dict[str, set[str]]:
        async def one(run_id: str, name: str) -> str:
            trigger = node_trigger(name)
            trigger.run_id = run_id  # type: ignore[attr-defined]  # which the triggerer would know
            async for event in trigger.run():
                return outcome(event)
            return "nothing"

        return {
            run_id: set(found)
            for run_id, found in zip(
                runs,
                await asyncio.gather(*(asyncio.gather(*(one(run_id, name) for name in names)) for run_id in runs)),
                strict=True,
            )
        }

    reads_before = own_aws.reads
    outcomes = asyncio.run(run_all())
    assert outcomes == {run_id: {"failed" if run_id == runs[0] else "success"} for run_id in runs}
    assert own_aws.reads - reads_before <= len(runs) * 20
