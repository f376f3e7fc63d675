"""What the guard sees, says and stops."""

import json
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest

from run_guard import guard
from run_guard.guard import NAMESPACE, Guard
from run_guard.tasks import TRIALS_STARTED_BY
from runner import metrics
from tests.unit.functions.ecs_in_memory import CLUSTER, NOW, EcsInMemory, task_of

_PROJECT = {
    "environment": "dev",
    "project": "shop",
    "cluster_arn": CLUSTER,
    "family": "dev-dbt-shop",
    "container_name": "dbt",
    "deadline_seconds": 3600,
    "stop_timeout_seconds": 120,
}
_HOUR = timedelta(hours=1)
_TRIAL = f"{TRIALS_STARTED_BY}0123"


class CloudWatchInMemory:
    """Knows how long the longest run of each of the last days was."""

    def __init__(self, *seconds: float) -> None:
        self._seconds = seconds

    def get_metric_statistics(self, **question: Any) -> dict[str, Any]:  # noqa: ANN401 - CloudWatch's own parameters
        """The daily maxima of the project's own metric."""
        assert (question["Namespace"], question["MetricName"]) == (metrics.NAMESPACE, "RunDurationSeconds")
        assert question["Dimensions"] == [
            {"Name": "environment", "Value": "dev"},
            {"Name": "project", "Value": "shop"},
        ]
        return {"Datapoints": [{"Maximum": seconds} for seconds in self._seconds]}


def _guard(ecs: EcsInMemory, *usual_seconds: float) -> Guard:
    return Guard(_PROJECT, ecs=ecs, cloudwatch=CloudWatchInMemory(*usual_seconds))


def _counted(capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    """The metrics in what was logged, read as CloudWatch reads them."""
    found: dict[str, int] = {}
    for line in map(json.loads, capsys.readouterr().out.splitlines()):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            assert directive["Namespace"] == NAMESPACE
            assert [line[name] for name in directive["Dimensions"][0]] == ["dev", "shop"]
            found |= {metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]}
    return found


def test_runner_and_guard_write_into_one_namespace() -> None:
    """The alarms of a project read both."""
    assert metrics.NAMESPACE == NAMESPACE


def test_healthy_container_is_left_alone_and_costs_no_metric(capsys: pytest.CaptureFixture[str]) -> None:
    """A metric is paid for in each hour in which it is written."""
    ecs = EcsInMemory(task_of("a", created_at=NOW - _HOUR, started_at=NOW - _HOUR))

    _guard(ecs, 3000, 3000, 3000).check_containers(now=NOW)

    assert (ecs.stopped, _counted(capsys)) == ({}, {})


