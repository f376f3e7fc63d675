"""The DAG on a real Airflow: scheduler, triggerer, worker processes; the containers are scripts that write the run record."""

import os
import signal
import time
from collections.abc import Callable

import pytest
from conftest import ALL_NODES, LONE, MART, ORDERS, ORDERS_TEST, REPORT, SEED, TASK_OF, Story
from fake_aws import FakeContainer

from dbt_on_fargate import compat
from tests.documented import documented

GREEN = dict.fromkeys([*TASK_OF.values(), "run_dbt", "all_built", "update_assets"], "success")
MISSING_COLUMN = 'column "no_such_column" does not exist'


def builds(*unique_ids: str, failing: str | None = None, seconds: float = 0.2) -> Callable[[FakeContainer], int]:
    """A container that builds the nodes in turn; what depends on `failing` in this sample is skipped."""
    skipped = {ORDERS: {MART, REPORT}, MART: {REPORT}}.get(failing or "", set())

    def script(container: FakeContainer) -> int:
        record = container.record()
        record.start("source_freshness", "build", "docs")
        record.plan(*unique_ids)
        nodes: dict[str, dict[str, str]] = {}
        for unique_id in unique_ids:
            time.sleep(seconds)
            if unique_id == failing:
                nodes[unique_id] = {"status": "error", "message": f"Database Error\n  {MISSING_COLUMN}"}
            elif unique_id in skipped:
                nodes[unique_id] = {"status": "skipped", "message": f"{failing} failed"}
            else:
                nodes[unique_id] = {"status": "success"}
            record.finish_node(unique_id, **nodes[unique_id], relation=f"analytics.{unique_id.split('.')[2]}", rows=12)
        if failing:
            return record.end("failed", 1, "1 of 5 nodes failed", nodes)
        return record.end("success", 0, "5 nodes built", nodes)

    return script


def hangs(*built: str) -> Callable[[FakeContainer], int]:
    """A container that builds some nodes and then works on until it is told to stop; it takes a moment to do so."""

    def script(container: FakeContainer) -> int:
        record = container.record()
        record.start("build")
        record.plan(*ALL_NODES)
        for unique_id in built:
            record.finish_node(unique_id)
        container.stop_requested.wait()
        time.sleep(1)
        return 143

    return script


def wait_until(condition: Callable[[], bool], timeout_seconds: float = 120) -> None:
    """Return when the condition holds; a test that waits in vain fails."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def selection(container: FakeContainer) -> set[str]:
    """The names of the nodes that the container was told to build."""
    return {selector.partition(",")[0] for selector in container.spec["select"]}


def test_every_node_is_a_task_that_uses_no_worker(story: Story) -> None:
    """Models end in Airflow as they end in dbt, with their own part of the record in the log, and no process ran for them."""
    story.aws.script = builds(*ALL_NODES)
    story.begin()

    assert story.end() == "success"
    assert story.states() == GREEN
    assert len(story.containers) == 1
    instances = story.airflow.task_instances(story.dag_id, story.run_id)
    assert {None} == {instances[task_id]["pid"] for task_id in TASK_OF.values()}
    assert "success: analytics.stg_orders in 0.5 s, 12 rows" in story.log("staging.stg_orders")
    assert "1 of its tests passed" in story.log("staging.stg_orders")


def test_failed_model_turns_the_run_red_with_the_databases_words(story: Story) -> None:
    """On-call reads what failed and why in the run task and in the model's own task; what depends on it is told apart."""
    story.aws.script = builds(*ALL_NODES, failing=MART)
    story.begin()

    assert story.end() == "failed"
    expected = GREEN | {TASK_OF[MART]: "failed", TASK_OF[REPORT]: "skipped", "run_dbt": "failed", "all_built": "failed"}
    assert expected == story.states()
    # What dbt finds wrong is wrong the next time, too.
    assert len(story.containers) == 1
    assert MISSING_COLUMN in story.log("run_dbt")
    assert MISSING_COLUMN in story.log(TASK_OF[MART])
    assert f"not built: {MART} failed" in story.log(TASK_OF[REPORT])
    message = story.message("dbt bookshop (dev): run failed")
    assert MISSING_COLUMN in message
    assert f"/dags/{story.dag_id}/" in message


def test_failed_test_turns_its_model_red(story: Story) -> None:
    """A model is green only with its tests."""

    def script(container: FakeContainer) -> int:
        record = container.record()
        record.start("build")
        record.plan(*ALL_NODES)
        nodes = {name: {"status": "success"} for name in (SEED, LONE, ORDERS)}
        nodes[ORDERS_TEST] = {"status": "fail", "message": "Got 3 results, configured to fail if != 0"}
        nodes |= {name: {"status": "skipped", "message": f"{ORDERS_TEST} failed"} for name in (MART, REPORT)}
        for name, node in nodes.items():
            record.finish_node(name, **node)
        return record.end("failed", 1, "1 test failed", nodes)

    story.aws.script = script
    story.begin()

    assert story.end() == "failed"
    assert story.states()[TASK_OF[ORDERS]] == "failed"
    assert "Got 3 results" in story.log(TASK_OF[ORDERS])


