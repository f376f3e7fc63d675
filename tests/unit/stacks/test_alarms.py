"""The alarms, the guard and the schedules of a project, as its stack defines them."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from constructs_lib import run_alerts
from constructs_lib.repository import REPOSITORY
from dbt_on_fargate import containers
from run_guard import tasks
from stacks.platform import DbtPlatform
from stacks.settings import Environment
from tests.unit.rights import statements_of
from tests.unit.stacks.settings_of_a_stranger import environment, project

_RUNBOOK = "https://example.com/runbook"


def _without_airflow(path: Path, **changes: object) -> Environment:
    without = project(path, scheduler="eventbridge", schedule="0 5 * * 1-5", time_zone="Europe/Berlin", **changes)
    return environment(path, airflow=None, runbook_url=_RUNBOOK, projects=(without,))


@pytest.fixture
def platform(app: cdk.App, tiny_project: Path) -> DbtPlatform:
    """An environment without Airflow and its project."""
    return DbtPlatform(app, settings=_without_airflow(tiny_project))


@pytest.fixture
def template(platform: DbtPlatform) -> Template:
    """The template of the project without Airflow."""
    return Template.from_stack(platform.project_stacks["tiny"])


def _properties(template: Template, resource_type: str) -> list[dict[str, Any]]:
    return [resource["Properties"] for resource in template.find_resources(resource_type).values()]


def _joined(value: Any) -> str:  # noqa: ANN401 - any value of a template
    """A text of a template with the names of what is known only later in angle brackets."""
    match value:
        case str():
            return value
        case {"Fn::Join": ["", [*parts]]}:
            return "".join(map(_joined, parts))
        case (
            {"Fn::GetStackOutput": {"OutputName": str(name)}} | {"Ref": str(name)} | {"Fn::GetAtt": [str(name), "Arn"]}
        ):
            return f"<{name}>"
    raise ValueError(f"not a text: {value!r}")


def _texts(platform: DbtPlatform) -> list[str]:
    """What all alarms and alerts of an environment say."""
    found = []
    for stack in (platform.environment_stack, *platform.project_stacks.values()):
        template = Template.from_stack(stack)
        found += [alarm["AlarmDescription"] for alarm in _properties(template, "AWS::CloudWatch::Alarm")]
        found += [
            _joined(target["InputTransformer"]["InputTemplate"]).strip('"')
            for rule in _properties(template, "AWS::Events::Rule")
            for target in rule["Targets"]
            if "InputTransformer" in target
        ]
    return found


def _sections(runbook: str) -> set[str]:
    """The anchors that a reader's browser knows, as GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.*)$", runbook, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_alarm_says_what_to_do(platform: DbtPlatform) -> None:
    """Its text ends with a link to a section that the runbook has, at the address that the settings give."""
    texts = _texts(platform)
    sections = _sections((REPOSITORY / "docs" / "runbook.md").read_text())

    assert len(texts) == 12
    for text in texts:
        _, _, link = text.rpartition(" What to do: ")
        address, _, section = link.partition("#")
        assert (address, section in sections) == (_RUNBOOK, True), text
        assert len(text) <= 1024


def test_every_alarm_reaches_the_alert_topic(platform: DbtPlatform) -> None:
    """An alarm without an action is one that nobody hears."""
    for stack in (platform.environment_stack, *platform.project_stacks.values()):
        for alarm in _properties(Template.from_stack(stack), "AWS::CloudWatch::Alarm"):
            assert len(alarm["AlarmActions"]) == 1


