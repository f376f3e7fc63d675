"""
The launcher of a project without Airflow: starts its scheduled runs, and goes on with those that lost their container.

Never two runs of one project at once: it looks for other containers before it starts one, and again after.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3

from run_guard.tasks import Family, Task, launch_environment, log

_KIND = "eventbridge"
_EXIT_CODE_FAILED = 1
"""The runner's word for: a model or a test failed. It would fail again."""
_STOPPED_ON_PURPOSE = "UserInitiated"


class LaunchRefusedError(RuntimeError):
    """ECS started no task. Lambda tries the same event again, and puts it into the dead-letter queue in the end."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What is started, and where, as the project's stack says it in `LAUNCH`."""

    cluster_arn: str
    task_definition_arn: str
    family: str
    container_name: str
    subnet_ids: list[str]
    security_group_ids: list[str]
    capacity: str
    # By which IAM knows whose task it is, {"key", "value"} each.
    task_tags: list[dict[str, str]]
    most_attempts: int


def handler(event: Mapping[str, Any], _context: object) -> None:
    """
    Start the run that a schedule says is due (`scheduled_at`), or go on with the one whose task has stopped (an event of ECS).

    Raises LaunchRefusedError with ECS's reason if it starts no task.
    """
    launcher = Launcher(Launch(**json.loads(os.environ["LAUNCH"])), ecs=boto3.client("ecs"))
    if "scheduled_at" in event:
        launcher.start(scheduled_at=datetime.fromisoformat(event["scheduled_at"]))
    else:
        launcher.resume(event["detail"])


class Launcher:
    """Starts the tasks of one project."""

    def __init__(self, launch: Launch, *, ecs: Any) -> None:  # noqa: ANN401 - boto3 makes its clients at run time
        self._launch = launch
        self._ecs = ecs
        self._family = Family(
            ecs, cluster_arn=launch.cluster_arn, family=launch.family, container_name=launch.container_name
        )

    def start(self, *, scheduled_at: datetime) -> None:
        """Start the first attempt of the run of this time; its id is made of the time, so that one time is one run."""
        run_id = f"scheduled-{scheduled_at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        launched_by = {"kind": _KIND, "scheduled_at": scheduled_at.isoformat()}
        self._run({"RUNNER_RUN_ID": run_id, "RUNNER_ATTEMPT": "1", "RUNNER_LAUNCHED_BY": json.dumps(launched_by)})

    def resume(self, stopped: Mapping[str, Any]) -> None:
        """
        Start the next attempt of the run of a task that has stopped, if it is one of this launcher's and worth it.

        It is not if the run is done, if models or tests failed, if a person or the guard stopped it, or after the last attempt.
        """
        environment = launch_environment(stopped, self._launch.container_name)
        if json.loads(environment.get("RUNNER_LAUNCHED_BY", "{}")).get("kind") != _KIND:
            return
        exit_codes = [
            container.get("exitCode")
            for container in stopped["containers"]
            if container["name"] == self._launch.container_name
        ]
        attempt = int(environment["RUNNER_ATTEMPT"])
        is_over = exit_codes[:1] in ([0], [_EXIT_CODE_FAILED]) or stopped.get("stopCode") == _STOPPED_ON_PURPOSE
        if is_over or attempt >= self._launch.most_attempts:
            log("the run is not continued", run_id=environment["RUNNER_RUN_ID"], attempt=attempt, exit_codes=exit_codes)
            return
        self._run({**environment, "RUNNER_ATTEMPT": str(attempt + 1)})

    def _run(self, environment: Mapping[str, str]) -> None:
        run = {"run_id": environment["RUNNER_RUN_ID"], "attempt": environment["RUNNER_ATTEMPT"]}
        others = [task for task in self._family.live() if not _is_attempt(task.environment, run)]
        if others:
            log("another run is at work, none is started", others=[task.arn for task in others], **run)
            return
        token = hashlib.sha256(json.dumps(run).encode()).hexdigest()[:36]
        launch = self._launch
        where: dict[str, Any] = (
            {"launchType": "FARGATE"}
            if launch.capacity == "fargate"
            else {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]}
        )
        answer = self._ecs.run_task(
            cluster=launch.cluster_arn,
            taskDefinition=launch.task_definition_arn,
            count=1,
            # The same event twice is the same task.
            clientToken=token,
            startedBy=token,
            tags=launch.task_tags,
            networkConfiguration={
                "awsvpcConfiguration": {
                    "subnets": launch.subnet_ids,
                    "securityGroups": launch.security_group_ids,
                    "assignPublicIp": "DISABLED",
                }
            },
            overrides={
                "containerOverrides": [
                    {
                        "name": launch.container_name,
                        "environment": [{"name": name, "value": value} for name, value in sorted(environment.items())],
                    }
                ]
            },
            **where,
        )
        if not answer["tasks"]:
            raise LaunchRefusedError(f"ECS started no task: {answer.get('failures')}")
        mine = self._family.task(answer["tasks"][0])
        log("started", task_arn=mine.arn, **run)
        self._yield_to_older(mine)

    def _yield_to_older(self, mine: Task) -> None:
        """Of two that were started at the same moment, by whomever, the younger goes before its container is there."""
        older = [
            task
            for task in self._family.live()
            if not task.is_being_stopped and (task.created_at, task.arn) < (mine.created_at, mine.arn)
        ]
        if older:
            log("an older container is at work, this one yields", task_arn=mine.arn, older=[task.arn for task in older])
            self._family.stop(mine, reason="another container of this project is at work")


def _is_attempt(environment: Mapping[str, str], run: Mapping[str, str]) -> bool:
    return (environment.get("RUNNER_RUN_ID"), environment.get("RUNNER_ATTEMPT")) == (run["run_id"], run["attempt"])