def test_what_is_not_selected_is_skipped(story: Story) -> None:
    """A run by hand for a part of the project shows the rest as skipped and is green; that a source is stale is told all the same."""

    def script(container: FakeContainer) -> int:
        record = container.record()
        record.start("source_freshness", "build")
        record.plan(SEED)
        record.finish_node(SEED)
        nodes = {
            SEED: {"status": "success"},
            "source.bookshop.raw.orders": {"status": "fail", "message": "two days old"},
        }
        return record.end("success", 0, "1 node built; 1 source is stale", nodes)

    story.aws.script = script
    story.begin(select=["regions"], threads=2)

    assert story.end() == "success"
    assert story.containers[0].spec == {"select": ["regions"], "threads": 2}
    assert {"skipped"} == {story.states()[TASK_OF[name]] for name in (LONE, ORDERS, MART, REPORT)}
    assert "not selected in this run" in story.log(TASK_OF[LONE])
    assert "stale source: source.bookshop.raw.orders (fail)" in story.message("two days old")


def test_container_that_never_starts_is_explained(story: Story) -> None:
    """The cause is told in plain words by the run task and by every model, and nothing waits for a run that will not come."""

    def script(container: FakeContainer) -> None:
        container.stop_code = "TaskFailedToStart"
        container.stopped_reason = "CannotPullContainerError: failed to resolve ref: dev-dbt:1a2b: not found"

    story.aws.script = script
    story.begin()

    assert story.end() == "failed"
    assert dict.fromkeys(GREEN, "failed") | {"update_assets": "skipped"} == story.states()
    # Airflow tried twice.
    assert len(story.containers) == 2
    for log in (story.log("run_dbt", 2), story.log(TASK_OF[LONE])):
        assert "the container image is not in the registry" in log
        assert "dev-dbt:1a2b: not found" in log


def test_dags_on_data_start_when_the_data_is_built(story: Story) -> None:
    """A model's asset is updated when the model is green, the project's when all of it is; what failed or was built before is not."""

    def started() -> list[int]:
        return [story.started_by_data(reader) for reader in ("reads_orders", "reads_mart", "reads_project")]

    story.aws.script = builds(*ALL_NODES, failing=MART)
    story.begin()
    assert story.end() == "failed"
    assert sorted(f"/{name}" for name in (SEED, LONE, ORDERS)) == story.updated_assets()
    wait_until(lambda: started() == [1, 0, 0])
    story.aws.script = builds(MART, REPORT)
    story.airflow.clear(story.dag_id, story.run_id, [TASK_OF[MART]], include_downstream=True)

    assert story.end() == "success"
    assert sorted(["", *(f"/{name}" for name in (SEED, LONE, ORDERS, MART, REPORT))]) == story.updated_assets()
    wait_until(lambda: started() == [1, 1, 1])
    story.message("dbt bookshop (dev): green again")


def test_automatic_retry_continues_the_record(story: Story) -> None:
    """When AWS takes the container away, the next attempt of the same record goes on; what was built stays green."""

    def script(container: FakeContainer) -> int | None:
        record = container.record()
        record.start("build")
        if record.attempt == 1:
            record.plan(*ALL_NODES)
            record.finish_node(SEED)
            container.stop_code, container.stopped_reason = "SpotInterruption", "Your Spot Task was interrupted."
            return 143
        rest = [name for name in ALL_NODES if name != SEED]
        record.plan(*rest)
        for name in rest:
            record.finish_node(name)
        return record.end("success", 0, "built", {name: {"status": "success"} for name in ALL_NODES})

    story.aws.script = script
    story.begin()

    assert story.end() == "success"
    assert story.states() == GREEN
    assert [(story.run_id, "1"), (story.run_id, "2")] == [
        (container.environment["RUNNER_RUN_ID"], container.environment["RUNNER_ATTEMPT"])
        for container in story.containers
    ]
    assert "AWS took the Spot capacity back" in story.log("run_dbt", 1)


