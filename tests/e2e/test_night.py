"""
Runs without Airflow, and every alarm: each is made to ring as the runbook says, in an environment that has no Airflow at all.

The tests are one night: each goes on where the one before stopped.
"""

import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_cloud.run_records import Attempt, RunRecords
from tests.e2e.alerts import Alerts
from tests.e2e.auditor import Auditor, Client, answer
from tests.e2e.conftest import Story, wait_for, warehouse_that_hangs
from tests.e2e.grants import decisions, deployed_roles, unused
from tests.e2e.night_app import NAME
from tests.runner.openlineage_server import OpenLineageServer

_APP = ("python", "-m", "tests.e2e.night_app")
_RUNBOOK = "https://example.com/runbook#"
_SECONDS_TO_RING = 300.0
_SECONDS_TO_RUN = 900.0


class Night:
    """The second environment, deployed, what a person on call does with it, and the server that hears of its lineage."""

    def __init__(self, story: Story, lineage: OpenLineageServer) -> None:
        self.story = story
        self.lineage = lineage
        self.cloud = story.cloud
        self.project = story.choice.settings.project
        self.heard: list[str] = []
        # Set when the run that hangs may go on.
        self.is_over = threading.Event()
        self.lineage_secret = self.client("secretsmanager").create_secret(
            Name="lineage", SecretString=json.dumps({"api_key": lineage.key})
        )["ARN"]
        app = (*_APP, str(story.project_path), lineage.url, self.lineage_secret)
        self.cdk = self.cloud.cdk(app)
        with story.steps.step("cdk deploy of an environment without Airflow") as step:
            self.cdk.run("deploy", f"{NAME}/**", "--asset-prebuild=false", "--require-approval", "never", say=step.say)
        shared, own = self._outputs(f"{NAME}-dbt"), self._outputs(f"{NAME}-dbt-{self.project}")
        self.cluster = shared["ClusterName"]
        self.guard = shared["GuardFunctionName"]
        self.launcher = own["LauncherFunctionName"]
        self.dead_letters = shared["DeadLettersQueueName"]
        self.bucket = shared["ArtifactsBucketName"]
        self.key_id = shared["EncryptionKeyId"]
        self.family = f"{NAME}-dbt-{self.project}"
        self.records = RunRecords(self.client("s3"), bucket=self.bucket, project=self.project)
        self.topic_arn = (
            f"arn:aws:sns:{story.choice.settings.region}:{story.choice.settings.account}:{shared['AlertTopicName']}"
        )
        self._alerts = Alerts(self.cloud.account, topic_arn=self.topic_arn, queue_name="alerts-of-the-night")

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes the types of its clients at run time
        """A client of the account."""
        return self.cloud.account.client(service)

    def schedule(self, description: str) -> dict[str, Any]:
        """The deployed schedule with this description."""
        scheduler = self.client("scheduler")
        for listed in scheduler.list_schedules()["Schedules"]:
            schedule: dict[str, Any] = scheduler.get_schedule(GroupName=listed["GroupName"], Name=listed["Name"])
            if schedule.get("Description") == description and NAME in schedule["GroupName"]:
                return schedule
        raise LookupError(f"no schedule says {description!r}")

    def fire(self, description: str, **changes: object) -> None:
        """Have Scheduler do at once what the deployed schedule does at its time, with `changes` of the project in its input."""
        schedule = self.schedule(description)
        content = json.loads(schedule["Target"]["Input"])
        if changes:
            content["project"] |= changes
        self.client("scheduler").create_schedule(
            Name=f"now-{time.time_ns()}",
            GroupName=schedule["GroupName"],
            ScheduleExpression="at(2026-01-01T00:00:00)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={**schedule["Target"], "Input": json.dumps(content)},
        )

    def run_by_hand(self, **override: object) -> str:
        """Start a task as a person does at a terminal; returns its ARN."""
        subnets = self.client("ec2").describe_subnets()["Subnets"]
        answer = self.client("ecs").run_task(
            cluster=self.cluster,
            taskDefinition=self.family,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [subnets[0]["SubnetId"]]}},
            overrides={"containerOverrides": [{"name": "dbt", **override}]},
        )
        return str(answer["tasks"][0]["taskArn"])

    def tasks(self, *, live: bool = True) -> list[dict[str, Any]]:
        """The tasks of the project, the oldest first."""
        ecs = self.client("ecs")
        arns = [
            arn
            for status in ("RUNNING", "STOPPED")
            for arn in ecs.list_tasks(cluster=self.cluster, family=self.family, desiredStatus=status)["taskArns"]
        ]
        tasks = ecs.describe_tasks(cluster=self.cluster, tasks=arns)["tasks"] if arns else []
        found = [task for task in tasks if (task["lastStatus"] != "STOPPED") or not live]
        return sorted(found, key=lambda task: str(task["createdAt"]))

    def hear(self, *words: str) -> str:
        """The alert that holds all `words`, as soon as it comes."""

        def look() -> str | None:
            self.heard += self._alerts.read()
            return next((text for text in self.heard if all(word in text for word in words)), None)

        return wait_for(look, f"an alert says {words}, but {self.heard}", timeout_seconds=_SECONDS_TO_RING)

    def begun(self) -> Attempt | None:
        """The last attempt of the last scheduled run, once its build has begun."""
        runs = sorted({key.split("/")[2] for key in self.records.keys(f"{self.project}/runs/scheduled-")})
        attempt = self.records.attempt(runs[-1]) if runs else None
        return (
            attempt
            if attempt
            and any((event["type"], event.get("step")) == ("node_started", "build") for event in attempt.events)
            else None
        )

    def _outputs(self, stack_name: str) -> dict[str, str]:
        (stack,) = self.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@pytest.fixture(scope="module")