@pytest.mark.parametrize(("seconds", "is_stopped"), [(3780, False), (3781, True)])
def test_container_is_stopped_once_it_cannot_end_itself_any_more(
    seconds: int, is_stopped: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Deadline, stop timeout and a minute of grace; only of its own family."""
    began = NOW - timedelta(seconds=seconds)
    ecs = EcsInMemory(
        task_of("ours", created_at=began, started_at=began),
        task_of("theirs", created_at=NOW - 9 * _HOUR, started_at=NOW - 9 * _HOUR, family="dev-dbt-other"),
    )

    _guard(ecs).check_containers(now=NOW)

    assert (list(ecs.stopped), _counted(capsys)) == (
        (["ours"], {"ContainersPastDeadline": 1}) if is_stopped else ([], {})
    )


def test_every_container_past_its_deadline_is_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    """One by a schedule and one by hand, which may be at work at the same time."""
    began = NOW - 2 * _HOUR
    by_hand = task_of("by hand", created_at=began, started_at=began, launched_by=None)
    ecs = EcsInMemory(task_of("scheduled", created_at=began, started_at=began), by_hand)

    _guard(ecs).check_containers(now=NOW)

    assert set(ecs.stopped) == {"scheduled", "by hand"}
    assert _counted(capsys)["ContainersPastDeadline"] == 2


def test_container_that_is_being_stopped_is_counted_and_not_stopped_again(capsys: pytest.CaptureFixture[str]) -> None:
    """The alarm goes on until the container is gone."""
    ecs = EcsInMemory(
        task_of(
            "a", created_at=NOW - 2 * _HOUR, started_at=NOW - 2 * _HOUR, desired_status="STOPPED", status="STOPPING"
        )
    )

    _guard(ecs).check_containers(now=NOW)

    assert (ecs.stopped, _counted(capsys)) == ({}, {"ContainersPastDeadline": 1})


@pytest.mark.parametrize(
    ("usual_seconds", "age_seconds", "is_counted"),
    [
        ((600, 600, 5000), 1201, True),
        ((600, 600, 5000), 1200, False),
        ((10, 10, 10), 69, False),
        ((10, 10, 10), 71, True),
        ((10, 10), 3000, False),
    ],
    ids=["twice", "not twice", "a short run may take a minute more", "more than a minute", "nothing is usual yet"],
)
def test_run_longer_than_usual_is_counted(
    usual_seconds: tuple[float, ...], age_seconds: int, is_counted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice the median of the days' longest runs, and a minute more than it; nothing before three days are known."""
    began = NOW - timedelta(seconds=age_seconds)
    ecs = EcsInMemory(task_of("a", created_at=began, started_at=began))

    _guard(ecs, *usual_seconds).check_containers(now=NOW)

    assert _counted(capsys) == ({"ContainersLongerThanUsual": 1} if is_counted else {})
    assert ecs.stopped == {}


@pytest.mark.parametrize(
    ("older", "younger", "orphans"),
    [
        ({}, {}, 1),
        ({}, {"desired_status": "STOPPED"}, 0),
        ({"launched_by": None}, {"desired_status": "STOPPED"}, 1),
        ({}, {"launched_by": None}, 1),
        ({"status": "STOPPED", "desired_status": "STOPPED"}, {}, 0),
    ],
    ids=["two at once", "one is going", "nobody launched it", "one of two is nobody's", "one is gone"],
)
def test_container_that_nobody_waits_for_is_counted(
    older: dict[str, Any], younger: dict[str, Any], orphans: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that no launcher waits for, and the older of two; it is told and not stopped, since it may be a person's."""
    ecs = EcsInMemory(
        task_of("a", created_at=NOW - _HOUR, started_at=NOW - _HOUR, **older),
        task_of("b", created_at=NOW - timedelta(minutes=1), started_at=None, **younger),
    )

    _guard(ecs).check_containers(now=NOW)

    assert _counted(capsys) == ({"OrphanContainers": orphans} if orphans else {})
    assert ecs.stopped == {}


@pytest.mark.parametrize(
    ("task", "is_missing"),
    [
        ({"created_at": NOW}, False),
        ({"created_at": NOW, "started_at": NOW, "status": "STOPPED", "desired_status": "STOPPED"}, False),
        ({"created_at": NOW, "status": "STOPPED", "desired_status": "STOPPED"}, True),
        ({"created_at": NOW - _HOUR, "started_at": NOW - _HOUR}, True),
        ({"created_at": NOW, "family": "dev-dbt-other"}, True),
    ],
    ids=["about to run", "already over", "stopped before it ran", "still the run before", "another project's"],
)
def test_run_that_was_due_and_did_not_start_is_counted(
    task: dict[str, Any], is_missing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run happened if its container ran, or is about to, since its time."""
    ecs = EcsInMemory(task_of("a", **{"started_at": None, **task}))

    _guard(ecs).check_start(scheduled_at=NOW - timedelta(minutes=1))

    assert _counted(capsys) == ({"RunsNotStarted": 1} if is_missing else {})


def test_trial_of_a_pull_request_is_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    """It runs beside a run, as long as it likes and whoever started it; a run that was due is missing all the same."""
    ecs = EcsInMemory(
        task_of("run", created_at=NOW - _HOUR, started_at=NOW - _HOUR),
        task_of("trial", created_at=NOW, started_at=NOW - _HOUR, launched_by=None, started_by=_TRIAL),
    )

    _guard(ecs, 3600, 3600, 3600).check_containers(now=NOW)
    assert (ecs.stopped, _counted(capsys)) == ({}, {})
    _guard(ecs).check_start(scheduled_at=NOW - timedelta(minutes=1))
    assert _counted(capsys) == {"RunsNotStarted": 1}


def test_trial_that_hangs_is_stopped_and_rings_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """CI tells who pushed; nobody is woken up."""
    ecs = EcsInMemory(task_of("trial", created_at=NOW - 2 * _HOUR, started_at=NOW - 2 * _HOUR, started_by=_TRIAL))

    _guard(ecs, 60, 60, 60).check_containers(now=NOW)
    assert (list(ecs.stopped), _counted(capsys)) == (["trial"], {})


def test_checks_come_by_schedule_and_by_queue(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A schedule's input is one check, a message of the queue has one in its body; another one is refused."""
    began = datetime.now(NOW.tzinfo) - 2 * _HOUR
    clients = {
        "ecs": EcsInMemory(task_of("a", created_at=began, started_at=began)),
        "cloudwatch": CloudWatchInMemory(),
    }
    monkeypatch.setattr(boto3, "client", clients.__getitem__)

    guard.handler({"check": "containers", "project": _PROJECT}, None)
    assert _counted(capsys) == {"ContainersPastDeadline": 1}
    due = {"check": "start", "project": _PROJECT, "scheduled_at": datetime.now(NOW.tzinfo).isoformat()}
    guard.handler({"Records": [{"body": json.dumps(due)}]}, None)
    assert _counted(capsys) == {"RunsNotStarted": 1}
    with pytest.raises(ValueError, match="'containers' or 'start', got 'else'"):
        guard.handler({"check": "else", "project": _PROJECT}, None)
