"""
The guard: looks at the containers of a project every few minutes and after every time at which a run was due.

It says what it finds as CloudWatch metrics, in its log in the embedded metric format, of which the project's alarms are made.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import boto3

from run_guard.tasks import Family, Task, log

NAMESPACE = "DbtOnFargate"
_SECONDS_OF_GRACE = 60
"""Between the last moment of a container that ends itself and the guard's stop."""
_DAYS_OF_USUAL = 14
_LEAST_DAYS_OF_USUAL = 3
_USUAL_FACTOR = 2
_LEAST_SECONDS_LONGER = 60


def handler(event: Mapping[str, Any], _context: object) -> None:
    """
    Do the checks that `event` asks for: one check, or the messages of the queue of due runs.

    A check is {"check": "containers" or "start", "project": {…}}, for "start" with "scheduled_at". Raises ValueError for
    another one.
    """
    checks = [json.loads(record["body"]) for record in event["Records"]] if "Records" in event else [event]
    for check in checks:
        guard = Guard(check["project"], ecs=boto3.client("ecs"), cloudwatch=boto3.client("cloudwatch"))
        if check["check"] == "containers":
            guard.check_containers(now=datetime.now(UTC))
        elif check["check"] == "start":
            guard.check_start(scheduled_at=datetime.fromisoformat(check["scheduled_at"]))
        else:
            raise ValueError(f"a check must be 'containers' or 'start', got {check['check']!r}")


class Guard:
    """The guard of one project, which `project` describes as its stack wrote it into the schedules."""

    def __init__(self, project: Mapping[str, Any], *, ecs: Any, cloudwatch: Any) -> None:  # noqa: ANN401 - boto3 makes its clients at run time
        self._dimensions = {"environment": project["environment"], "project": project["project"]}
        self._longest_seconds = project["deadline_seconds"] + project["stop_timeout_seconds"] + _SECONDS_OF_GRACE
        self._cloudwatch = cloudwatch
        self._family = Family(
            ecs,
            cluster_arn=project["cluster_arn"],
            family=project["family"],
            container_name=project["container_name"],
        )

    def check_containers(self, *, now: datetime) -> None:
        """
        Stop what has outlived its deadline, and count it, what takes longer than usual, and what nobody waits for.

        A trial of a pull request is stopped as a run is, and counts for nothing: CI hears of it.
        """
        everything = self._family.live_with_trials()
        overdue = [task for task in everything if task.age_seconds(now) > self._longest_seconds]
        for task in overdue:
            if not task.is_being_stopped:
                log("container outlived its deadline and is stopped", task_arn=task.arn, age=task.age_seconds(now))
                self._family.stop(task, reason=f"the guard: older than {self._longest_seconds} s, its deadline is over")
        live = [task for task in everything if not task.is_trial]
        slow = self._longer_than_usual(live, now)
        orphans = _orphans(live)
        for task in orphans:
            log("nobody waits for this container", task_arn=task.arn, has_launcher=task.has_launcher)
        self._count("ContainersPastDeadline", sum(not task.is_trial for task in overdue))
        self._count("ContainersLongerThanUsual", len(slow))
        self._count("OrphanContainers", len(orphans))

    def check_start(self, *, scheduled_at: datetime) -> None:
        """
        Count a run as not started if no container was started since `scheduled_at`, nor is about to; trials are no runs.

        ECS forgets a task an hour after its end, so this must be asked within that hour.
        """
        tasks = self._family.remembered()
        if any(task.created_at >= scheduled_at and not task.never_started for task in tasks):
            return
        at_work = [task.arn for task in tasks if task.is_live]
        log("no container was started", scheduled_at=scheduled_at, at_work_since_before=at_work)
        self._count("RunsNotStarted", 1)

    def _longer_than_usual(self, live: list[Task], now: datetime) -> list[Task]:
        if not live or (usual := self._usual_seconds(now)) is None:
            return []
        limit = max(_USUAL_FACTOR * usual, usual + _LEAST_SECONDS_LONGER)
        slow = [task for task in live if task.age_seconds(now) > limit]
        for task in slow:
            log("run takes longer than usual", task_arn=task.arn, age=task.age_seconds(now), usual=usual)
        return slow

    def _usual_seconds(self, now: datetime) -> float | None:
        """The median of the longest run of each day, None while there are too few days to call anything usual."""
        answer = self._cloudwatch.get_metric_statistics(
            Namespace=NAMESPACE,
            MetricName="RunDurationSeconds",
            Dimensions=[{"Name": name, "Value": value} for name, value in self._dimensions.items()],
            StartTime=now - timedelta(days=_DAYS_OF_USUAL),
            EndTime=now,
            Period=int(timedelta(days=1).total_seconds()),
            Statistics=["Maximum"],
        )
        days = [point["Maximum"] for point in answer["Datapoints"]]
        return median(days) if len(days) >= _LEAST_DAYS_OF_USUAL else None

    def _count(self, metric: str, count: int) -> None:
        """Write a metric; none for nothing, since a metric is paid for in every hour in which it is written."""
        if not count:
            return
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": [list(self._dimensions)],
            "Metrics": [{"Name": metric, "Unit": "Count"}],
        }
        header = {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}}
        print(json.dumps({**header, **self._dimensions, metric: count}))


def _orphans(live: list[Task]) -> list[Task]:
    """Those that no launcher waits for, and of several at once all but the youngest."""
    staying = [task for task in live if not task.is_being_stopped]
    awaited = [task for task in staying if task.has_launcher]
    return [task for task in staying if task not in awaited[-1:]]
