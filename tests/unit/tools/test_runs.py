"""`make run` and its kin against a stand-in for S3, STS and ECS, whose containers write run records."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.loaders
import pytest

from stacks.environments import ENVIRONMENTS
from tests.airflow.deployed import DEPLOYMENT
from tests.airflow.fake_aws import PERSON, FakeAws, FakeContainer
from tools import follow, launch, runs, slim_ci
from tools.deployed import DeployedProject, choose
from tools.follow import ExitCode
from tools.slim_ci import PullRequest

ORDERS = "model.bookshop.stg_orders"
ORDERS_TEST = "test.bookshop.unique_stg_orders_id.1a2b"
MART = "model.bookshop.fct_orders"
_LOADER = botocore.loaders.create_loader()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    """An account in which bookshop is deployed to dev; nobody waits for a whole second."""
    fake = FakeAws()
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    # Each session reads the descriptions of AWS's services anew, which takes longer than all the rest here.
    monkeypatch.setattr("botocore.session.create_loader", lambda *_: _LOADER)
    monkeypatch.setattr(follow, "_SECONDS_BETWEEN_LOOKS", 0.02)
    monkeypatch.setattr(follow, "SECONDS_FOR_THE_END", 1.0)
    monkeypatch.setattr(launch, "_SECONDS_BETWEEN_LOOKS", 0.02)
    monkeypatch.setattr(runs, "_SECONDS_BETWEEN_LOOKS", 0.02)
    monkeypatch.setattr(slim_ci, "_SECONDS_BETWEEN_LOOKS", 0.02)
    fake.objects["example-dev-airflow"] = {
        "dags/dbt_on_fargate_dev_bookshop/deployment.json": json.dumps(DEPLOYMENT).encode()
    }
    yield fake
    fake.close()


def command(*arguments: str) -> int:
    """The exit code of a command about bookshop in dev."""
    name, *rest = arguments
    return runs.main([name, "dev", "bookshop", *rest], ENVIRONMENTS)


def begins(container: FakeContainer, *planned: str) -> Any:  # noqa: ANN401 - the stand-in's own writer
    """The record of a container that has begun its build."""
    record = container.record()
    content = {"spec": {"steps": [{"name": "build", "policy": "must_pass"}], "select": ["+fct_orders"], "threads": 8}}
    start = {**content, "task_definition": "dev-dbt-bookshop:3", "resumes": None}
    container.aws.put("artifacts", f"{record.folder}start.json", json.dumps(start).encode())
    record.plan(*planned)
    return record


def green(container: FakeContainer) -> int:
    """All is built."""
    record = begins(container, ORDERS, ORDERS_TEST, MART)
    record.finish_nodes(ORDERS, ORDERS_TEST)
    record.finish_node(MART, rows=1234)
    return int(record.end("success", 0, "3 of 3 nodes are as they should be", {}))


def red(container: FakeContainer) -> int:
    """One model fails, and what depends on it is skipped."""
    record = begins(container, ORDERS, MART)
    record.finish_node(ORDERS, "error", message='column "no_such" does not exist')
    record.finish_node(MART, "skipped")
    nodes = {ORDERS: {"status": "error"}, MART: {"status": "skipped"}}
    return int(record.end("failed", 1, "stg_orders failed", nodes))


def until_stopped(container: FakeContainer) -> int:
    """It works until it is told to stop."""
    record = begins(container, ORDERS)
    container.stop_requested.wait(20)
    return int(record.end("interrupted", 2, "interrupted: SIGTERM", {ORDERS: {"status": "not_run"}}))


def hung(container: FakeContainer) -> int:
    """It works and writes no end."""
    begins(container, ORDERS)
    container.stop_requested.wait(20)
    return 137


def test_a_run_is_started_as_airflow_does_and_followed_to_its_end(
    aws: FakeAws, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under the launch role, with what was asked for and who asked; a line for each model, the headline, exit code 0."""
    aws.script = green

    code = command(
        "run", "--select", "+fct_orders tag:daily", "--exclude", "x", "--vars", "{days: 3}", "--full-refresh"
    )

    out = capsys.readouterr().out
    (container,) = aws.containers
    assert code == ExitCode.SUCCESS
    assert f"AssumeRole {DEPLOYMENT['launch_role_arn']}" in aws.calls
    assert container.request["taskDefinition"] == DEPLOYMENT["task_definition_arn"]
    assert container.spec == {
        "select": ["+fct_orders", "tag:daily"], "exclude": ["x"], "vars": {"days": 3}, "full_refresh": True,
    }  # fmt: skip
    assert json.loads(container.environment["RUNNER_LAUNCHED_BY"]) == {
        "kind": "person",
        "name": PERSON.rpartition(":")[2],
    }
    assert "model    stg_orders  0.5 s" in out
    assert "model    fct_orders  0.5 s, 1,234 rows" in out
    assert "unique_stg_orders_id" not in out
    assert "3 of 3 nodes are as they should be" in out


