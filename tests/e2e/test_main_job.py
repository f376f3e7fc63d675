"""The main job over the real chain: CDK CLI, image build, registry, Airflow, container, warehouse, record, docs, destroy."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from local_cloud.cdk_cli import REPOSITORY_ROOT
from local_cloud.run_records import Attempt
from tests.e2e.conftest import Story, wait_for
from tests.e2e.secret_search import places_that_hold

SCHEMAS = REPOSITORY_ROOT / "container/runner/schemas"
KNOWN_WORD = "bookshop"
FINAL_STATUSES = {"success", "warn", "fail", "error", "skipped", "not_run"}


@pytest.fixture(scope="module")
def green_run(story: Story) -> Attempt:
    """The record of the first run that Airflow started."""
    state, attempt = story.run()
    assert state == "success", attempt.end
    return attempt


def validate(document: dict[str, Any], schema_name: str) -> None:
    """Raise unless `document` is what the published schema promises."""
    schema = json.loads((SCHEMAS / f"{schema_name}.json").read_text())
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(document)


def planned_nodes(attempt: Attempt) -> set[str]:
    """The unique ids of all nodes that the attempt was asked for."""
    return {node["unique_id"] for event in attempt.events if event["type"] == "planned" for node in event["nodes"]}


def test_airflow_imports_every_dag_file(story: Story) -> None:
    """The DAG files that were deployed to the bucket parse without an error in a real Airflow."""
    assert story.cloud.airflow.import_errors() == []


def test_green_run_is_recorded_whole(green_run: Attempt) -> None:
    """Every node that was asked for ends in exactly one final status, and the end says so."""
    assert green_run.end is not None
    finished = [event["unique_id"] for event in green_run.events if event["type"] == "node_finished"]

    assert planned_nodes(green_run) == set(finished) == set(green_run.end["nodes"])
    assert {node["status"] for node in green_run.end["nodes"].values()} <= {"success", "warn"}
    assert (green_run.end["outcome"], green_run.end["exit_code"]) == ("success", 0)


def test_green_run_follows_the_published_schemas(green_run: Attempt) -> None:
    """What the container wrote is what docs/run-record.md promises to its readers."""
    assert green_run.end is not None
    validate(green_run.start, "start")
    validate(green_run.end, "end")
    for event in green_run.events:
        validate(event, "event")


def test_every_model_is_a_task_without_a_worker(story: Story, green_run: Attempt) -> None:
    """Airflow shows each model, seed and snapshot as a green task of its own that never had a worker process."""
    assert green_run.end is not None
    built = {
        event["name"]
        for event in green_run.events
        if event["type"] == "node_finished" and event["resource_type"] in {"model", "seed", "snapshot"}
    }
    tasks = story.cloud.airflow.task_instances(story.deployed.dag_id, green_run.start["run_id"])
    by_name = {task_id.rpartition(".")[2]: task for task_id, task in tasks.items()}

    assert built
    assert {"success"} == {by_name[name]["state"] for name in built}
    assert {(None, "")} == {(by_name[name]["pid"], by_name[name]["hostname"]) for name in built}


def test_models_are_in_the_warehouse(story: Story, green_run: Attempt) -> None:
    """A model that the record calls built is a relation in the warehouse, in the schema of the deployment."""
    assert green_run.end is not None
    relations = {
        (schema, name)
        for schema, name in story.cloud.warehouse.query(
            "select table_schema, table_name from information_schema.tables where table_schema like 'analytics%'"
        )
    }
    built = {
        event["relation"]
        for event in green_run.events
        if event["type"] == "node_finished"
        and event["resource_type"] in {"model", "seed", "snapshot"}
        and event.get("relation")
    }
    named = {tuple(part.strip('"') for part in relation.split(".")[-2:]) for relation in built}

    assert built
    assert named <= relations


def test_docs_of_the_run_are_published(story: Story, green_run: Attempt) -> None:
    """`latest.json` points to a self-contained docs page and the artifacts of the same run."""
    records = story.deployed.records
    latest = records.json(f"{story.choice.settings.project}/latest.json")
    validate(latest, "latest")
    keys = {key.removeprefix(latest["docs_prefix"]) for key in records.keys(latest["docs_prefix"])}

    assert latest["run_id"] == green_run.start["run_id"]
    assert {"index.html", "manifest.json", "catalog.json", "run_results.json"} <= keys
    assert b"fct_" in records.read(f"{latest['docs_prefix']}index.html")


def test_report_of_the_run_is_published(story: Story, green_run: Attempt) -> None:
    """The run report lies beside the record."""
    assert b"<html" in story.deployed.records.read(f"{green_run.prefix}report.html")


def test_container_logs_are_json_lines(story: Story) -> None:
    """What the container says reaches CloudWatch Logs, one JSON object a line."""
    messages = log_messages(story)

    assert messages
    assert all(isinstance(json.loads(message), dict) for message in messages)


def log_messages(story: Story) -> list[str]:
    """All log lines of the project's containers."""
    logs = story.cloud.account.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=story.deployed.deployment["log_group_name"])
    return [event["message"] for page in pages for event in page["events"]]