def night(story: Story) -> Iterator[Night]:
    """The environment without Airflow, gone again after the tests of this file."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # The certificate of the warehouse, which containers trust, is for this machine.
    identity = story.cloud.folder / "warehouse/tls"
    tls.load_cert_chain(identity / "server.pem", identity / "server.key")
    with OpenLineageServer(key=secrets.token_hex(16), tls=tls) as lineage:
        deployed = Night(story, lineage)
        yield deployed
        with story.steps.step("cdk destroy of the environment without Airflow"):
            deployed.cdk.run("destroy", f"{NAME}/**", "--force")
        deployed.client("secretsmanager").delete_secret(
            SecretId=deployed.lineage_secret, ForceDeleteWithoutRecovery=True
        )


@pytest.fixture(scope="module")
def hanging_run(night: Night) -> Iterator[Attempt]:
    """A run that Scheduler started, which hangs, with old sources, and a second container that a person started beside it."""
    night.cloud.warehouse.run_sql("update raw_bookshop.reviews set loaded_at = loaded_at - interval '30 days'")
    with warehouse_that_hangs(night.cloud.warehouse, night.is_over):
        night.fire("Starts the run")
        attempt = wait_for(night.begun, "a scheduled run begins", timeout_seconds=_SECONDS_TO_RUN)
        # Before the run is due: whoever started a container since, it would be one.
        night.run_by_hand()
        night.fire("Tells the guard that a run is due")
        night.fire("Starts the run")
        yield attempt


def test_scheduler_starts_a_run(night: Night, hanging_run: Attempt) -> None:
    """The run's id is the time that it was scheduled for, and its record says who launched it."""
    assert hanging_run.start["run_id"].startswith("scheduled-20")
    assert hanging_run.start["launched_by"]["kind"] == "eventbridge"


def test_alarm_of_a_run_that_did_not_happen_rings(night: Night, hanging_run: Attempt) -> None:
    """The time came, the run before still hangs, and nothing was started."""
    assert hanging_run
    assert f"{_RUNBOOK}a-run-did-not-happen" in night.hear("was due 1 minutes ago", '"ALARM"')


def test_no_second_run_was_started_beside_the_first(night: Night, hanging_run: Attempt) -> None:
    """The schedule came again while the run hung; only the person's container is there beside it."""
    assert hanging_run
    environments = [
        {entry["name"] for entry in task["overrides"]["containerOverrides"][0].get("environment", [])}
        for task in night.tasks()
    ]

    assert ["RUNNER_RUN_ID" in names for names in environments] == [True, False]


def test_alarm_of_an_orphan_container_rings(night: Night, hanging_run: Attempt) -> None:
    """The person's container has no launcher that waits for it."""
    assert hanging_run
    night.fire("Looks at the containers that run")

    assert f"{_RUNBOOK}an-orphan-container" in night.hear("nobody waits for", '"ALARM"')


