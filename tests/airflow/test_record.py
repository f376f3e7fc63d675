"""The run record as triggers read it: the examples that the runner's tests write, and records as they grow."""

from pathlib import Path

import pytest
from conftest import REPOSITORY_ROOT
from fake_aws import FakeAws, RecordWriter

from dbt_on_fargate.deployment import Deployment
from dbt_on_fargate.record import RunRecord, cleared_record_id, newest_record, open_record, record_id, went_well

EXAMPLES = REPOSITORY_ROOT / "tests/examples/run-record"


def example(own_aws: FakeAws, deployment: Deployment, name: str) -> RunRecord:
    """An example record, read to its end."""
    for file in (EXAMPLES / name).rglob("*"):
        if file.is_file():
            own_aws.put("artifacts", f"bookshop/runs/{name}/{file.relative_to(EXAMPLES / name)}", file.read_bytes())
    record = open_record(deployment.record_place, name)
    record.read_new(look_for_attempts=True)
    return record


def test_reads_every_node_of_a_green_run(own_aws: FakeAws, deployment: Deployment) -> None:
    """What the runner writes is what the DAG reads: all that was planned has ended well."""
    attempt = example(own_aws, deployment, "green").attempts[1]

    assert (attempt.is_finished, attempt.outcome, attempt.plan_is_known) == (True, "success", True)
    planned = set().union(*attempt.planned.values())
    assert len(planned) > 90
    assert {attempt.results[unique_id].status for unique_id in planned} == {"success", "warn"}


def test_reads_the_databases_words_of_a_failed_run(own_aws: FakeAws, deployment: Deployment) -> None:
    """The cause is in the result of the node, and what depends on it is told apart."""
    record = example(own_aws, deployment, "failed")
    results = record.attempts[1].results

    assert "division by zero" in results["model.bookshop.dim_customers"].message
    assert results["model.bookshop.customer_cohorts"].status == "skipped"
    end = record.end(1)
    assert end is not None
    assert not went_well(end)


def test_what_a_stop_cut_off_does_not_stand(own_aws: FakeAws, deployment: Deployment) -> None:
    """What the container was at when it was interrupted is the next attempt's."""
    attempt = example(own_aws, deployment, "interrupted").attempts[1]

    assert attempt.results["model.bookshop.dim_customers"].status == "not_run"
    assert not attempt.is_final(attempt.results["model.bookshop.dim_customers"])
    assert attempt.is_final(attempt.results["model.bookshop.dim_books"])


@pytest.mark.parametrize(("status", "stands"), [("error", True), ("fail", True), ("skipped", True), ("not_run", False)])
def test_failure_stands_while_the_container_is_at_work(
    own_aws: FakeAws, deployment: Deployment, status: str, stands: bool
) -> None:
    """It is told at once; what a run will not come to is told a moment before the run says how it ended."""
    writer = RecordWriter(own_aws, "run", 1)
    writer.start("build")
    writer.plan("model.bookshop.a")
    writer.finish_node("model.bookshop.a", status)
    record = open_record(deployment.record_place, "run")
    record.read_new(look_for_attempts=True)
    attempt = record.attempts[1]

    assert attempt.is_final(attempt.results["model.bookshop.a"]) is stands


def test_killed_attempt_is_unfinished(own_aws: FakeAws, deployment: Deployment) -> None:
    """Without its last event an attempt is at work or was killed; which of the two, only ECS can tell."""
    record = example(own_aws, deployment, "killed")

    assert not record.attempts[1].is_finished
    assert record.end(1) is None


def test_reads_all_attempts(own_aws: FakeAws, deployment: Deployment) -> None:
    """What the first attempt built and what the second did are both known."""
    record = example(own_aws, deployment, "resumed")

    assert sorted(record.attempts) == [1, 2]
    assert not record.attempts[1].is_finished
    assert record.attempts[2].outcome == "success"


def test_each_batch_is_read_once(own_aws: FakeAws, deployment: Deployment) -> None:
    """A reader that asks every second must not read the whole record every second."""
    writer = RecordWriter(own_aws, "run", 1)
    writer.start("build")
    writer.plan("model.bookshop.a")
    record = open_record(deployment.record_place, "run")
    assert record.read_new(look_for_attempts=True)
    assert not record.read_new(look_for_attempts=False)
    writer.finish_node("model.bookshop.a")

    assert record.read_new(look_for_attempts=False)
    assert [result.status for result, _ in record.results("model.bookshop.a")] == ["success"]