def test_changed_model_is_deployed_as_a_new_revision(story: Story, green_run: Attempt) -> None:
    """An edit of one model gives a new image and revision, and the next run builds what the edit says."""
    before = story.deployed.deployment["task_definition_arn"]
    model = next(story.project_path.glob("models/marts/**/dim_*.sql"))
    model.write_text(model.read_text().rstrip() + "\n-- edited by the end-to-end test\n")
    story.deploy_again()
    state, attempt = story.run()

    assert before != story.deployed.deployment["task_definition_arn"]
    assert state == "success"
    assert green_run.start["code"]["fingerprint"] != attempt.start["code"]["fingerprint"]


@pytest.fixture(scope="module")
def failed_run(story: Story) -> tuple[str, Attempt]:
    """A run in which one model asks the warehouse for a column that does not exist."""
    model = next(story.project_path.glob("models/marts/**/dim_*.sql"))
    text = model.read_text()
    model.write_text(f"select no_such_column from (\n{text}\n) as broken\n")
    story.deploy_again()
    state, attempt = story.run()
    model.write_text(text)
    broken = model.stem
    assert state == "failed"
    return broken, attempt


def test_failed_model_turns_the_dag_red_with_the_databases_words(story: Story, failed_run: tuple[str, Attempt]) -> None:
    """On-call reads which model failed and what the database said in the failed task's own log."""
    broken, attempt = failed_run
    airflow = story.cloud.airflow
    run_id = attempt.start["launched_by"]["dag_run_id"]
    log = "\n".join(
        airflow.task_log(story.deployed.dag_id, run_id, task["task_id"], task["try_number"])
        for task in airflow.task_instances(story.deployed.dag_id, run_id).values()
        if task["state"] == "failed"
    )

    assert broken in log
    assert 'column "no_such_column" does not exist' in log


def test_failed_model_is_red_and_what_depends_on_it_is_not_green(story: Story, failed_run: tuple[str, Attempt]) -> None:
    """In Airflow's grid the failed model is failed, and no task of a model that was not built says success."""
    broken, attempt = failed_run
    assert attempt.end is not None
    tasks = story.cloud.airflow.task_instances(story.deployed.dag_id, attempt.start["run_id"])
    by_name = {task_id.rpartition(".")[2]: task["state"] for task_id, task in tasks.items()}
    skipped = {
        unique_id.split(".")[2]
        for unique_id, node in attempt.end["nodes"].items()
        if unique_id.startswith("model.") and node["status"] == "skipped"
    }

    assert by_name[broken] == "failed"
    assert skipped
    assert "success" not in {by_name[name] for name in skipped}


def test_failed_run_keeps_its_artifacts(story: Story, failed_run: tuple[str, Attempt]) -> None:
    """Results, manifest, report and cause survive a failure; what was downstream is told apart from what failed."""
    broken, attempt = failed_run
    assert attempt.end is not None
    files = {Path(key).name for key in story.deployed.records.keys(attempt.prefix)}
    by_name = {unique_id.split(".")[2]: node for unique_id, node in attempt.end["nodes"].items()}

    assert {"run_results.json", "manifest.json", "report.html", "end.json"} <= files
    assert (attempt.end["outcome"], attempt.end["exit_code"]) == ("failed", 1)
    assert by_name[broken]["status"] == "error"
    assert "no_such_column" in by_name[broken]["message"]
    assert {node["status"] for node in attempt.end["nodes"].values()} <= FINAL_STATUSES