def test_alarm_of_a_run_longer_than_usual_rings(night: Night, hanging_run: Attempt) -> None:
    """After three days on which the longest run took a second, one of more than a minute is unusual."""
    assert hanging_run
    night.client("cloudwatch").put_metric_data(
        Namespace="DbtOnFargate",
        MetricData=[
            {
                "MetricName": "RunDurationSeconds",
                "Dimensions": [{"Name": "environment", "Value": NAME}, {"Name": "project", "Value": night.project}],
                "Timestamp": datetime.now(UTC) - timedelta(days=days),
                "Value": 1,
            }
            for days in (1, 2, 3)
        ],
    )
    oldest = night.tasks()[0]["startedAt"]
    wait_for(lambda: datetime.now(UTC) - oldest > timedelta(seconds=62), "the run is a minute old", timeout_seconds=90)
    night.fire("Looks at the containers that run")

    assert f"{_RUNBOOK}the-run-takes-too-long" in night.hear("twice as long", '"ALARM"')


def test_guard_stops_what_outlived_its_deadline(night: Night, hanging_run: Attempt) -> None:
    """It stops both containers, whose runner then finishes the record; nothing is started in their place."""
    night.fire("Looks at the containers that run", deadline_seconds=-180)

    assert f"{_RUNBOOK}a-container-outlived-its-deadline" in night.hear("without ending itself", '"ALARM"')
    wait_for(lambda: not night.tasks(), "both containers are gone", timeout_seconds=_SECONDS_TO_RUN)
    ended = night.records.attempt(hanging_run.start["run_id"])
    assert ended is not None and ended.end is not None  # noqa: PT018 - one promise
    assert (ended.start["attempt"], ended.end["outcome"]) == (1, "interrupted")
    assert {task["stopCode"] for task in night.tasks(live=False)} == {"UserInitiated"}


def test_alarm_of_a_failed_run_rings(night: Night, hanging_run: Attempt) -> None:
    """A run that was stopped ends with an error, which ECS itself tells."""
    assert hanging_run
    assert f"{_RUNBOOK}a-run-failed" in night.hear("its container ended with an error")


def test_alarm_of_stale_sources_rings(night: Night, hanging_run: Attempt) -> None:
    """The interrupted run had looked at its sources first, and wrote what it found into its log as a metric."""
    assert hanging_run
    assert f"{_RUNBOOK}sources-are-stale" in night.hear("older than they may be", '"ALARM"')


@pytest.fixture(scope="module")
def resumed_run(night: Night, hanging_run: Attempt) -> Attempt:
    """A run whose container is killed in the middle, as an interruption of Fargate Spot does that comes too fast."""
    night.is_over.set()
    released = threading.Event()
    with warehouse_that_hangs(night.cloud.warehouse, released):
        first = hanging_run.prefix
        night.fire("Starts the run")

        def another() -> Attempt | None:
            attempt = night.begun()
            return attempt if attempt and attempt.prefix != first else None

        attempt = wait_for(another, "another scheduled run begins", timeout_seconds=_SECONDS_TO_RUN)
        (task,) = night.tasks()
        night.cloud.engine.run("kill", f"ecs-{task['taskArn'].rpartition('/')[2]}-dbt")
        released.set()
    run_id = attempt.start["run_id"]

    def ended() -> Attempt | None:
        last = night.records.attempt(run_id)
        return last if last and last.start["attempt"] > 1 and last.end else None

    return wait_for(ended, "a second attempt ends", timeout_seconds=_SECONDS_TO_RUN)


def test_run_that_lost_its_container_goes_on(night: Night, resumed_run: Attempt) -> None:
    """Without Airflow too: a second attempt of the same run, by itself, which is green."""
    assert resumed_run.end is not None
    assert (resumed_run.start["attempt"], resumed_run.end["outcome"]) == (2, "success")
    assert resumed_run.start["resumes"]["attempt"] == 1


def test_lineage_of_a_deployed_project_is_told(night: Night, resumed_run: Attempt) -> None:
    """The image of the one project whose settings name a server sent its models, with the key, over TLS; no other project did."""
    assert resumed_run.end is not None
    end = (f"dbt-run-{night.project}", "COMPLETE")

    def heard() -> list[dict[str, Any]] | None:
        events = night.lineage.events
        return events if events and (events[-1]["job"]["name"], events[-1]["eventType"]) == end else None

    # They are sent when the record is whole.
    first, *nodes, last = wait_for(heard, "the end of the run is told", timeout_seconds=60)
    told = {event["job"]["name"] for event in nodes if event["eventType"] == "COMPLETE"}
    built = {
        unique_id.rpartition(".")[2]
        for unique_id, node in resumed_run.end["nodes"].items()
        if unique_id.startswith("model.") and node["status"] == "success" and node.get("from_attempt") is None
    }

    assert (first["eventType"], last["eventType"]) == ("START", "COMPLETE")
    assert {event["job"]["namespace"] for event in night.lineage.events} == {NAME}
    assert built
    assert {name for name in built if not any(f".{name}." in job for job in told)} == set()


