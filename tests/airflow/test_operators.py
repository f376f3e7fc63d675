"""The run task's decisions, step by step, against the stand-in for ECS; what a scheduler does with them is in test_real_airflow."""

import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import GRAPH, MART, TASK_OF
from fake_aws import FakeAws, FakeContainer, RecordWriter

from dbt_on_fargate import compat
from dbt_on_fargate.containers import Containers, launch_token
from dbt_on_fargate.deployment import Deployment, Node
from dbt_on_fargate.operators import DbtNodeOperator, DbtRunOperator, spec_of_interval, spec_of_params

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:
    from airflow.exceptions import TaskDeferred  # type: ignore[no-redef]  # Airflow 2's

RUN_ID = "scheduled__2026-11-22T05:00:00+00:00"


@dataclass
class Instance:
    """A task instance as far as an operator looks at it."""

    try_number: int = 1
    max_tries: int = 1
    dag_id: str = "dbt_dev_bookshop"
    log_url: str = "https://airflow.example.com/log"
    start_date: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(minutes=10))
    pushed: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: object) -> None:
        """Remember."""
        self.pushed[key] = value


def context(*, try_number: int = 1, max_tries: int = 1, **params: object) -> dict[str, Any]:
    """What Airflow hands to a task."""
    return {
        "ti": Instance(try_number=try_number, max_tries=max_tries),
        "run_id": RUN_ID,
        "params": params,
        "dag_run": SimpleNamespace(run_type="scheduled"),
    }


@pytest.fixture
def run_task(deployment: Deployment) -> DbtRunOperator:
    """The run task, without a DAG around it."""
    return DbtRunOperator(task_id="run_dbt", deployment=deployment, run_task_id="run_dbt", nodes={}, retries=1)


@pytest.fixture
def at_work(own_aws: FakeAws) -> FakeAws:
    """Containers work until they are told to stop."""

    def script(container: FakeContainer) -> int:
        container.stop_requested.wait(30)
        return 143

    own_aws.script = script
    return own_aws