def test_a_failed_model_is_told_in_the_databases_words(aws: FakeAws, capsys: pytest.CaptureFixture[str]) -> None:
    """With the headline, and the exit code of failed nodes."""
    aws.script = red

    assert command("run") == ExitCode.FAILED
    out = capsys.readouterr().out
    assert 'column "no_such" does not exist' in out
    assert "skipped  model    fct_orders" in out
    assert "stg_orders failed" in out


def test_a_container_that_never_started_is_explained(aws: FakeAws, capsys: pytest.CaptureFixture[str]) -> None:
    """What AWS says and what to do at a terminal; the exit code tells it from failed models."""

    def never(container: FakeContainer) -> None:
        container.stop_code = "TaskFailedToStart"
        container.stopped_reason = "CannotPullContainerError: dev/dbt/bookshop:1: not found"

    aws.script = never

    assert command("run") == ExitCode.DID_NOT_FINISH
    out = capsys.readouterr().out
    assert "the container image is not in the registry" in out
    assert "AWS says: CannotPullContainerError" in out
    assert "clear this task" not in out


def test_a_second_run_is_refused_and_the_first_is_named(aws: FakeAws, capsys: pytest.CaptureFixture[str]) -> None:
    """Two at once would write the same tables; nothing is started."""
    aws.script = until_stopped
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow, "time", SimpleNamespace(sleep=_interrupt))
        assert command("run") == ExitCode.LEFT
    first = aws.containers[0].environment["RUNNER_RUN_ID"]
    capsys.readouterr()

    assert command("run") == ExitCode.NOTHING_DONE
    assert f"another run of bookshop is at work: {first}" in capsys.readouterr().err
    assert len(aws.containers) == 1


@pytest.fixture
def deployed(aws: FakeAws) -> DeployedProject:
    """Bookshop in dev as a command reaches it."""
    assert aws.objects
    return DeployedProject(choose(ENVIRONMENTS, "dev", "bookshop"), boto3.Session(region_name="eu-central-1"))


def _trial(project: DeployedProject, run_id: str) -> None:
    launch.start(project, run_id=run_id, attempt=1, spec={"trial": {"schema_suffix": "pr_17", "drop": ["pr_17"]}})


