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

from constructs_lib.launch_role import FAMILY_TAG
from local_cloud.run_records import Attempt, RunRecords
from tests.e2e.alerts import Alerts
from tests.e2e.auditor import Auditor, Client, answer
from tests.e2e.conftest import Story, wait_for, warehouse_that_hangs
from tests.e2e.grants import decisions, deployed_roles, unused
from tests.e2e.night_app import NAME
from tests.e2e.session_keys import SessionKeys
from tests.runner.openlineage_server import OpenLineageServer

_APP = ("python", "-m", "tests.e2e.night_app")
_RUNBOOK = "https://example.com/runbook#"
_SECONDS_TO_RING = 300.0
_SECONDS_TO_RUN = 900.0
_TOLD_AT = "2099-01-01T05:00:00Z"
"""Later than all that is started, so that the guard misses a container whatever it finds."""


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
        self.lineage_secret = json.loads(
            story.types(
                "docs/hosting.md",
                "aws secretsmanager create-secret",
                {"dbt-pages": "lineage"},
                standard_input=json.dumps({"api_key": lineage.key}),
            )
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
        self.due_runs = shared["DueRunsQueueName"]
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

    def url(self, queue_name: str) -> str:
        """The address of a queue."""
        return str(self.client("sqs").get_queue_url(QueueName=queue_name)["QueueUrl"])

    def function(self, handler: str) -> str:
        """The name of the function with this handler."""
        (name,) = (
            found["FunctionName"]
            for found in self.client("lambda").list_functions()["Functions"]
            if found["Handler"] == handler
        )
        return str(name)

    @property
    def untagged_task(self) -> str:
        """A task of this cluster that carries no tag of its family."""
        settings = self.story.choice.settings
        return f"arn:aws:ecs:{settings.region}:{settings.account}:task/{self.cluster}/{'0' * 32}"

    @property
    def task_role_arn(self) -> str:
        """What dbt runs as."""
        definition = self.client("ecs").describe_task_definition(taskDefinition=self.family)
        return str(definition["taskDefinition"]["taskRoleArn"])

    @property
    def subnet(self) -> str:
        """Any subnet of the account."""
        return str(self.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"])

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
        """Start a task as the runbook says, with more in its override; returns its ARN."""
        (group, *_) = self.client("ec2").describe_security_groups()["SecurityGroups"]
        answer = self.story.types(
            "docs/runbook.md",
            "aws ecs run-task",
            {
                "<ClusterName>": self.cluster,
                "<env>-dbt-<project>": self.family,
                "<subnet>": self.subnet,
                "<group>": group["GroupId"],
                '"name": "dbt",': json.dumps({"name": "dbt", **override})[1:-1] + ",",
                "my_model": "stg_bookshop__customers",
            },
        )
        return str(json.loads(answer)["tasks"][0]["taskArn"])

    def project_in_json(self) -> str:
        """What the schedules tell the guard of the project, without the braces around it."""
        project = json.loads(self.schedule("Looks at the containers that run")["Target"]["Input"])["project"]
        return json.dumps(project)[1:-1]

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

    def log_of(self, function: str) -> str:
        """What a function has said since yesterday."""
        return self.story.types("docs/runbook.md", "aws logs filter-log-events", {"<function>": function})

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
        told = self.story.types("docs/runbook.md", "aws cloudformation describe-stacks", {"<env>-dbt": stack_name})
        return {output["OutputKey"]: output["OutputValue"] for output in json.loads(told)}


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
def auditor(night: Night) -> Iterator[Auditor]:
    """Takes on the roles, and leaves them as they were."""
    found = Auditor(night.story, "auditor-of-the-night")
    yield found
    found.leave()


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
        night.story.types(
            "docs/runbook.md",
            "aws sqs send-message --queue-url",
            {"<DueRunsQueueName>": night.due_runs, "…": night.project_in_json(), "2026-11-22T05:00:00Z": _TOLD_AT},
        )
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


def test_log_of_the_guard_tells_of_the_run_that_a_person_said_was_due(night: Night, hanging_run: Attempt) -> None:
    """As the runbook reads a function's log; what is at work since before stands there."""
    assert hanging_run
    wait_for(lambda: _TOLD_AT[:10] in night.log_of(night.guard), "the guard looks", timeout_seconds=_SECONDS_TO_RING)

    assert "at_work_since_before" in night.log_of(night.guard)


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
    night.story.types("docs/runbook.md", "for days in", {"<env>": NAME, "<project>": night.project})
    oldest = night.tasks()[0]["startedAt"]
    wait_for(lambda: datetime.now(UTC) - oldest > timedelta(seconds=62), "the run is a minute old", timeout_seconds=90)
    night.fire("Looks at the containers that run")

    assert f"{_RUNBOOK}the-run-takes-too-long" in night.hear("twice as long", '"ALARM"')


def test_guard_stops_what_outlived_its_deadline(night: Night, hanging_run: Attempt) -> None:
    """It stops the run, whose runner then finishes the record, as a person stops the other; nothing is started in their place."""
    by_hand = night.tasks()[-1]["taskArn"].rpartition("/")[2]
    night.story.types("docs/runbook.md", "aws ecs stop-task", {"<cluster>": night.cluster, "<task id>": by_hand})
    night.story.types(
        "docs/runbook.md",
        "aws lambda invoke --function-name <GuardFunctionName> --payload fileb:///dev/stdin /dev/stdout \\",
        {"<GuardFunctionName>": night.guard, "…": night.project_in_json()},
    )

    assert f"{_RUNBOOK}a-container-outlived-its-deadline" in night.hear("without ending itself", '"ALARM"')
    wait_for(lambda: not night.tasks(), "both containers are gone", timeout_seconds=_SECONDS_TO_RUN)
    live = night.story.types(
        "docs/runbook.md",
        "aws ecs list-tasks",
        {"<ClusterName>": night.cluster, "<env>": NAME, "<project>": night.project},
    )
    assert json.loads(live) == {"taskArns": []}
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
        night.story.types(
            "docs/runbook.md",
            "aws lambda invoke --function-name <LauncherFunctionName>",
            {"<LauncherFunctionName>": night.launcher},
        )

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


def test_alert_of_critical_findings_in_an_image_rings(night: Night, resumed_run: Attempt) -> None:
    """A scan by hand of an image of this environment is told; one that found nothing critical is not."""
    assert resumed_run
    ecr, repository = night.client("ecr"), f"{NAME}/dbt/{night.project}"
    deployed = next(found for found in ecr.list_images(repositoryName=repository)["imageIds"] if "imageTag" in found)
    (image,) = ecr.batch_get_image(repositoryName=repository, imageIds=[deployed])["images"]
    # The same image by another digest, since one is scanned once a day.
    again = ecr.put_image(repositoryName=repository, imageManifest=f"{image['imageManifest']}\n", imageTag="quiet")
    loud, quiet = image["imageId"]["imageDigest"], again["image"]["imageId"]["imageDigest"]
    # The emulator knows no vulnerabilities: what a scan finds is told to it.
    found = {
        digest: [{"name": f"CVE-2026-{number}", "severity": severity} for number, severity in enumerate(severities)]
        for digest, severities in {loud: ["CRITICAL", "CRITICAL", "HIGH"], quiet: ["HIGH"]}.items()
    }
    night.cloud.emulator.image_findings.write_text(json.dumps(found))
    for digest in (quiet, loud):
        places = {"<env>": NAME, "<project>": night.project, "<digest>": digest}
        night.story.types("docs/runbook.md", "aws ecr start-image-scan", places)
    told = json.loads(
        night.story.types(
            "docs/runbook.md",
            "aws ecr describe-image-scan-findings",
            {"<env>": NAME, "<project>": night.project, "<digest>": loud},
        )
    )

    assert f"{_RUNBOOK}an-image-has-critical-findings" in night.hear("rated critical: 2", loud)
    assert not [text for text in night.heard if quiet in text]
    assert told["imageScanFindings"]["findings"] == found[loud]


def test_alarm_of_a_container_that_does_not_start_rings(night: Night, resumed_run: Attempt) -> None:
    """An image that is gone from the registry."""
    assert resumed_run
    ecr, repository = night.client("ecr"), f"{NAME}/dbt/{night.project}"
    images = ecr.list_images(repositoryName=repository)["imageIds"]
    ecr.batch_delete_image(repositoryName=repository, imageIds=images)
    night.run_by_hand()

    assert f"{_RUNBOOK}a-container-does-not-start" in night.hear("did not start", "CannotPull")


def test_task_of_another_project_is_not_gone_on_with_as_ones_own(night: Night, resumed_run: Attempt) -> None:
    """
    Who may start another family chooses its group and what it is told: neither the launcher nor an alert takes it for this project's.

    The image is gone, so that both tasks end at once; the project's own one, whatever its group, is heard and gone on with.
    """
    assert resumed_run
    ecs = night.client("ecs")
    own = ecs.describe_task_definition(taskDefinition=night.family)["taskDefinition"]
    kept = ("containerDefinitions", "executionRoleArn", "taskRoleArn", "networkMode", "cpu", "memory", "volumes")
    ecs.register_task_definition(family="stranger", **{name: own[name] for name in kept})

    def start(family: str, group: str) -> str:
        told = {"RUNNER_RUN_ID": f"of-{family}", "RUNNER_ATTEMPT": "1", "RUNNER_LAUNCHED_BY": '{"kind": "eventbridge"}'}
        environment = [{"name": name, "value": value} for name, value in told.items()]
        (task,) = ecs.run_task(
            cluster=night.cluster,
            taskDefinition=family,
            group=group,
            launchType="FARGATE",
            overrides={"containerOverrides": [{"name": "dbt", "environment": environment}]},
            networkConfiguration={"awsvpcConfiguration": {"subnets": [night.subnet]}},
        )["tasks"]
        return str(task["taskArn"])

    def second_attempts() -> list[str]:
        environments = [
            {entry["name"]: entry["value"] for entry in container.get("environment", [])}
            for task in night.tasks(live=False)
            for container in task["overrides"].get("containerOverrides", [])
        ]
        return [found["RUNNER_RUN_ID"] for found in environments if found.get("RUNNER_ATTEMPT") == "2"]

    stranger = start("stranger", f"family:{night.family}")
    stopped = ecs.get_waiter("tasks_stopped")
    stopped.wait(cluster=night.cluster, tasks=[stranger], WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    mine = start(night.family, "family:stranger")
    night.hear("did not start", mine)
    of_mine = f"of-{night.family}"
    wait_for(lambda: of_mine in second_attempts(), "the own task is gone on with", timeout_seconds=_SECONDS_TO_RING)

    assert "of-stranger" not in second_attempts()
    assert not [text for text in night.heard if stranger in text]


def test_alarm_of_a_guard_that_fails_rings(night: Night, resumed_run: Attempt) -> None:
    """Who guards is guarded."""
    assert resumed_run
    said = night.story.types(
        "docs/runbook.md",
        "aws lambda invoke --function-name <GuardFunctionName> --payload fileb:///dev/stdin /dev/stdout <<<",
        {"<GuardFunctionName>": night.guard, "…": night.project_in_json()},
    )

    assert "a check must be 'containers' or 'start', got 'nonsense'" in said
    assert f"{_RUNBOOK}the-guard-does-not-work" in night.hear("ends with an error", '"ALARM"')


def test_session_key_is_made_anew(night: Night, resumed_run: Attempt) -> None:
    """
    By the function that is deployed: nobody is signed out by the first rotation, and everyone by the second.

    The first of all began with the deployment.
    """
    assert resumed_run
    keys = SessionKeys(night.cloud)

    def changed(before: set[str]) -> str | None:
        return keys.current() if keys.current() not in before and keys.current() in keys.known_to_cloudfront() else None

    # CloudFormation makes a value that no rotation has made, and that CloudFront does not know.
    first = wait_for(lambda: changed(set()), "the first key is made", timeout_seconds=_SECONDS_TO_RING)
    keys.need_not_wait_for_edges()
    night.story.types("docs/runbook.md", "aws secretsmanager rotate-secret", {"<secret>": keys.secret_arn})
    second = wait_for(lambda: changed({first}), "the second key is made", timeout_seconds=_SECONDS_TO_RING)
    after_one = keys.known_to_cloudfront()
    night.story.types("docs/hosting.md", "aws secretsmanager rotate-secret", {"<SessionKey>": keys.secret_arn})
    third = wait_for(lambda: changed({second}), "the third key is made", timeout_seconds=_SECONDS_TO_RING)

    assert after_one == {first, second}
    assert keys.known_to_cloudfront() == {second, third}


def test_alarm_of_a_session_key_that_is_not_made_anew_rings(night: Night, resumed_run: Attempt) -> None:
    """The function is called with a step that no rotation has."""
    assert resumed_run
    said = night.story.types(
        "docs/runbook.md", "aws lambda invoke --payload fileb:///dev/stdin /dev/stdout <<<", {"<env>": NAME}
    )

    assert "finishSecret, got nonsense" in said
    assert f"{_RUNBOOK}the-session-key-is-not-made-anew" in night.hear("could not be made anew", '"ALARM"')


def test_alarm_of_a_schedule_that_could_not_be_delivered_rings(night: Night, resumed_run: Attempt) -> None:
    """What lies in the queue of dead letters is told."""
    assert resumed_run
    sqs = night.client("sqs")
    queue_url = sqs.get_queue_url(QueueName=night.dead_letters)["QueueUrl"]
    night.story.types(
        "docs/runbook.md", "aws sqs send-message --message-body", {"<DeadLettersQueueName>": night.dead_letters}
    )
    read = night.story.types(
        "docs/runbook.md", "aws sqs receive-message", {"<DeadLettersQueueName>": night.dead_letters}
    )

    assert "anything" in read
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

    listed = json.loads(night.story.types("docs/runbook.md", "aws scheduler list-schedules"))["Schedules"]

    assert {"ENABLED"} == {schedule["State"] for schedule in listed if NAME in schedule["GroupName"]}
    assert any("to ALARM" in item["HistorySummary"] for item in history)
    assert (silent["StateValue"], silent["AlarmActions"]) == ("OK", [night.topic_arn])
    assert f"{_RUNBOOK}the-guard-does-not-work" in silent["AlarmDescription"]


def test_image_that_is_pushed_to_be_scanned_is_gone_again(night: Night, resumed_run: Attempt) -> None:
    """The runbook's way to hear of findings without one's own image; what ECR tells of a scan was heard before."""
    assert resumed_run
    settings = night.story.choice.settings
    kept = f"{settings.account}.dkr.ecr.{settings.region}.amazonaws.com/{settings.environment}/dbt/{settings.project}"
    told = night.story.types(
        "docs/runbook.md",
        "aws ecr get-login-password",
        {
            "<account>": settings.account,
            "<region>": settings.region,
            "<env>": NAME,
            "<project>": night.project,
            "python:3.9.7-bullseye": f"{kept}:{night.story.image_tag()}",
        },
    )

    assert '"imageTag": "to-hear-it"' in told


def test_queues_of_the_night_are_encrypted_with_its_own_key(night: Night, resumed_run: Attempt) -> None:
    """Everything above worked with the environment's own key, which is renewed every year."""
    assert resumed_run
    key = night.client("kms").describe_key(KeyId=night.key_id)["KeyMetadata"]
    queue_url = night.client("sqs").get_queue_url(QueueName=night.dead_letters)["QueueUrl"]
    queue = night.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["KmsMasterKeyId"])

    assert queue["Attributes"]["KmsMasterKeyId"] in {key["Arn"], key["KeyId"]}


def test_records_are_copied_onto_themselves_for_another_key(night: Night, resumed_run: Attempt) -> None:
    """As the settings' page says before a key is exchanged: each is there, and as it was."""
    before = set(night.records.keys(""))
    night.story.types(
        "docs/settings.md", "aws s3 cp --recursive", {"<bucket>": night.bucket, "<new key>": night.key_id}
    )
    head = night.client("s3").head_object(Bucket=night.bucket, Key=f"{resumed_run.prefix}end.json")

    assert set(night.records.keys("")) == before
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", night.key_id)
    assert night.records.json(f"{resumed_run.prefix}end.json") == resumed_run.end


Attempted = Callable[["Night", Callable[[str], Client]], object]

# Neither of the two functions behind the sign-in touches what the pages show, or what the other one is for.
_KEPT_FROM_THE_PAGES: dict[str, Attempted] = {
    "read another secret": lambda _, as_: as_("secretsmanager").get_secret_value(SecretId="another"),
    "find secrets": lambda _, as_: as_("secretsmanager").list_secrets(),
    "let others read the key": lambda night, as_: as_("secretsmanager").put_resource_policy(
        SecretId=SessionKeys(night.cloud).secret_arn, ResourcePolicy="{}"
    ),
    "delete the key": lambda night, as_: as_("secretsmanager").delete_secret(
        SecretId=SessionKeys(night.cloud).secret_arn
    ),
    "use the environment's key for more than its secret": lambda night, as_: as_("kms").generate_data_key(
        KeyId=night.key_id, KeySpec="AES_256"
    ),
    "read a page": lambda night, as_: as_("s3").get_object(Bucket=night.bucket, Key="_pages/index.html"),
    "change a page": lambda night, as_: as_("s3").put_object(Bucket=night.bucket, Key="_pages/index.html", Body=b""),
    "read records": lambda night, as_: as_("s3").list_objects_v2(Bucket=night.bucket, Prefix=f"{night.project}/"),
    "read the warehouse's password": lambda _, as_: as_("glue").get_connection(Name="warehouse"),
    "change who is let in": lambda night, as_: as_("lambda").update_function_configuration(
        FunctionName=night.function("sign_in.handler"), Environment={"Variables": {}}
    ),
    "open the sign-in to everyone": lambda night, as_: as_("lambda").add_permission(
        FunctionName=night.function("sign_in.handler"),
        StatementId="all",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
    ),
    "look at what is in front of the pages": lambda _, as_: as_("cloudfront").list_distributions(),
    "start a container": lambda night, as_: as_("ecs").run_task(cluster=night.cluster, taskDefinition=night.family),
    "become the role of the task": lambda night, as_: as_("sts").assume_role(
        RoleArn=night.task_role_arn, RoleSessionName="intruder"
    ),
}

# What each role may do shows that its credentials work; without it a refusal would prove nothing.
ALLOWED: dict[str, Attempted] = {
    "LauncherFunction": lambda night, as_: as_("ecs").list_tasks(cluster=night.cluster),
    "PagesSignInKeyKeeper": lambda night, as_: as_("secretsmanager").describe_secret(
        SecretId=SessionKeys(night.cloud).secret_arn
    ),
    "PagesSignInFunction": lambda night, as_: as_("secretsmanager").get_secret_value(
        SecretId=SessionKeys(night.cloud).secret_arn
    ),
}

REFUSED: dict[str, dict[str, Attempted]] = {
    "LauncherFunction": {
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
        "read the dead letters": lambda night, as_: as_("sqs").receive_message(QueueUrl=night.url(night.dead_letters)),
        "decrypt with the environment's key": lambda night, as_: as_("kms").generate_data_key(
            KeyId=night.key_id, KeySpec="AES_256"
        ),
        "start its family with another role for its image and log": lambda night, as_: as_("ecs").run_task(
            cluster=night.cluster,
            taskDefinition=night.family,
            overrides={"executionRoleArn": night.story.choice.settings.airflow_role_arn},
        ),
        "start its family under another project's name": lambda night, as_: as_("ecs").run_task(
            cluster=night.cluster, taskDefinition=night.family, tags=[{"key": FAMILY_TAG, "value": "another"}]
        ),
        "stop another project's task": lambda night, as_: as_("ecs").stop_task(
            cluster=night.cluster, task=night.untagged_task
        ),
        "take another project's task for its own": lambda night, as_: as_("ecs").tag_resource(
            resourceArn=night.untagged_task, tags=[{"key": FAMILY_TAG, "value": night.family}]
        ),
        "look at another cluster": lambda night, as_: as_("ecs").list_tasks(
            cluster=night.story.deployed.deployment["cluster_arn"]
        ),
        "keep its family running": lambda night, as_: as_("ecs").create_service(
            cluster=night.cluster, serviceName="mine", taskDefinition=night.family, desiredCount=1
        ),
        "read what is due": lambda night, as_: as_("sqs").receive_message(QueueUrl=night.url(night.due_runs)),
        "say that a run is due": lambda night, as_: as_("sqs").send_message(
            QueueUrl=night.url(night.due_runs), MessageBody="{}"
        ),
        "call the guard": lambda night, as_: as_("lambda").invoke(FunctionName=night.guard),
        "call itself": lambda night, as_: as_("lambda").invoke(FunctionName=night.launcher),
        "change its own code": lambda night, as_: as_("lambda").update_function_code(
            FunctionName=night.launcher, ZipFile=b"code"
        ),
        "hear of other containers": lambda _, as_: as_("events").put_rule(Name="mine", EventPattern="{}"),
        "write a specification": lambda night, as_: as_("s3").put_object(
            Bucket=night.bucket, Key=f"{night.project}/runs/1/spec.json", Body=b"{}"
        ),
        "read the secret of the lineage": lambda night, as_: as_("secretsmanager").get_secret_value(
            SecretId=night.lineage_secret
        ),
        "tell a lie to people": lambda night, as_: as_("sns").publish(TopicArn=night.topic_arn, Message="all is well"),
        "become the role of the task": lambda night, as_: as_("sts").assume_role(
            RoleArn=night.task_role_arn, RoleSessionName="intruder"
        ),
    },
    "PagesSignInKeyKeeper": {
        **_KEPT_FROM_THE_PAGES,
        "read the provider's secret": lambda night, as_: as_("secretsmanager").get_secret_value(
            SecretId=night.lineage_secret
        ),
        "begin a rotation": lambda night, as_: as_("secretsmanager").rotate_secret(
            SecretId=SessionKeys(night.cloud).secret_arn
        ),
        "sign somebody in": lambda night, as_: as_("lambda").invoke(
            FunctionName=night.function("sign_in.handler"), Payload=b"{}"
        ),
    },
    "PagesSignInFunction": {
        **_KEPT_FROM_THE_PAGES,
        "make a key of its own": lambda night, as_: as_("secretsmanager").put_secret_value(
            SecretId=SessionKeys(night.cloud).secret_arn, SecretString="mine"
        ),
        "bring an old key back": lambda night, as_: as_("secretsmanager").update_secret_version_stage(
            SecretId=SessionKeys(night.cloud).secret_arn, VersionStage="AWSCURRENT"
        ),
        "begin a rotation": lambda night, as_: as_("secretsmanager").rotate_secret(
            SecretId=SessionKeys(night.cloud).secret_arn
        ),
        "change the provider's secret": lambda night, as_: as_("secretsmanager").put_secret_value(
            SecretId=night.lineage_secret, SecretString="{}"
        ),
        "call who makes keys": lambda night, as_: as_("lambda").invoke(
            FunctionName=night.function("session_key.handler"), Payload=b"{}"
        ),
    },
}


@pytest.mark.parametrize("role", ALLOWED)
def test_role_of_the_night_may_do_its_own_work_and_nothing_else(
    night: Night, resumed_run: Attempt, auditor: Auditor, role: str
) -> None:
    """With a role's real credentials its own work succeeds, and every other thing that is tried is refused by IAM."""
    assert resumed_run
    (found,) = (each for each in deployed_roles(night.story, NAME) if each.logical_id.startswith(f"{role}Role"))
    as_role = auditor.clients(found)
    ALLOWED[role](night, as_role)
    answers = {
        what: answer(lambda: attempt(night, as_role))  # noqa: B023 - called at once
        for what, attempt in REFUSED[role].items()
    }

    assert {what: given for what, given in answers.items() if given != "denied"} == {}


def test_roles_of_the_night_use_what_they_were_granted(night: Night, resumed_run: Attempt) -> None:
    """Guard, launcher, schedules and who makes session keys were denied nothing, and have no permission that is neither used nor explained."""
    assert resumed_run
    made = decisions(night.story)
    roles = [
        role
        for role in deployed_roles(night.story, NAME)
        if role.logical_id.startswith(("GuardFunction", "LauncherFunction", "Schedules"))
        or "KeyKeeper" in role.logical_id
    ]

    assert len(roles) == 4
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