def test_event_that_cannot_be_delivered_is_kept_and_told(platform: DbtPlatform) -> None:
    """Each rule, the one that goes on with a run too, has the queue whose alarm tells, and the queue takes from rules of this environment's stacks alone."""
    environment_stack = Template.from_stack(platform.environment_stack)
    (queue_policy,) = [
        statement
        for policy in _properties(environment_stack, "AWS::SQS::QueuePolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"}
    ]
    queue = queue_policy["Resource"]["Fn::GetAtt"][0]
    (sources,) = queue_policy["Condition"]["ArnLike"].values()
    (told,) = [
        alarm
        for alarm in _properties(environment_stack, "AWS::CloudWatch::Alarm")
        if {"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}} in alarm.get("Dimensions", [])
    ]
    names = [stack.stack_name for stack in (platform.environment_stack, *platform.project_stacks.values())]

    assert told["MetricName"] == "ApproximateNumberOfMessagesVisible"
    assert (queue_policy["Effect"], queue_policy["Action"]) == ("Allow", "sqs:SendMessage")
    beginning, _, rest = _joined(sources).rpartition("*")
    assert rest == ""
    assert all(f"{name}-Rule".startswith(beginning.rpartition("/")[2]) for name in names)
    kept_in = {
        _joined(target["DeadLetterConfig"]["Arn"]).rpartition(":")[2]
        for stack in (platform.environment_stack, *platform.project_stacks.values())
        for rule in _properties(Template.from_stack(stack), "AWS::Events::Rule")
        for target in rule["Targets"]
    }
    assert kept_in == {f"<{queue}>", "<DeadLettersQueueName>"}


def test_trials_of_pull_requests_ring_nothing(template: Template) -> None:
    """Each rule about tasks leaves out what begins as the launch names a trial, and takes a task that nobody named."""
    names = {containers.TRIALS_STARTED_BY, tasks.TRIALS_STARTED_BY, run_alerts.TRIALS_STARTED_BY}
    assert len(names) == 1
    token = containers.launch_token(dag_id="d", run_id="r", task_id="t", try_number=1, is_trial=True)
    assert (token.startswith(tuple(names)), len(token)) == (True, 36)
    about_tasks = [
        rule["EventPattern"]["detail"]
        for rule in _properties(template, "AWS::Events::Rule")
        if rule["EventPattern"]["source"] == ["aws.ecs"] and "Topic" in {target["Id"] for target in rule["Targets"]}
    ]

    assert len(about_tasks) == 3
    for detail in about_tasks:
        assert detail["$or"] == [
            {"startedBy": [{"exists": False}]},
            {"startedBy": [{"anything-but": {"prefix": next(iter(names))}}]},
        ]


def test_critical_finding_in_an_image_is_told(platform: DbtPlatform) -> None:
    """By ECR's own scan, which says a repository's name, or by Inspector's, which says its ARN; of this environment only."""
    template = Template.from_stack(platform.environment_stack)

    template.has_resource_properties(
        "AWS::Events::Rule",
        {
            "EventPattern": {
                "source": ["aws.ecr", "aws.inspector2"],
                "detail-type": ["ECR Image Scan", "Inspector2 Scan"],
                "detail": {
                    "repository-name": [
                        {"prefix": "try/dbt/"},
                        {"prefix": "arn:aws:ecr:eu-west-1:333333333333:repository/try/dbt/"},
                    ],
                    "finding-severity-counts": {"CRITICAL": [{"numeric": [">", 0]}]},
                },
            }
        },
    )


def test_rules_add_nothing_to_the_policy_of_the_alert_topic(platform: DbtPlatform) -> None:
    """One statement for alarms, one for EventBridge, and the one that asks for TLS, however many rules there are."""
    (policy,) = _properties(Template.from_stack(platform.environment_stack), "AWS::SNS::TopicPolicy")

    allowed = [statement for statement in policy["PolicyDocument"]["Statement"] if statement["Effect"] == "Allow"]
    assert [statement["Principal"]["Service"] for statement in allowed] == [
        "cloudwatch.amazonaws.com",
        "events.amazonaws.com",
    ]


def test_alarms_of_a_project_look_at_its_own_metrics(template: Template) -> None:
    """The names and dimensions are those that the runner and the guard write."""
    alarms = _properties(template, "AWS::CloudWatch::Alarm")

    assert {alarm["MetricName"] for alarm in alarms} == {
        "RunsNotStarted",
        "ContainersLongerThanUsual",
        "ContainersPastDeadline",
        "OrphanContainers",
        "SourceFreshnessBreaches",
    }
    for alarm in alarms:
        assert alarm["Namespace"] == "DbtOnFargate"
        assert alarm["Dimensions"] == [
            {"Name": "environment", "Value": "try"},
            {"Name": "project", "Value": "tiny"},
        ]
        assert alarm["TreatMissingData"] == "notBreaching"


def test_project_without_a_schedule_cannot_be_late(app: cdk.App, tiny_project: Path) -> None:
    """Runs by hand are due at no time; the guard looks at their containers all the same."""
    template = Template.from_stack(DbtPlatform(app, settings=environment(tiny_project)).project_stacks["tiny"])

    assert "RunsNotStarted" not in {alarm["MetricName"] for alarm in _properties(template, "AWS::CloudWatch::Alarm")}
    (schedule,) = _properties(template, "AWS::Scheduler::Schedule")
    assert schedule["ScheduleExpression"] == "rate(5 minutes)"


def test_schedules_keep_the_projects_time(template: Template) -> None:
    """In its time zone, without a window, with retries and a dead-letter queue, as one role."""
    schedules = _properties(template, "AWS::Scheduler::Schedule")

    assert {(schedule["Description"], schedule["ScheduleExpression"]) for schedule in schedules} == {
        ("Looks at the containers that run", "rate(5 minutes)"),
        ("Tells the guard that a run is due", "cron(0 5 ? * 2-6 *)"),
        ("Starts the run", "cron(0 5 ? * 2-6 *)"),
    }
    for schedule in schedules:
        target = schedule["Target"]
        assert (schedule["ScheduleExpressionTimezone"], schedule["FlexibleTimeWindow"]) == (
            "Europe/Berlin",
            {"Mode": "OFF"},
        )
        assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 900, "MaximumRetryAttempts": 10}
        assert _joined(target["DeadLetterConfig"]["Arn"]).endswith("<DeadLettersQueueName>")