def test_alert_of_the_failed_run_rings(story: Story, failed_run: tuple[str, Attempt]) -> None:
    """A container that exits with an error reaches the alert topic without Airflow's help."""
    assert failed_run
    assert any("bookshop" in message for message in story.alerts())


@pytest.fixture(scope="module")
def stopped_run(story: Story, failed_run: tuple[str, Attempt]) -> tuple[str, Attempt]:
    """A run with a specification too large for ECS's overrides that a person marks failed while it is at work."""
    assert failed_run
    airflow, dag_id, run_id = story.cloud.airflow, story.deployed.dag_id, "stopped-by-hand"
    select = ["+tag:no_such_tag_at_all"] * 400 + ["path:models"]
    airflow.trigger(dag_id, conf={"select": select}, run_id=run_id)
    attempt = wait_for(lambda: begun_attempt(story, run_id), "a model of the run begins", timeout_seconds=120)
    airflow.mark(dag_id, run_id, "run_dbt", "failed")
    wait_for(lambda: not running_tasks(story), "the container is gone", timeout_seconds=150)
    state = airflow.wait_for_run(dag_id, run_id, timeout_seconds=60)
    ended = story.deployed.records.attempt(attempt.start["run_id"])
    assert ended is not None
    return state, ended


def begun_attempt(story: Story, run_id: str) -> Attempt | None:
    """The attempt of this run as soon as one of its nodes has begun."""
    attempt = story.deployed.records.attempt(run_id)
    begun = attempt is not None and any(event["type"] == "node_started" for event in attempt.events)
    return attempt if begun else None


def running_tasks(story: Story) -> list[str]:
    """The ARNs of the project's containers that have not ended."""
    ecs, cluster = story.cloud.account.client("ecs"), story.deployed.deployment["cluster_arn"]
    arns: list[str] = [
        arn
        for status in ("RUNNING", "STOPPED")
        for arn in ecs.list_tasks(cluster=cluster, desiredStatus=status)["taskArns"]
    ]
    tasks = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
    return [task["taskArn"] for task in tasks if task["lastStatus"] != "STOPPED"]


def test_run_that_is_marked_failed_stops_its_container(story: Story, stopped_run: tuple[str, Attempt]) -> None:
    """Marking the waiting run task stops the container, whose record says so and accounts for every node."""
    state, attempt = stopped_run

    assert attempt.end is not None
    assert (state, running_tasks(story)) == ("failed", [])
    assert attempt.end["outcome"] == "interrupted"
    assert planned_nodes(attempt) == set(attempt.end["nodes"])


def test_large_specification_travels_by_s3(story: Story, stopped_run: tuple[str, Attempt]) -> None:
    """What is too long for ECS's overrides reaches the container all the same, and lies beside the record."""
    _, attempt = stopped_run
    run = attempt.prefix.partition("attempts/")[0]

    assert len(story.deployed.records.json(f"{run}spec.json")["select"]) == 401


@pytest.fixture(scope="module")
def found(story: Story, stopped_run: tuple[str, Attempt]) -> dict[str, list[str]]:
    """Where the password is found after green, red and stopped runs, and where a word is found that is known to be about."""
    assert stopped_run
    return places_that_hold([story.cloud.warehouse.password, KNOWN_WORD], story)


def test_password_is_nowhere(story: Story, found: dict[str, list[str]]) -> None:
    """The warehouse password, a canary made for this run, is in no layer, log, template, override, XCom, record, page or file."""
    assert found[story.cloud.warehouse.password] == []


def test_secret_search_finds_what_is_there(found: dict[str, list[str]]) -> None:
    """The search above is not blind: it finds a word that is in records, logs, templates, overrides, images and Airflow."""
    kinds = {place.partition(":")[0] for place in found[KNOWN_WORD]}

    assert {"s3", "log", "template", "image", "override", "airflow"} <= kinds