def test_alarm_of_a_container_killed_for_memory_rings(night: Night, resumed_run: Attempt) -> None:
    """A container with a limit far below what dbt needs."""
    assert resumed_run
    night.run_by_hand(memory=48)

    assert f"{_RUNBOOK}killed-for-memory" in night.hear("more memory than its task has")


def test_alarm_of_a_container_that_does_not_start_rings(night: Night, resumed_run: Attempt) -> None:
    """An image that is gone from the registry."""
    assert resumed_run
    ecr, repository = night.client("ecr"), f"{NAME}/dbt/{night.project}"
    images = ecr.list_images(repositoryName=repository)["imageIds"]
    ecr.batch_delete_image(repositoryName=repository, imageIds=images)
    night.run_by_hand()

    assert f"{_RUNBOOK}a-container-does-not-start" in night.hear("did not start", "CannotPull")


def test_alarm_of_a_guard_that_fails_rings(night: Night, resumed_run: Attempt) -> None:
    """Who guards is guarded."""
    assert resumed_run
    check = {
        "check": "nonsense",
        "project": json.loads(night.schedule("Tells the guard that a run is due")["Target"]["Input"])["project"],
    }
    night.client("lambda").invoke(FunctionName=night.guard, Payload=json.dumps(check))

    assert f"{_RUNBOOK}the-guard-does-not-work" in night.hear("ends with an error", '"ALARM"')


def test_alarm_of_a_schedule_that_could_not_be_delivered_rings(night: Night, resumed_run: Attempt) -> None:
    """What lies in the queue of dead letters is told."""
    assert resumed_run
    sqs = night.client("sqs")
    queue_url = sqs.get_queue_url(QueueName=night.dead_letters)["QueueUrl"]
    sqs.send_message(QueueUrl=queue_url, MessageBody="anything")

    assert f"{_RUNBOOK}a-schedule-could-not-be-delivered" in night.hear("could not deliver", '"ALARM"')
    sqs.purge_queue(QueueUrl=queue_url)


def test_alarm_of_a_guard_that_nobody_calls_rings(night: Night, resumed_run: Attempt) -> None:
    """It rang after the deployment, before anyone could subscribe, and ended when the first schedule called the guard."""
    assert resumed_run
    cloudwatch = night.client("cloudwatch")
    (silent,) = [
        alarm
        for alarm in cloudwatch.describe_alarms()["MetricAlarms"]
        if f"runs of {NAME} has not been called" in alarm["AlarmDescription"]
    ]
    history = cloudwatch.describe_alarm_history(AlarmName=silent["AlarmName"])["AlarmHistoryItems"]

    assert any("to ALARM" in item["HistorySummary"] for item in history)
    assert (silent["StateValue"], silent["AlarmActions"]) == ("OK", [night.topic_arn])
    assert f"{_RUNBOOK}the-guard-does-not-work" in silent["AlarmDescription"]


def test_alert_of_critical_findings_in_an_image_rings(night: Night, resumed_run: Attempt) -> None:
    """ECR tells of the scan of an image of this environment; a scan that found nothing critical is not told."""
    assert resumed_run
    scans = {"quiet": {"HIGH": 3}, "loud": {"CRITICAL": 2, "HIGH": 1}}
    night.client("events").put_events(
        Entries=[
            {
                "Source": "aws.ecr",
                "DetailType": "ECR Image Scan",
                "Detail": json.dumps(
                    {
                        "scan-status": "COMPLETE",
                        "repository-name": f"{NAME}/dbt/{night.project}",
                        "finding-severity-counts": counts,
                        "image-digest": f"sha256:{digest}",
                        "image-tags": [],
                    }
                ),
            }
            for digest, counts in scans.items()
        ]
    )

    assert f"{_RUNBOOK}an-image-has-critical-findings" in night.hear("rated critical: 2", "sha256:loud")
    assert not [text for text in night.heard if "sha256:quiet" in text]