@pytest.mark.parametrize("state", ["failed", "success"])
def test_marking_the_run_task_stops_its_container(story: Story, state: str) -> None:
    """Deferred or not, a task that is set by hand leaves nothing at work, and what is unbuilt does not turn green."""
    story.aws.script = hangs(SEED)
    story.begin()
    wait_until(lambda: story.states()[TASK_OF[SEED]] == "success")
    story.airflow.mark(story.dag_id, story.run_id, "run_dbt", state)

    wait_until(lambda: story.containers[0].last_status == "STOPPED")
    wait_until(lambda: None not in story.states().values() and "deferred" not in story.states().values())
    assert {"failed"} == {story.states()[TASK_OF[name]] for name in (LONE, ORDERS, MART, REPORT)}
    assert story.end() == "failed"


def test_clearing_the_run_task_while_it_waits_replaces_its_container(story: Story) -> None:
    """The old container is stopped, and the new one starts only when it is gone."""
    story.aws.script = hangs(SEED)
    story.begin()
    wait_until(lambda: story.states()[TASK_OF[SEED]] == "success")
    story.aws.script = builds(*ALL_NODES)
    gone_before_the_second: list[bool] = []
    first = story.containers[0]
    plain = builds(*ALL_NODES)

    def second(container: FakeContainer) -> int:
        gone_before_the_second.append(first.last_status == "STOPPED")
        return plain(container)

    story.aws.script = second
    story.airflow.clear(story.dag_id, story.run_id, list(GREEN))

    assert story.end() == "success"
    assert story.states() == GREEN
    assert gone_before_the_second == [True]
    assert len(story.containers) == 2


def test_clearing_a_failed_node_with_downstream_builds_just_that(story: Story) -> None:
    """One container for the selection; then everything is green."""
    story.aws.script = builds(*ALL_NODES, failing=MART)
    story.begin()
    assert story.end() == "failed"
    story.aws.script = builds(MART, REPORT)
    story.airflow.clear(story.dag_id, story.run_id, [TASK_OF[MART]], include_downstream=True)

    assert story.end() == "success"
    assert story.states() == GREEN
    assert len(story.containers) == 2
    assert {"fct_orders", "rpt_sales"} == selection(story.containers[1])


def test_clearing_nodes_alone_builds_them_in_one_container(story: Story) -> None:
    """Without the run task, the first of the cleared nodes launches a container for all of them."""
    story.aws.script = builds(*ALL_NODES)
    story.begin()
    assert story.end() == "success"
    story.aws.script = builds(LONE, REPORT)
    story.airflow.clear(story.dag_id, story.run_id, [TASK_OF[LONE], TASK_OF[REPORT]])

    assert story.end() == "success"
    assert story.states() == GREEN
    assert len(story.containers) == 2
    assert {"dim_dates", "rpt_sales"} == selection(story.containers[1])


def test_cleared_node_that_fails_again_is_red(story: Story) -> None:
    """A rebuild never turns green what it did not build, and its failure is told once."""
    story.aws.script = builds(*ALL_NODES)
    story.begin()
    assert story.end() == "success"
    story.aws.script = builds(MART, REPORT, failing=MART)
    story.airflow.clear(story.dag_id, story.run_id, [TASK_OF[MART]], include_downstream=True)

    assert story.end() == "failed"
    states = story.states()
    assert (states[TASK_OF[MART]], states[TASK_OF[REPORT]]) == ("failed", "skipped")
    assert len(story.containers) == 2
    assert MISSING_COLUMN in story.log(TASK_OF[MART], 2)


def test_clearing_the_whole_run_builds_all_of_it_again(story: Story) -> None:
    """A green run that is cleared is built anew, in a record of its own, with what it was asked for."""
    story.aws.script = builds(*ALL_NODES)
    story.begin(threads=3)
    assert story.end() == "success"
    story.airflow.clear(story.dag_id, story.run_id, list(GREEN))

    assert story.end() == "success"
    assert story.states() == GREEN
    assert [container.spec for container in story.containers] == [{"threads": 3}, {"threads": 3}]
    assert len({container.environment["RUNNER_RUN_ID"] for container in story.containers}) == 2


def test_run_waits_for_a_container_that_someone_else_started(story: Story) -> None:
    """Two containers of one project would write the same tables at once."""
    story.aws.script = hangs()
    status, answer = story.aws.ecs(
        "RunTask",
        {
            "clientToken": f"by hand {story.run_id}",
            "startedBy": "someone",
            "taskDefinition": "arn:aws:ecs:eu-west-1:111111111111:task-definition/dev-dbt-bookshop:7",
            "overrides": {
                "containerOverrides": [
                    {
                        "name": "dbt",
                        "environment": [
                            {"name": "RUNNER_RUN_ID", "value": "by-hand"},
                            {"name": "RUNNER_ATTEMPT", "value": "1"},
                        ],
                    }
                ]
            },
        },
    )
    assert status == 200
    story.aws.script = builds(*ALL_NODES)
    story.begin()
    wait_until(lambda: story.states()["run_dbt"] == "deferred")
    assert len(story.containers) == 1
    story.aws.ecs("StopTask", {"task": answer["tasks"][0]["taskArn"], "reason": "done"})

    assert story.end() == "success"
    assert len(story.containers) == 2