def test_plan_is_known_only_when_dbt_is_at_work(own_aws: FakeAws, deployment: Deployment) -> None:
    """A step begins before it says what it will do, so its beginning says nothing of what is not planned."""
    writer = RecordWriter(own_aws, "run", 1)
    writer.start("source_freshness", "build", "docs")
    record = open_record(deployment.record_place, "run")
    for events, known in (
        ([{"type": "step_started", "step": "build"}], False),
        ([{"type": "planned", "step": "build", "nodes": [{"unique_id": "model.bookshop.a"}]}], False),
        ([{"type": "node_started", "step": "build", "unique_id": "model.bookshop.a"}], True),
    ):
        writer.events(*events)
        record.read_new(look_for_attempts=True)
        assert record.attempts[1].plan_is_known is known


@pytest.mark.parametrize("run_id", ["manual__2026-11-22T15:19:40.244866+00:00", "scheduled__2026-01-01", "a" * 150])
def test_run_id_is_the_records_name_where_it_may_be(run_id: str) -> None:
    """On-call finds the record by the id that Airflow shows."""
    assert record_id(run_id) == run_id


@pytest.mark.parametrize("run_id", ["späti/../x y", "-dash", "a" * 400, ""])
def test_other_run_ids_become_safe_and_stay_apart(run_id: str) -> None:
    """A person may give a run any name; it must not lead out of the project's prefix."""
    name = cleared_record_id(record_id(run_id), task_id="run_dbt", generation=12)

    assert len(name) <= 200
    assert "/" not in name
    assert name[0].isalnum()
    assert record_id(run_id) != record_id(run_id + "x")


def test_large_spec_goes_to_the_record(own_aws: FakeAws, deployment: Deployment) -> None:
    """ECS takes 8,192 characters of overrides; a spec of any size has its place in S3."""
    address = open_record(deployment.record_place, "run").write_spec({"select": ["a"]})

    assert address == "s3://artifacts/bookshop/runs/run/spec.json"
    assert own_aws.objects["artifacts"]["bookshop/runs/run/spec.json"] == b'{"select": ["a"]}'


def test_examples_are_there() -> None:
    """The examples are the format that container and DAG share; without them the tests above would prove nothing."""
    assert {"green", "failed", "interrupted", "killed", "resumed"} <= {path.name for path in Path(EXAMPLES).iterdir()}


@pytest.mark.parametrize(
    ("status", "expected"), [("success", True), ("warn", True), ("skipped", False), ("fail", False)]
)
def test_node_is_built_only_by_its_own_success(status: str, expected: bool) -> None:
    """One that dbt skipped is not built, whatever became of its tests."""
    end = {"outcome": "failed", "nodes": {"model.shop.a": {"status": status}, "test.shop.t": {"status": "skipped"}}}

    assert went_well(end, ["model.shop.a", "test.shop.t", "test.shop.not_selected"]) is expected


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [("green", 1, True), ("failed", 1, True), ("interrupted", 1, False), ("killed", 1, False), ("resumed", 2, True)],
)
def test_attempt_is_settled_when_no_node_can_change(
    own_aws: FakeAws, deployment: Deployment, name: str, number: int, expected: bool
) -> None:
    """What an interrupted attempt left undone is the next one's; what follows the last node does not matter."""
    assert example(own_aws, deployment, name).attempts[number].is_settled is expected


def test_newest_record_is_that_of_the_last_clear_of_the_run_task() -> None:
    """Records of nodes that were cleared alone are others."""
    mine = [cleared_record_id("run-1", task_id="run_dbt", generation=number) for number in (2, 10)]
    other = cleared_record_id("run-1", task_id="marts.orders", generation=11)

    assert newest_record(["run-1", *mine, other], base="run-1", task_id="run_dbt") == mine[1]
    assert newest_record(["run-1", other], base="run-1", task_id="run_dbt") == "run-1"