def test_queues_of_the_night_are_encrypted_with_its_own_key(night: Night, resumed_run: Attempt) -> None:
    """Everything above worked with the environment's own key, which is renewed every year."""
    assert resumed_run
    key = night.client("kms").describe_key(KeyId=night.key_id)["KeyMetadata"]
    queue_url = night.client("sqs").get_queue_url(QueueName=night.dead_letters)["QueueUrl"]
    queue = night.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["KmsMasterKeyId"])

    assert queue["Attributes"]["KmsMasterKeyId"] in {key["Arn"], key["KeyId"]}


LAUNCHER_IS_REFUSED: dict[str, Callable[["Night", Callable[[str], Client]], object]] = {
    "start another family": lambda night, as_: as_("ecs").run_task(
        cluster=night.cluster, taskDefinition="local-dbt-bookshop"
    ),
    "start its family on another cluster": lambda night, as_: as_("ecs").run_task(
        cluster="another", taskDefinition=night.family
    ),
    "start its family as another role": lambda night, as_: as_("ecs").run_task(
        cluster=night.cluster,
        taskDefinition=night.family,
        overrides={"taskRoleArn": night.story.choice.settings.airflow_role_arn},
    ),
    "stop a task of another cluster": lambda night, as_: as_("ecs").stop_task(
        cluster=night.story.deployed.deployment["cluster_arn"], task="0" * 32
    ),
    "open a shell in a container": lambda night, as_: as_("ecs").execute_command(
        cluster=night.cluster, task=night.tasks(live=False)[0]["taskArn"], interactive=True, command="sh"
    ),
    "change what its family runs": lambda night, as_: as_("ecs").register_task_definition(
        family=night.family, containerDefinitions=[{"name": "dbt", "image": "x"}]
    ),
    "read the warehouse's password": lambda _, as_: as_("glue").get_connection(Name="warehouse"),
    "read records": lambda night, as_: as_("s3").list_objects_v2(Bucket=night.bucket, Prefix=f"{night.project}/"),
    "read the dead letters": lambda night, as_: as_("sqs").receive_message(
        QueueUrl=night.client("sqs").get_queue_url(QueueName=night.dead_letters)["QueueUrl"]
    ),
    "decrypt with the environment's key": lambda night, as_: as_("kms").generate_data_key(
        KeyId=night.key_id, KeySpec="AES_256"
    ),
}


def test_launcher_may_start_its_family_and_nothing_else(night: Night, resumed_run: Attempt) -> None:
    """With the real credentials of the launcher's role, every other thing that is tried is refused by IAM."""
    assert resumed_run
    (role,) = (role for role in deployed_roles(night.story, NAME) if role.logical_id.startswith("LauncherFunction"))
    auditor = Auditor(night.story, "auditor-of-the-night")
    as_role = auditor.clients(role)
    allowed = answer(lambda: as_role("ecs").list_tasks(cluster=night.cluster))
    answers = {
        what: answer(lambda: attempt(night, as_role))  # noqa: B023 - called at once
        for what, attempt in LAUNCHER_IS_REFUSED.items()
    }
    auditor.leave()

    assert allowed == "allowed"
    assert {what: given for what, given in answers.items() if given != "denied"} == {}


def test_roles_of_the_night_use_what_they_were_granted(night: Night, resumed_run: Attempt) -> None:
    """Guard, launcher and schedules were denied nothing, and have no permission that is neither used nor explained."""
    assert resumed_run
    made = decisions(night.story)
    roles = [
        role
        for role in deployed_roles(night.story, NAME)
        if role.logical_id.startswith(("GuardFunction", "LauncherFunction", "Schedules"))
    ]

    assert len(roles) == 3
    assert [
        (decision.action, decision.resource)
        for role in roles
        for decision in made
        if decision.role_name == role.name and decision.answer != "Allow"
    ] == []
    assert [
        (role.logical_id, grant.action, grant.resource)
        for role in roles
        for grant in unused(role.grants, made)
        if grant.action not in role.reasons
    ] == []


def test_guard_of_the_other_environment_looks_too(story: Story, resumed_run: Attempt) -> None:
    """Where Airflow is, the same guard is called by its own schedule."""
    assert resumed_run
    scheduler = story.cloud.account.client("scheduler")
    inputs = [
        scheduler.get_schedule(GroupName=listed["GroupName"], Name=listed["Name"])["Target"]
        for listed in scheduler.list_schedules()["Schedules"]
        if listed["GroupName"].startswith("local-")
    ]
    (target,) = inputs
    answer = story.cloud.account.client("lambda").invoke(FunctionName=target["Arn"], Payload=target["Input"])

    assert "FunctionError" not in answer