def test_guard_is_told_what_the_runner_and_airflow_are_told(template: Template) -> None:
    """Deadline and stop timeout are those of the container, the family and cluster those that it runs in."""
    (looking,) = (
        schedule["Target"]
        for schedule in _properties(template, "AWS::Scheduler::Schedule")
        if schedule["ScheduleExpression"].startswith("rate")
    )

    assert json.loads(_joined(looking["Input"])) == {
        "check": "containers",
        "project": {
            "environment": "try",
            "project": "tiny",
            "cluster_arn": "arn:aws:ecs:eu-west-1:333333333333:cluster/<ClusterName>",
            "family": "try-dbt-tiny",
            "container_name": "dbt",
            "deadline_seconds": 7200,
            "stop_timeout_seconds": 120,
        },
    }


def test_launcher_may_start_its_own_family_only(template: Template) -> None:
    """On its cluster, with the task's two roles, and nothing beyond it."""
    allowed = {
        action: statement
        for statement in statements_of(template.to_json()["Resources"], "LauncherFunctionRole")
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }

    assert set(allowed) == {
        "ecs:DescribeTasks",
        "ecs:ListTasks",
        "ecs:RunTask",
        "ecs:StopTask",
        "ecs:TagResource",
        "iam:PassRole",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "sqs:SendMessage",
    }
    assert allowed["ecs:RunTask"]["Resource"] == "arn:aws:ecs:eu-west-1:333333333333:task-definition/try-dbt-tiny:*"
    for action, key in (("ecs:TagResource", "RequestTag"), ("ecs:StopTask", "ResourceTag")):
        assert allowed[action]["Condition"]["StringEquals"][f"aws:{key}/dbt-task-family"] == "try-dbt-tiny"
    assert allowed["ecs:TagResource"]["Condition"]["StringEquals"]["ecs:CreateAction"] == "RunTask"
    on_cluster = allowed["ecs:RunTask"]["Condition"]["ArnEquals"]["ecs:cluster"]
    assert _joined(on_cluster).endswith("cluster/<ClusterName>")
    passed = allowed["iam:PassRole"]["Resource"]
    assert sorted(resource["Fn::GetAtt"][0][:8] for resource in passed) == ["TaskExec", "TaskTask"]
    assert allowed["iam:PassRole"]["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


def test_launcher_hears_of_its_own_family_by_what_ecs_alone_says(template: Template) -> None:
    """Who starts a task chooses its group: by that, a stranger's task could be gone on with as this project's own."""
    (heard,) = [
        rule["EventPattern"]["detail"]
        for rule in _properties(template, "AWS::Events::Rule")
        if rule["Description"].endswith("goes on with a run that lost its container")
    ]

    assert heard["taskDefinitionArn"] == [
        {"prefix": "arn:aws:ecs:eu-west-1:333333333333:task-definition/try-dbt-tiny:"}
    ]
    assert set(heard) == {"clusterArn", "taskDefinitionArn", "lastStatus"}


def test_schedules_role_is_of_this_projects_schedules_only(template: Template) -> None:
    """A schedule of another project, or of another account, cannot act as it."""
    template.has_resource_properties(
        "AWS::IAM::Role",
        {
            "AssumeRolePolicyDocument": {
                "Statement": [
                    {
                        "Principal": {"Service": "scheduler.amazonaws.com"},
                        "Condition": {
                            "StringEquals": {
                                "aws:SourceAccount": "333333333333",
                                "aws:SourceArn": {"Fn::GetAtt": [Match.string_like_regexp("SchedulesGroup.*"), "Arn"]},
                            }
                        },
                    }
                ]
            }
        },
    )


def test_failed_start_is_kept(template: Template) -> None:
    """Lambda tries a start three times in all; what still fails is in the dead-letter queue, which has an alarm."""
    template.has_resource_properties(
        "AWS::Lambda::EventInvokeConfig",
        {"MaximumRetryAttempts": 2, "DestinationConfig": {"OnFailure": {"Destination": Match.any_value()}}},
    )


def test_due_run_may_start_within_the_time_that_is_set(app: cdk.App, tiny_project: Path) -> None:
    """The queue holds a due run back for as long, and forgets it before ECS forgets the container."""
    settings = environment(tiny_project, start_within=timedelta(minutes=7))

    template = Template.from_stack(DbtPlatform(app, settings=settings).environment_stack)

    template.has_resource_properties(
        "AWS::SQS::Queue", {"DelaySeconds": 420, "MessageRetentionPeriod": 2400, "SqsManagedSseEnabled": True}
    )


def test_dashboard_shows_alarms_alerts_and_metrics(template: Template) -> None:
    """One page: a line of all alarms, and every number that an operator asks for."""
    (dashboard,) = _properties(template, "AWS::CloudWatch::Dashboard")
    body = json.loads(_joined(dashboard["DashboardBody"]))
    text = json.dumps(body)

    (alarms,) = (widget["properties"]["alarms"] for widget in body["widgets"] if widget["type"] == "alarm")
    assert len(alarms) == 5
    assert dashboard["DashboardName"] == "try-dbt-tiny"
    for name in (
        "RunSucceeded",
        "RunDurationSeconds",
        "ModelsFailed",
        "SourceFreshnessBreaches",
        "PeakMemoryMib",
        "Attempt",
        "TriggeredRules",
    ):
        assert name in text
    places = [(widget["x"], widget["y"]) for widget in body["widgets"]]
    assert len(places) == len(set(places))


def test_project_may_go_without_a_dashboard(app: cdk.App, tiny_project: Path) -> None:
    """A page costs money every month."""
    settings = _without_airflow(tiny_project, has_dashboard=False)

    template = Template.from_stack(DbtPlatform(app, settings=settings).project_stacks["tiny"])

    template.resource_count_is("AWS::CloudWatch::Dashboard", 0)
