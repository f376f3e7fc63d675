"""How runs start and go on without Airflow."""

import dataclasses
import json
from datetime import timedelta
from typing import Any

import boto3
import pytest

from run_guard import launcher
from run_guard.launcher import Launch, Launcher, LaunchRefusedError
from run_guard.tasks import TRIALS_STARTED_BY
from tests.unit.functions.ecs_in_memory import CLUSTER, NOW, EcsInMemory, task_of

_LAUNCH = Launch(
    cluster_arn=CLUSTER,
    task_definition_arn="arn:aws:ecs:eu-central-1:111111111111:task-definition/dev-dbt-shop:7",
    family="dev-dbt-shop",
    container_name="dbt",
    subnet_ids=["subnet-1"],
    security_group_ids=["sg-1"],
    capacity="fargate_spot",
    task_tags=[{"key": "dbt-task-family", "value": "dev-dbt-shop"}],
    most_attempts=3,
)
_EARLIER = NOW - timedelta(hours=1)
_BY_SCHEDULE = json.dumps({"kind": "eventbridge"})


def _environment(request: dict[str, Any]) -> dict[str, str]:
    (override,) = request["overrides"]["containerOverrides"]
    assert override["name"] == "dbt"
    return {entry["name"]: entry["value"] for entry in override["environment"]}


def _stopped(exit_code: int | None, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - parts of an event of ECS
    """The detail of ECS's event about a stopped task of the launcher's."""
    task = task_of(
        "a",
        created_at=_EARLIER,
        started_at=_EARLIER,
        status="STOPPED",
        desired_status="STOPPED",
        launched_by=_BY_SCHEDULE,
    )
    ended = {} if exit_code is None else {"exitCode": exit_code}
    return {**task, "containers": [{"name": "guardduty", "exitCode": 0}, {"name": "dbt", **ended}], **changes}


def test_time_is_a_run_and_starts_one_task() -> None:
    """The same event twice is the same run id, attempt and token, which is one task for ECS."""
    ecs = EcsInMemory()
    for _ in range(2):
        Launcher(_LAUNCH, ecs=ecs).start(scheduled_at=NOW)

    assert [_environment(request)["RUNNER_RUN_ID"] for request in ecs.requests] == ["scheduled-20261120T060000Z"] * 2
    assert _environment(ecs.requests[0])["RUNNER_ATTEMPT"] == "1"
    assert len({request["clientToken"] for request in ecs.requests}) == len(ecs.tasks) == 1
    assert ecs.stopped == {}


@pytest.mark.parametrize(
    ("capacity", "where"),
    [
        ("fargate", {"launchType": "FARGATE"}),
        ("fargate_spot", {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]}),
    ],
)
def test_task_runs_where_the_settings_say(capacity: str, where: dict[str, object]) -> None:
    """The deployed revision, the project's subnets and group, no public address, its kind of capacity."""
    ecs = EcsInMemory()

    Launcher(dataclasses.replace(_LAUNCH, capacity=capacity), ecs=ecs).start(scheduled_at=NOW)

    (request,) = ecs.requests
    assert request["taskDefinition"] == _LAUNCH.task_definition_arn
    assert request["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": ["subnet-1"],
        "securityGroups": ["sg-1"],
        "assignPublicIp": "DISABLED",
    }
    assert request["tags"] == [{"key": "dbt-task-family", "value": "dev-dbt-shop"}]
    assert where.items() <= request.items()


def test_no_run_starts_while_another_is_at_work() -> None:
    """Whoever started the other one."""
    ecs = EcsInMemory(task_of("by hand", created_at=_EARLIER, started_at=_EARLIER, launched_by=None))

    Launcher(_LAUNCH, ecs=ecs).start(scheduled_at=NOW)

    assert ecs.requests == []


def test_trial_of_a_pull_request_holds_no_run_up() -> None:
    """It builds in schemas of its own; a run starts beside it and does not yield to it."""
    trial = task_of("trial", created_at=_EARLIER, started_at=_EARLIER, started_by=f"{TRIALS_STARTED_BY}0123")
    ecs = EcsInMemory(trial)
    Launcher(_LAUNCH, ecs=ecs).start(scheduled_at=NOW)

    assert (len(ecs.requests), ecs.stopped) == (1, {})