def test_refused_launch_is_tried_again_where_it_may_pass(story: Story) -> None:
    """No capacity now is no reason to turn red; the task waits without a worker."""
    story.aws.refusals.append({"reason": "Capacity is unavailable at this time."})
    story.aws.script = builds(*ALL_NODES)
    story.begin()

    assert story.end() == "success"
    assert "trying again in 15 s" in story.log("run_dbt")


@pytest.mark.parametrize("component", ["triggerer", "scheduler"])
def test_killed_part_of_airflow_costs_nothing(story: Story, component: str) -> None:
    """A triggerer or scheduler that is killed in the middle of a run and started again: one container, all states right."""
    story.aws.script = builds(*ALL_NODES, seconds=2)
    story.begin()
    wait_until(lambda: len(story.containers) == 1)
    time.sleep(2)
    story.airflow.kill_component(component)
    story.airflow.start_component(component)

    assert story.end() == "success"
    assert story.states() == GREEN
    assert len(story.containers) == 1


def test_worker_that_is_lost_after_the_launch_costs_nothing(story: Story) -> None:
    """Killed before it hears of its container: the next try finds it, at work or ended, and launches none."""
    story.aws.script = builds(*ALL_NODES, seconds=3)
    story.aws.launches_are_answered.clear()
    story.begin()
    wait_until(lambda: len(story.containers) == 1)
    worker = story.airflow.task_instances(story.dag_id, story.run_id)["run_dbt"]["pid"]
    os.kill(worker, signal.SIGKILL)
    story.aws.launches_are_answered.set()

    assert story.end() == "success"
    assert story.states() == GREEN
    assert len(story.containers) == 1
    assert story.airflow.task_instances(story.dag_id, story.run_id)["run_dbt"]["try_number"] == 2


def test_plugin_is_listed_where_it_is_loaded(story: Story) -> None:
    """As the page says how to look whether the triggerer will find it; where it does nothing it is listed as well."""
    assert "dbt_on_fargate" in story.types(documented("docs/airflow.md", "airflow plugins"))


def test_backfill_builds_each_interval_alone(story: Story) -> None:
    """One container after the other, each with its own interval as variables."""
    others_at_work: list[int] = []
    plain = builds(*ALL_NODES)

    def script(container: FakeContainer) -> int:
        others_at_work.append(len(story.aws.live()) - 1)
        return plain(container)

    story.aws.script = script
    nightly = story.of_variant("nightly")

    assert nightly.backfill("2026-01-06", "2026-01-08") == ["success", "success"]
    assert others_at_work == [0, 0]
    intervals = [container.spec["vars"] for container in nightly.containers]
    assert [(days["data_interval_start"][:10], days["data_interval_end"][:10]) for days in intervals] == [
        ("2026-01-06", "2026-01-07"),
        ("2026-01-07", "2026-01-08"),
    ]


def test_time_limits_stop_the_container_of_a_deferred_task(story: Story) -> None:
    """A DAG run's time limit or the run task's own ends everything within seconds, with the reason, and leaves nothing at work."""
    story.aws.script = hangs(SEED)
    bounded, impatient = story.of_variant("bounded"), story.of_variant("impatient")
    for limited in (bounded, impatient):
        limited.begin()

    assert [limited.end() for limited in (bounded, impatient)] == ["failed", "failed"]
    wait_until(lambda: not story.aws.live())
    assert len(story.containers) == 2
    # Airflow itself skips what a run that is out of time has left.
    states = bounded.states()
    assert states[TASK_OF[SEED]] == "success"
    assert {"skipped"} == {states[TASK_OF[name]] for name in (LONE, ORDERS, MART, REPORT)} | {states["run_dbt"]}
    assert "timed out" in bounded.message("dbt bounded (dev): run failed")
    assert "the DAG run passed its time limit" in bounded.log(TASK_OF[LONE])
    states = impatient.states()
    assert states[TASK_OF[SEED]] == "success"
    assert {"failed"} == {states[TASK_OF[name]] for name in (LONE, ORDERS, MART, REPORT)} | {states["run_dbt"]}
    # Airflow 2 fails the task before its own code is asked; there the trigger stops the container.
    words = "the container was stopped" if compat.IS_AIRFLOW_3 else "timed out: stopping container"
    assert words in impatient.log("run_dbt")
    assert "task run_dbt ended before this node was done" in impatient.log(TASK_OF[LONE])
