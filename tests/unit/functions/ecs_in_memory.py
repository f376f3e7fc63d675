"""An ECS that is a list of tasks, for the functions that watch and start them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

CLUSTER = "arn:aws:ecs:eu-central-1:111111111111:cluster/shared"
NOW = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
BY_AIRFLOW = json.dumps({"kind": "airflow"})


class EcsInMemory:
    """What the functions call of boto3's ECS client; tasks of other families are there to be left alone."""

    def __init__(self, *tasks: dict[str, Any], refuses: bool = False) -> None:
        self.tasks = list(tasks)
        self.stopped: dict[str, str] = {}
        self.requests: list[dict[str, Any]] = []
        self._refuses = refuses

    def get_paginator(self, name: str) -> "EcsInMemory":
        """The paginator of ListTasks."""
        assert name == "list_tasks"
        return self

    def paginate(self, *, cluster: str, family: str, desiredStatus: str) -> Iterator[dict[str, Any]]:  # noqa: N803 - ECS's word
        """Two pages, as there may be more."""
        assert cluster == CLUSTER
        arns = [
            task["taskArn"]
            for task in self.tasks
            if task["group"] == f"family:{family}" and task["desiredStatus"] == desiredStatus
        ]
        yield {"taskArns": arns[:1]}
        yield {"taskArns": arns[1:]}

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> dict[str, Any]:
        """The tasks of these ARNs."""
        assert cluster == CLUSTER
        return {"tasks": [task for task in self.tasks if task["taskArn"] in tasks]}

    def stop_task(self, *, cluster: str, task: str, reason: str) -> None:
        """Remember who was stopped and why."""
        assert cluster == CLUSTER
        self.stopped[task] = reason

    def run_task(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - ECS's own parameters
        """Make a task, unless this token has made one, or this ECS refuses."""
        self.requests.append(request)
        if self._refuses:
            return {"tasks": [], "failures": [{"reason": "Capacity is unavailable at this time"}]}
        known = [task for task in self.tasks if task.get("startedBy") == request["startedBy"]]
        if not known:
            known = [task_of(request["clientToken"], created_at=NOW, started_at=None, overrides=request["overrides"])]
            known[0]["startedBy"] = request["startedBy"]
            self.tasks += known
        return {"tasks": known, "failures": []}


def task_of(
    name: str,
    *,
    created_at: datetime,
    started_at: datetime | None,
    status: str = "RUNNING",
    desired_status: str = "RUNNING",
    family: str = "dev-dbt-shop",
    launched_by: str | None = BY_AIRFLOW,
    run_id: str = "run",
    attempt: str = "1",
    overrides: dict[str, Any] | None = None,
    started_by: str = "",
) -> dict[str, Any]:
    """A task as DescribeTasks tells it."""
    environment = {"RUNNER_RUN_ID": run_id, "RUNNER_ATTEMPT": attempt}
    if launched_by is not None:
        environment["RUNNER_LAUNCHED_BY"] = launched_by
    listed = [{"name": key, "value": value} for key, value in environment.items()]
    return {
        "taskArn": name,
        "group": f"family:{family}",
        "createdAt": created_at,
        **({"startedAt": started_at} if started_at else {}),
        "lastStatus": status,
        "desiredStatus": desired_status,
        **({"startedBy": started_by} if started_by else {}),
        "containers": [{"name": "guardduty"}, {"name": "dbt"}],
        "overrides": overrides
        or {"containerOverrides": [{"name": "guardduty"}, {"name": "dbt", "environment": listed}]},
    }
