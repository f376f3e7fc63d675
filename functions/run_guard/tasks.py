"""The ECS tasks of one project, as the functions see them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_DESCRIBE_AT_MOST = 100
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html"""

TRIALS_STARTED_BY = "slim-ci-"
"""What `startedBy` of a pull request's trial begins with, as tools/slim_ci.py starts it."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of a project's family."""

    arn: str
    created_at: datetime
    started_at: datetime | None
    """When its container began to run; None before."""
    last_status: str
    is_being_stopped: bool
    is_trial: bool
    """Whether it tries a pull request, in schemas of its own: it is no run of the project's."""
    environment: Mapping[str, str]
    """What the launch added to the environment of the dbt container."""

    @property
    def is_live(self) -> bool:
        """Whether it runs, or is about to."""
        return self.last_status != "STOPPED"

    @property
    def never_started(self) -> bool:
        """Whether it was stopped before its container ran."""
        return self.is_being_stopped and self.started_at is None

    @property
    def has_launcher(self) -> bool:
        """Whether what launched it said so, as Airflow's DAG and the launcher do: then somebody waits for it."""
        return bool(self.environment.get("RUNNER_LAUNCHED_BY"))

    def age_seconds(self, now: datetime) -> float:
        """How long its container has been running; 0 before it is."""
        return 0.0 if self.started_at is None else (now - self.started_at).total_seconds()


class Family:
    """The tasks of one task definition family on one cluster."""

    def __init__(self, ecs: Any, *, cluster_arn: str, family: str, container_name: str) -> None:  # noqa: ANN401 - boto3 makes its clients at run time
        self._ecs = ecs
        self.cluster_arn = cluster_arn
        self.family = family
        self.container_name = container_name

    def live(self) -> list[Task]:
        """Runs that are at work or about to be, the oldest first, also while they are being stopped."""
        return [task for task in self.live_with_trials() if not task.is_trial]

    def live_with_trials(self) -> list[Task]:
        """As `live`, and trials of pull requests among them."""
        return [task for task in self._all("RUNNING", "STOPPED") if task.is_live]

    def remembered(self) -> list[Task]:
        """Runs that ECS knows of, the oldest first: all that live, and those that stopped within the last hour."""
        return [task for task in self._all("RUNNING", "STOPPED") if not task.is_trial]

    def stop(self, task: Task, *, reason: str) -> None:
        """Tell a task to stop: SIGTERM now, SIGKILL after its stop timeout."""
        self._ecs.stop_task(cluster=self.cluster_arn, task=task.arn, reason=reason)

    def task(self, described: Mapping[str, Any]) -> Task:
        """What DescribeTasks or RunTask says of a task."""
        return Task(
            arn=described["taskArn"],
            created_at=described["createdAt"],
            started_at=described.get("startedAt"),
            last_status=described["lastStatus"],
            is_being_stopped=described.get("desiredStatus") == "STOPPED",
            is_trial=described.get("startedBy", "").startswith(TRIALS_STARTED_BY),
            environment=launch_environment(described, self.container_name),
        )

    def _all(self, *desired_statuses: str) -> list[Task]:
        arns = [
            arn
            for desired_status in desired_statuses
            for page in self._ecs.get_paginator("list_tasks").paginate(
                cluster=self.cluster_arn, family=self.family, desiredStatus=desired_status
            )
            for arn in page["taskArns"]
        ]
        wanted = list(dict.fromkeys(arns))
        tasks = [
            self.task(described)
            for start in range(0, len(wanted), _DESCRIBE_AT_MOST)
            for described in self._ecs.describe_tasks(
                cluster=self.cluster_arn, tasks=wanted[start : start + _DESCRIBE_AT_MOST]
            )["tasks"]
        ]
        return sorted(tasks, key=lambda task: (task.created_at, task.arn))


def launch_environment(task: Mapping[str, Any], container_name: str) -> dict[str, str]:
    """The environment that a launch gave to the container of this name, in the words of DescribeTasks and of ECS's events."""
    overrides = (task.get("overrides") or {}).get("containerOverrides") or []
    # The first container may be one that AWS injected, so ours is looked up by its name.
    ours: Mapping[str, Any] = next((found for found in overrides if found.get("name") == container_name), {})
    return {entry["name"]: entry["value"] for entry in ours.get("environment") or []}


def log(message: str, **fields: object) -> None:
    """Write one line of JSON to the function's log."""
    print(json.dumps({"message": message, **fields}, default=str))