def test_of_two_that_start_at_once_the_younger_yields() -> None:
    """What another launched between the look and the launch is older, so ours goes before its container is there."""

    class BusyEcs(EcsInMemory):
        def run_task(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - ECS's own parameters
            self.tasks.append(task_of("other", created_at=NOW - timedelta(seconds=1), started_at=None, run_id="other"))
            return super().run_task(**request)

    ecs = BusyEcs()

    Launcher(_LAUNCH, ecs=ecs).start(scheduled_at=NOW)

    assert list(ecs.stopped) == [ecs.requests[0]["clientToken"]]


def test_refused_start_is_an_error() -> None:
    """Lambda then tries again, and in the end the event is in the dead-letter queue, which has an alarm."""
    with pytest.raises(LaunchRefusedError, match="Capacity is unavailable"):
        Launcher(_LAUNCH, ecs=EcsInMemory(refuses=True)).start(scheduled_at=NOW)


@pytest.mark.parametrize(
    "stopped",
    [
        _stopped(2, stopCode="SpotInterruption"),
        _stopped(137, stopCode="EssentialContainerExited"),
        _stopped(None, stopCode="TaskFailedToStart"),
    ],
    ids=["interrupted", "killed", "never started"],
)
def test_run_that_lost_its_container_goes_on(stopped: dict[str, Any]) -> None:
    """The next attempt of the same run, with the same specification; the runner repeats only what is not done."""
    stopped["overrides"]["containerOverrides"][1]["environment"].append({"name": "RUNNER_SPEC", "value": "{}"})
    ecs = EcsInMemory()

    Launcher(_LAUNCH, ecs=ecs).resume(stopped)

    (request,) = ecs.requests
    assert _environment(request) == {
        "RUNNER_RUN_ID": "run",
        "RUNNER_ATTEMPT": "2",
        "RUNNER_LAUNCHED_BY": _BY_SCHEDULE,
        "RUNNER_SPEC": "{}",
    }


@pytest.mark.parametrize(
    "stopped",
    [
        _stopped(0, stopCode="EssentialContainerExited"),
        _stopped(1, stopCode="EssentialContainerExited"),
        _stopped(2, stopCode="UserInitiated"),
        _stopped(
            2,
            overrides=task_of("a", created_at=NOW, started_at=NOW, launched_by=_BY_SCHEDULE, attempt="3")["overrides"],
        ),
        _stopped(2, overrides=task_of("a", created_at=NOW, started_at=NOW)["overrides"]),
        _stopped(2, overrides=task_of("a", created_at=NOW, started_at=NOW, launched_by=None)["overrides"]),
    ],
    ids=["done", "models failed", "stopped by a person or the guard", "third attempt", "Airflow's", "started by hand"],
)
def test_run_that_is_over_or_not_ours_is_left(stopped: dict[str, Any]) -> None:
    """What failed would fail again, what a person stopped stays stopped, and Airflow goes on with its own."""
    ecs = EcsInMemory()

    Launcher(_LAUNCH, ecs=ecs).resume(stopped)

    assert ecs.requests == []


def test_events_of_scheduler_and_of_ecs_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """One starts a run, the other goes on with one; what is started stands in the function's environment."""
    ecs = EcsInMemory()
    monkeypatch.setattr(boto3, "client", {"ecs": ecs}.__getitem__)
    monkeypatch.setenv("LAUNCH", json.dumps(dataclasses.asdict(_LAUNCH)))

    launcher.handler({"scheduled_at": "2026-11-20T06:00:00Z"}, None)
    ecs.tasks.clear()
    launcher.handler({"detail-type": "ECS Task State Change", "detail": _stopped(2)}, None)

    assert [_environment(request)["RUNNER_ATTEMPT"] for request in ecs.requests] == ["1", "2"]