def deferral(run_task: DbtRunOperator, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The class and the arguments of the trigger that the task waits for."""
    with pytest.raises(TaskDeferred) as deferred:
        run_task.execute(given)
    path, arguments = deferred.value.trigger.serialize()
    return path.rpartition(".")[2], arguments


def test_launches_and_waits_without_a_worker(run_task: DbtRunOperator, at_work: FakeAws) -> None:
    """The record, the attempt and who launched it go to the container; nothing else does."""
    trigger, arguments = deferral(run_task, context())
    (container,) = at_work.containers

    assert (trigger, arguments["task_arn"]) == ("ContainerTrigger", container.arn)
    assert (arguments["record"], arguments["attempt"]) == (RUN_ID, 1)
    assert set(container.environment) == {"RUNNER_RUN_ID", "RUNNER_ATTEMPT", "RUNNER_LAUNCHED_BY"}
    assert json.loads(container.environment["RUNNER_LAUNCHED_BY"])["dag_run_id"] == RUN_ID


@pytest.mark.parametrize(
    ("limit_minutes", "least_seconds", "most_seconds"),
    [(30, 1190, 1200), (5, 1, 1)],
    ids=["time is left", "none is left"],
)
def test_time_limit_holds_while_the_task_waits(
    run_task: DbtRunOperator, at_work: FakeAws, limit_minutes: int, least_seconds: int, most_seconds: int
) -> None:
    """Airflow 3 forgets `execution_timeout` when a task is deferred; what the try has taken so far counts."""
    run_task.execution_timeout = timedelta(minutes=limit_minutes)
    with pytest.raises(TaskDeferred) as deferred:
        run_task.execute(context())

    assert deferred.value.timeout is not None
    assert least_seconds <= deferred.value.timeout.total_seconds() <= most_seconds


def test_same_try_started_twice_has_one_container(run_task: DbtRunOperator, at_work: FakeAws) -> None:
    """A worker that was lost after the launch is replaced by one that finds its container."""
    first = deferral(run_task, context())[1]["task_arn"]
    second = deferral(run_task, context())[1]["task_arn"]

    assert first == second
    assert len(at_work.containers) == 1


def test_retry_after_a_lost_worker_waits_for_the_living_container(run_task: DbtRunOperator, at_work: FakeAws) -> None:
    """Airflow took the try for dead; its container is not, so it is waited for and not launched again."""
    deferral(run_task, context())
    trigger, arguments = deferral(run_task, context(try_number=2))

    assert trigger == "ContainerTrigger"
    assert arguments["attempt"] == 1
    assert len(at_work.containers) == 1


def test_trial_of_a_pull_request_holds_no_run_up(run_task: DbtRunOperator, at_work: FakeAws) -> None:
    """It builds in schemas of its own: the run starts beside it and waits for its own container."""
    token = launch_token(dag_id="any", run_id="pr-17-a", task_id="by-hand", try_number=1, is_trial=True)
    environment = {"RUNNER_RUN_ID": "pr-17-a", "RUNNER_ATTEMPT": "1"}
    trial = Containers(run_task.deployment).launch(token=token, environment=environment)
    trigger, arguments = deferral(run_task, context())

    assert trial.is_trial
    assert (trigger, len(at_work.containers)) == ("ContainerTrigger", 2)
    assert arguments["task_arn"] != trial.arn


def test_retry_takes_what_an_earlier_attempt_finished(run_task: DbtRunOperator, own_aws: FakeAws) -> None:
    """A container that ended while Airflow was away has done its work; nothing is built twice."""
    RecordWriter(own_aws, RUN_ID, 1).end("success", 0, "5 nodes built", {})

    assert run_task.execute(context(try_number=2))["headline"] == "5 nodes built"
    assert own_aws.containers == []


def test_cleared_run_stops_the_container_of_before(run_task: DbtRunOperator, at_work: FakeAws) -> None:
    """What was launched before the clear is of no use; the new one starts when it is gone."""
    deferral(run_task, context())
    trigger, arguments = deferral(run_task, context(try_number=2, max_tries=2))

    assert trigger == "PauseTrigger"
    assert arguments["task_arns"] == [at_work.containers[0].arn]
    assert at_work.containers[0].desired_status == "STOPPED"


def test_cleared_run_gets_a_record_of_its_own(run_task: DbtRunOperator, at_work: FakeAws) -> None:
    """Within one record the container skips what is done; what a person clears runs again."""
    _, arguments = deferral(run_task, context(try_number=3, max_tries=3))
    again = deferral(run_task, context(try_number=3, max_tries=3))[1]

    assert arguments["record"] != RUN_ID
    assert arguments["record"].startswith(f"{RUN_ID}.clear-2-")
    assert (arguments["attempt"], again["record"]) == (1, arguments["record"])


def test_params_become_the_run_spec(run_task: DbtRunOperator, at_work: FakeAws) -> None:
    """What is empty in the form is left to the deployment."""
    deferral(run_task, context(select=["tag:nightly"], exclude=[], vars={"day": 1}, full_refresh=True, threads=None))

    assert at_work.containers[0].spec == {"select": ["tag:nightly"], "vars": {"day": 1}, "full_refresh": True}


def test_large_spec_travels_through_the_record(run_task: DbtRunOperator, at_work: FakeAws) -> None:
    """ECS would refuse the launch."""
    selectors = [f"model_with_a_long_name_{number}" for number in range(500)]
    deferral(run_task, context(select=selectors))

    assert "RUNNER_SPEC" not in at_work.containers[0].environment
    assert at_work.containers[0].spec == {"select": selectors}


def test_definite_refusal_is_not_retried(run_task: DbtRunOperator, own_aws: FakeAws) -> None:
    """A missing permission does not mend itself; the error says what to do and is told to the nodes."""
    own_aws.refusals.append({"__type": "AccessDeniedException", "message": "not authorized to perform: ecs:RunTask"})
    given = context()

    with pytest.raises(compat.AirflowFailException, match="the launch role lacks a permission"):
        run_task.execute(given)
    assert "ecs:RunTask" in given["ti"].pushed["reason"]


def test_passing_refusal_is_given_up_at_last(run_task: DbtRunOperator, own_aws: FakeAws) -> None:
    """After a quarter of an hour without capacity the task fails, and Airflow's own retries have their turn."""
    own_aws.refusals.append({"reason": "RESOURCE:ENI"})

    with pytest.raises(compat.AirflowException, match="AWS had no room") as error:
        run_task.relaunch(context(), event=None, spec={}, refusals=6)
    assert not isinstance(error.value, compat.AirflowFailException)


def test_kill_stops_the_container(run_task: DbtRunOperator, at_work: FakeAws) -> None:
    """A task that is killed while it has a worker leaves nothing at work."""
    deferral(run_task, context())
    run_task.on_kill()

    assert at_work.containers[0].desired_status == "STOPPED"


@pytest.mark.parametrize("reason", ["Trigger timeout", "Trigger failure"])
def test_timeout_of_a_deferred_task_stops_the_container(
    run_task: DbtRunOperator, at_work: FakeAws, reason: str
) -> None:
    """`execution_timeout` ends a deferred task without any of its methods; the container must not go on unseen."""
    deferral(run_task, context())

    with pytest.raises(compat.AirflowException, match="the container was stopped"):
        run_task.resume_execution("__fail__", {"error": reason}, context())
    assert at_work.containers[0].desired_status == "STOPPED"


def test_container_that_outlives_its_deadline_is_stopped(run_task: DbtRunOperator, at_work: FakeAws) -> None:
    """ECS has no time limit of its own, and a runner that hangs cannot keep its."""
    arguments = deferral(run_task, context())[1]
    event = {"container": None, "is_finished": False, "is_overdue": True}

    with pytest.raises(compat.AirflowException, match="outlived its own deadline"):
        run_task.ended(context(), event, task_arn=arguments["task_arn"], record=RUN_ID, attempt=1)
    assert at_work.containers[0].desired_status == "STOPPED"


@pytest.mark.parametrize(("outcome", "may_pass"), [("failed", False), ("error", True), ("interrupted", True)])
def test_only_what_may_pass_is_retried(
    run_task: DbtRunOperator, own_aws: FakeAws, outcome: str, may_pass: bool
) -> None:
    """A model that fails fails again; a database that was away, or a container that was stopped, may do better."""
    RecordWriter(own_aws, RUN_ID, 1).end(outcome, 1, "it did not go well", {})
    event = {"container": None, "is_finished": True, "is_overdue": False}

    with pytest.raises(compat.AirflowException, match="it did not go well") as error:
        run_task.ended(context(), event, task_arn="arn:aws:ecs:eu-west-1:1:task/dev/1a2b", record=RUN_ID, attempt=1)
    assert isinstance(error.value, compat.AirflowFailException) is not may_pass


def test_links_lead_to_what_on_call_needs(run_task: DbtRunOperator, at_work: FakeAws) -> None:
    """ECS task, log stream, report and docs of this very attempt, with CloudWatch's own way of writing names."""
    deferral(run_task, context())
    task_id = at_work.containers[0].arn.rpartition("/")[2]

    assert run_task.link_addresses["ECS task"].endswith(f"/clusters/dev/tasks/{task_id}?region=eu-west-1")
    assert f"$252Fdbt$252Fbookshop/log-events/dbt$252Fdbt$252F{task_id}" in run_task.link_addresses["Container log"]
    assert run_task.link_addresses["Run report"].endswith("attempts%2F0001%2Freport.html")
    assert run_task.link_addresses["dbt docs"].endswith("-0001%2Findex.html")


def nodes() -> dict[str, Node]:
    """The nodes of the sample graph by task id."""
    return {
        TASK_OF[entry["unique_id"]]: Node(
            unique_id=entry["unique_id"], resource_type=entry["resource_type"], name=entry["name"],
            package=entry["package"], folder=(), depends_on=(), tests=(),
        )
        for entry in GRAPH["nodes"]
        if entry["unique_id"] in TASK_OF
    }  # fmt: skip


def test_cleared_nodes_share_one_container(
    deployment: Deployment, at_work: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of them launches it for all that wait, and says for whom; a selection by hand does not count any more."""
    states = dict.fromkeys(TASK_OF.values(), "success") | {TASK_OF[MART]: "running", "marts.rpt_sales": "deferred"}
    monkeypatch.setattr(compat, "task_states", lambda **_: states)
    by_task_id = nodes()
    task = DbtNodeOperator(
        task_id="fct_orders",
        deployment=deployment,
        run_task_id="run_dbt",
        nodes=by_task_id,
        node=by_task_id[TASK_OF[MART]],
    )
    given = context(try_number=2, max_tries=1, select=["something else"], threads=2)
    with pytest.raises(TaskDeferred):
        task.rebuild(given)

    assert given["ti"].pushed["selection"] == [TASK_OF[MART], "marts.rpt_sales"]
    assert at_work.containers[0].spec == {
        "select": [by_task_id[task_id].selector for task_id in given["ti"].pushed["selection"]],
        "threads": 2,
    }


def test_backfill_tells_dbt_its_interval() -> None:
    """A person's own variables win; other runs carry none, because dbt parses the whole project anew for them."""
    begin, end = SimpleNamespace(isoformat=lambda: "2026-01-01"), SimpleNamespace(isoformat=lambda: "2026-01-02")
    backfill = {
        "dag_run": SimpleNamespace(run_type="backfill"),
        "data_interval_start": begin,
        "data_interval_end": end,
        "params": {"vars": {"data_interval_end": "2026-02-02", "region": "eu"}},
    }

    assert spec_of_interval(backfill) == {
        "vars": {"data_interval_start": "2026-01-01", "data_interval_end": "2026-02-02", "region": "eu"}
    }
    assert spec_of_interval(backfill | {"dag_run": SimpleNamespace(run_type="scheduled")}) == {}


def test_empty_params_make_no_spec() -> None:
    """The form of a scheduled run is empty, and then the deployment alone decides."""
    assert spec_of_params({"select": [], "exclude": [], "vars": {}, "full_refresh": False, "threads": None}) == {}


def test_launch_waits_for_nothing(run_task: DbtRunOperator, at_work: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is held for the launch alone; the wait is the triggerer's."""
    sleep = time.sleep

    def sleep_elsewhere(seconds: float) -> None:
        assert threading.current_thread() is not threading.main_thread(), f"a worker slept for {seconds} s"
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", sleep_elsewhere)
    deferral(run_task, context())
    deferral(run_task, context())

    assert len(at_work.containers) == 1