def test_a_trial_and_a_run_are_in_nobodys_way(
    aws: FakeAws, deployed: DeployedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    """They start beside each other; who looks for the last run, or stops what is at work, means no trial."""
    aws.script = until_stopped
    _trial(deployed, "pr-17-a")
    aws.script = green
    assert command("run") == ExitCode.SUCCESS
    assert command("stop") == ExitCode.NOTHING_DONE
    aws.script = until_stopped
    _trial(deployed, "pr-18-a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow, "time", SimpleNamespace(sleep=_interrupt))
        assert command("run") == ExitCode.LEFT
    (run_id,) = (found.environment["RUNNER_RUN_ID"] for found in aws.live() if not found.started_by.startswith("slim"))

    assert deployed.last_run() == run_id
    assert command("stop", "--run", "pr-18-a") == ExitCode.SUCCESS
    assert {found.environment["RUNNER_RUN_ID"] for found in aws.live()} == {"pr-17-a", run_id}
    capsys.readouterr()


def test_a_newer_push_stops_what_an_earlier_one_still_builds(aws: FakeAws, deployed: DeployedProject) -> None:
    """They would build in the same schemas; other pull requests, and runs, go on."""
    aws.script = until_stopped
    for run_id in ("pr-17-a", "pr-170-a"):
        _trial(deployed, run_id)
    PullRequest(deployed, choose(ENVIRONMENTS, "dev", "bookshop"), 17).stop_earlier()

    assert [found.environment["RUNNER_RUN_ID"] for found in aws.live()] == ["pr-170-a"]


def _interrupt(_: float) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_leaves_the_run_alone_and_says_how_to_stop_it(
    aws: FakeAws, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who looks leaves; the container is not told to stop."""
    aws.script = until_stopped
    monkeypatch.setattr(follow, "time", SimpleNamespace(sleep=_interrupt))

    assert command("run") == ExitCode.LEFT
    (container,) = aws.containers
    run_id = container.environment["RUNNER_RUN_ID"]
    assert f"make stop ENV=dev PROJECT=bookshop RUN={run_id}" in capsys.readouterr().out
    assert "StopTask" not in aws.calls


def test_stop_stops_and_says_what_the_run_has_said(
    aws: FakeAws, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS hears who it was; the command ends when the container is gone."""
    aws.script = until_stopped
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow, "time", SimpleNamespace(sleep=_interrupt))
        command("run")

    assert command("stop") == ExitCode.SUCCESS
    (container,) = aws.containers
    assert container.stopped_reason == "make stop, by assumed-role/analyst/ana"
    assert aws.live() == []
    assert "interrupted: SIGTERM" in capsys.readouterr().out


def test_stop_without_a_run_does_nothing(aws: FakeAws, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence and an exit code of its own."""
    assert command("stop") == ExitCode.NOTHING_DONE
    assert capsys.readouterr().err == "error: no run is at work in project bookshop of dev\n"


@pytest.fixture
def failed_run(aws: FakeAws) -> str:
    """The id of a run in which one model failed, known to the history as the last."""
    aws.script = red
    command("run")
    run_id = aws.containers[0].environment["RUNNER_RUN_ID"]
    older, last = (
        {"run_id": name, "attempt": 1, "started_at": day}
        for name, day in [("older", "2026-11-01"), (run_id, "2026-11-02")]
    )
    aws.put("artifacts", "bookshop/history/overview.json", json.dumps({"begun": [older], "last": last}).encode())
    return run_id


def test_one_failed_model_is_run_again_on_the_failed_runs_own_code(aws: FakeAws, failed_run: str) -> None:
    """The next attempt of the last run, its revision and its settings, cut down to the model and what depends on it."""
    aws.script = green

    assert command("retry", "--model", "stg_orders") == ExitCode.SUCCESS
    again = aws.containers[1]
    assert (again.environment["RUNNER_RUN_ID"], again.environment["RUNNER_ATTEMPT"]) == (failed_run, "2")
    assert again.request["taskDefinition"].endswith(":task-definition/dev-dbt-bookshop:3")
    assert (again.spec["select"], again.spec["threads"]) == (["stg_orders+"], 8)


def test_without_a_model_the_whole_rest_is_run_again(aws: FakeAws, failed_run: str) -> None:
    """With the selection that the run had."""
    aws.script = green

    assert command("retry", "--run", failed_run) == ExitCode.SUCCESS
    assert aws.containers[1].spec["select"] == ["+fct_orders"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "nobody"], "model must be one that is not done, fct_orders, stg_orders, got 'nobody'"),
        (["--run", "nothing"], "there is no run 'nothing' of bookshop"),
    ],
    ids=["no such model", "no such run"],
)
def test_rejects_what_cannot_be_repeated(
    aws: FakeAws, failed_run: str, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """Nothing is started, and the message says what can be."""
    assert command("retry", *arguments) == ExitCode.NOTHING_DONE
    assert words in capsys.readouterr().err
    assert len(aws.containers) == 1


def test_nothing_is_left_of_a_green_run(aws: FakeAws, failed_run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a later attempt has done counts."""
    aws.script = green
    command("retry")

    assert command("retry") == ExitCode.NOTHING_DONE
    assert "nothing of this run is left to do" in capsys.readouterr().err


def test_a_killed_run_is_continued(aws: FakeAws, capsys: pytest.CaptureFixture[str]) -> None:
    """What it had planned and did not come to is left to do, though it wrote no end."""
    aws.script = hung
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow, "time", SimpleNamespace(sleep=_interrupt))
        command("run")
    command("stop")
    assert "it left no end in its record" in capsys.readouterr().out
    aws.script = green

    assert command("retry", "--run", aws.containers[0].environment["RUNNER_RUN_ID"]) == ExitCode.SUCCESS


def test_the_report_of_the_last_run_is_written_to_a_file(aws: FakeAws, failed_run: str, tmp_path: Path) -> None:
    """For mails and tickets, and where there is no browser."""
    aws.put("artifacts", f"bookshop/runs/{failed_run}/attempts/0001/report.html", b"<html>")

    assert command("report", "--to", str(tmp_path / "report.html")) == ExitCode.SUCCESS
    assert (tmp_path / "report.html").read_bytes() == b"<html>"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "prod", "bookshop"], "environment must be one of dev, live, local, got 'prod'"),
        (["run", "dev", "shop"], "project must be one of bookshop, got 'shop'"),
        (["run", "dev", "bookshop", "--select=--full-refresh"], "which looks like an option"),
        (["run", "dev", "bookshop", "--vars", "[1]"], "must be an object, got [1]"),
        (["run", "dev", "bookshop", "--vars", "{"], "VARS must be YAML or JSON"),
        (["report", "dev", "bookshop", "--run", "nothing"], "run 'nothing' has no report"),
        (["logs", "dev", "bookshop", "--run", "nothing"], "no container of run 'nothing' is known"),
        (["retry", "dev", "bookshop"], "no run of bookshop in dev is known yet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_rejects_what_is_wrong_before_anything_is_started(
    aws: FakeAws, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """One line says what was got and what is allowed."""
    assert runs.main(arguments, ENVIRONMENTS) == ExitCode.NOTHING_DONE
    assert words in capsys.readouterr().err
    assert aws.containers == []


def test_rejects_a_project_that_is_not_deployed(aws: FakeAws, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the file that a deployment would have written."""
    aws.objects["example-dev-airflow"].clear()

    assert command("run") == ExitCode.NOTHING_DONE
    assert "deployment.json is not there: deploy the project first" in capsys.readouterr().err


def test_aws_is_quoted_when_it_refuses(aws: FakeAws, capsys: pytest.CaptureFixture[str]) -> None:
    """A launch that AWS refuses is explained and has started nothing."""
    aws.refusals.append({"reason": "RESOURCE:ENI"})

    assert command("run") == ExitCode.NOTHING_DONE
    assert "AWS says: RESOURCE:ENI" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ('{"level": "info", "message": "step build starts"}', "info     step build starts"),
        ('{"level": "error", "message": "[x] broke", "traceback": "Traceback"}', "[red]\\[x] broke\nTraceback[/]"),
        ("a bare line", "a bare line"),
        ("[1]", "[1]"),
    ],
)
def test_a_line_of_the_log_reads_as_a_line(message: str, line: str) -> None:
    """Time, level and text; what is no object of ours stays as it is."""
    assert runs.log_line(message, 0).endswith(line)
