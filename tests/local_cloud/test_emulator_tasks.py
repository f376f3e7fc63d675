"""Tasks run in real containers and end as they do on Fargate."""

import base64
import functools
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.container_engine import ContainerEngine, ContainerEngineError
from tests.local_cloud.emulators import ACCOUNT, REGION, Aws

RoleMaker = Callable[..., str]
"""Makes a role in an emulator; see the fixture `role`."""

REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": []}}
ECS = "ecs-tasks.amazonaws.com"
MAY_START = ({"Action": ["ecr:*", "logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"},)


class Tasks:
    """One task family on a cluster of its own."""

    def __init__(self, aws: Aws, name: str, *, task_role: str, execution_role: str) -> None:
        self.aws = aws
        self.name = name
        self._roles = {"taskRoleArn": task_role, "executionRoleArn": execution_role}
        self.ecs = aws.client("ecs")
        self.ecs.create_cluster(clusterName=name)
        aws.client("logs").create_log_group(logGroupName=name)

    def define(self, **container: object) -> None:
        """Make a new revision whose one container has these members on top of the usual ones."""
        log_options = {"awslogs-group": self.name, "awslogs-region": REGION, "awslogs-stream-prefix": "dbt"}
        usual = {
            "name": "dbt",
            "image": f"{REGISTRY}/test:1",
            "essential": True,
            "stopTimeout": 2,
            "readonlyRootFilesystem": True,
            "mountPoints": [
                {"sourceVolume": "owned", "containerPath": "/owned"},
                {"sourceVolume": "plain", "containerPath": "/plain"},
            ],
            "logConfiguration": {"logDriver": "awslogs", "options": log_options},
        }
        self.ecs.register_task_definition(
            family=self.name,
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="64",
            volumes=[{"name": "owned"}, {"name": "plain"}],
            containerDefinitions=[{**usual, **container}],
            **self._roles,
        )

    def start(self, script: str, **request: object) -> str:
        """Run a shell script in the container and return the task's ARN."""
        overrides = {"containerOverrides": [{"name": "dbt", "command": [script]}]}
        answer = self.ecs.run_task(
            cluster=self.name,
            taskDefinition=self.name,
            networkConfiguration=NETWORK,
            **{"launchType": "FARGATE", "overrides": overrides, **request},
        )
        arn: str = answer["tasks"][0]["taskArn"]
        return arn

    def describe(self, arn: str) -> dict[str, Any]:
        """What DescribeTasks says now."""
        task: dict[str, Any] = self.ecs.describe_tasks(cluster=self.name, tasks=[arn])["tasks"][0]
        return task

    def end(self, arn: str) -> dict[str, Any]:
        """What DescribeTasks says once the task is STOPPED."""
        return self._once(arn, lambda task: task["lastStatus"] == "STOPPED")

    def running(self, arn: str, line: str) -> dict[str, Any]:
        """What DescribeTasks says once the container has written `line`."""
        return self._once(arn, lambda task: line in self.log(task))

    def log(self, task: Mapping[str, Any]) -> list[str]:
        """The lines of the task's log stream; none before there is one."""
        stream = f"dbt/dbt/{task['taskArn'].rsplit('/', 1)[-1]}"
        logs = self.aws.client("logs")
        if not logs.describe_log_streams(logGroupName=self.name, logStreamNamePrefix=stream)["logStreams"]:
            return []
        found: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = logs.get_log_events(logGroupName=self.name, logStreamName=stream, startFromHead=True, **token)
            if not page["events"]:
                return found
            found += [event["message"] for event in page["events"]]
            token = {"nextToken": page["nextForwardToken"]}

    def _once(self, arn: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            task = self.describe(arn)
            if condition(task):
                return task
            time.sleep(0.05)
        raise AssertionError(f"the task did not get there: {task}")


@pytest.fixture(scope="module")
def published(aws: Aws, engine: ContainerEngine, image: str) -> None:
    """The test's image in the emulator's registry."""
    aws.client("ecr").create_repository(repositoryName="test")
    engine.push(image, f"{_registry(aws)}/test:1", **_login(aws))


def _registry(aws: Aws) -> str:
    return aws.endpoint_url.removeprefix("http://")


def _login(aws: Aws) -> dict[str, str]:
    token = aws.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    return {"user": user, "password": password}


def test_image_is_pulled_under_another_name(aws: Aws, engine: ContainerEngine, published: None) -> None:
    """Out of the registry, by those who are logged in and by no others."""
    engine.pull(f"{_registry(aws)}/test:1", "pulled:1", **_login(aws))

    assert engine.has_image("pulled:1")
    with pytest.raises(ContainerEngineError):
        engine.pull(f"{_registry(aws)}/test:1", "pulled:2", user="AWS", password="wrong")


@pytest.fixture
def tasks(aws: Aws, published: None, unique: str, role: RoleMaker) -> Tasks:
    """A task family whose roles may do what a task needs and nothing else."""
    made = Tasks(
        aws,
        unique,
        task_role=role(aws, trusts=ECS, name="task"),
        execution_role=role(aws, *MAY_START, trusts=ECS, name="execution"),
    )
    made.define()
    return made


def get(url: str, authorization: str = "") -> Any:  # noqa: ANN401 -- any JSON
    """What an endpoint of the emulator answers; raises HTTPError when it refuses."""
    request = urllib.request.Request(url, headers={"Authorization": authorization})  # noqa: S310 -- loopback
    with urllib.request.urlopen(request) as answer:  # noqa: S310 -- loopback
        return json.load(answer)


def ending(task: Mapping[str, Any]) -> tuple[str, str, int | None, str | None]:
    """How a task ended: stopCode, stoppedReason, and its container's exitCode and reason."""
    container = task["containers"][0]
    return task["stopCode"], task["stoppedReason"], container.get("exitCode"), container.get("reason")


def test_exit_code_and_whole_log_survive_a_short_run(tasks: Tasks) -> None:
    """A container that writes much and ends at once loses no line, and its exit code is the task's."""
    script = (
        "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done; echo error >&2; printf '%020000d\\n' 7; "
        "printf 'no end of line'; exit 3"
    )

    task = tasks.end(tasks.start(script))

    lines = tasks.log(task)
    assert "error" in lines
    lines.remove("error")
    assert lines == [*(f"line {number}" for number in range(1, 3001)), f"{7:020000}", "no end of line"]
    assert ending(task) == ("EssentialContainerExited", "Essential container in task exited", 3, None)


def test_user_and_volumes_are_those_of_fargate(tasks: Tasks) -> None:
    """
    The root file system is read-only, and a volume belongs to the image's user only where the Dockerfile declares it.

    Any other volume is empty and root's.
    """
    script = (
        "id -u; stat -c '%u %a' /owned /plain; touch /owned/x && echo wrote /owned; touch /plain/x || echo refused /plain; "
        "touch /x || echo refused /; [ -e /owned/from-the-image ] && echo copied"
    )

    task = tasks.end(tasks.start(script))

    lines = [line for line in tasks.log(task) if not line.startswith("touch:")]
    assert lines == ["10001", "10001 755", "0 755", "wrote /owned", "refused /plain", "refused /", "copied"]


def test_container_gets_what_every_task_is_given(tasks: Tasks) -> None:
    """Environment and files given to the emulator arrive, and the region; the definition's own values win."""
    tasks.define(environment=[{"name": "OWN", "value": "1"}])

    task = tasks.end(tasks.start("echo $GIVEN_TO_ALL_TASKS $OWN $AWS_REGION $AWS_ENDPOINT_URL; cat /mounted.txt"))

    assert [f"yes 1 {REGION} {tasks.aws.endpoint_url}", "from this machine"] == tasks.log(task)


def test_container_has_the_credentials_of_its_task_role(tasks: Tasks) -> None:
    """The credentials endpoint gives the task role to who has the token, and nobody after the task's end."""
    arn = tasks.start("echo $AWS_CONTAINER_CREDENTIALS_FULL_URI $AWS_CONTAINER_AUTHORIZATION_TOKEN; sleep 30")
    task = tasks._once(arn, lambda task: bool(tasks.log(task)))
    uri, token = tasks.log(task)[0].split()
    given = get(uri, token)
    as_task = Aws(tasks.aws.endpoint_url, given["AccessKeyId"], given["SecretAccessKey"], given["Token"])

    assert as_task.client("sts").get_caller_identity()["Arn"] == (
        f"arn:aws:sts::{ACCOUNT}:assumed-role/{tasks.name}-task/{arn.rsplit('/', 1)[-1]}"
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(uri, "another")
    tasks.ecs.stop_task(cluster=tasks.name, task=arn)
    tasks.end(arn)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(uri, token)


def test_metadata_endpoint_tells_task_and_log(tasks: Tasks) -> None:
    """The container finds the ARN of its task, its image and its log stream as on Fargate."""
    arn = tasks.start("echo $ECS_CONTAINER_METADATA_URI_V4; sleep 30")
    task = tasks._once(arn, lambda task: bool(tasks.log(task)))
    uri = tasks.log(task)[0]
    container, described = get(uri), get(f"{uri}/task")
    tasks.ecs.stop_task(cluster=tasks.name, task=arn)

    assert (arn, f"{REGISTRY}/test:1") == (described["TaskARN"], container["Image"])
    assert {
        "awslogs-group": tasks.name,
        "awslogs-region": REGION,
        "awslogs-stream": f"dbt/dbt/{arn.rsplit('/', 1)[-1]}",
    } == container["LogOptions"]
    tasks.end(arn)


def test_stopped_task_may_end_in_order(tasks: Tasks) -> None:
    """StopTask sends SIGTERM; what the container does then is in its log, and its own exit code counts."""
    arn = tasks.start("trap 'echo ending; exit 7' TERM; echo up; while :; do sleep 0.1; done")
    tasks.running(arn, "up")

    at_once = tasks.ecs.stop_task(cluster=tasks.name, task=arn, reason="enough")["task"]

    assert (at_once["desiredStatus"], at_once["lastStatus"]) == ("STOPPED", "RUNNING")
    task = tasks.end(arn)
    assert ending(task) == ("UserInitiated", "enough", 7, None)
    assert tasks.log(task) == ["up", "ending"]


def test_tasks_that_are_stopped_at_once_end(tasks: Tasks) -> None:
    """However little of them is there by then; none is left that nobody ends."""
    arns = [tasks.start("trap 'exit 0' TERM; while :; do sleep 0.1; done") for _ in range(3)]
    for arn in arns:
        tasks.ecs.stop_task(cluster=tasks.name, task=arn)

    assert {tasks.end(arn)["stopCode"] for arn in arns} == {"UserInitiated"}


def test_stopped_task_is_killed_after_its_stop_timeout(tasks: Tasks) -> None:
    """A container that ignores SIGTERM gets SIGKILL after stopTimeout, exit code 137."""
    arn = tasks.start("trap '' TERM; echo up; while :; do sleep 0.1; done")
    tasks.running(arn, "up")
    begin = time.monotonic()

    tasks.ecs.stop_task(cluster=tasks.name, task=arn)

    assert ending(tasks.end(arn)) == ("UserInitiated", "Task stopped by user", 137, None)
    assert time.monotonic() - begin > 2


def test_task_ends_when_its_memory_is_used_up(tasks: Tasks) -> None:
    """The task's memory is a limit: the container is killed and ECS says why. Nothing is left where the tests were started."""
    before = set(Path.cwd().iterdir())
    reason = "OutOfMemoryError: Container killed due to memory usage"

    task = tasks.end(tasks.start("x=0123456789; while :; do x=$x$x; done"))

    assert ("EssentialContainerExited", "Essential container in task exited", 137, reason) == ending(task)
    assert Path.cwd() / "oom" not in set(Path.cwd().iterdir()) - before


def test_launch_may_give_a_container_less_memory(tasks: Tasks) -> None:
    """The memory of RunTask's override is the container's limit, below that of its task."""
    # 20 MB: more than the 8 MiB of the container, less than the 64 of the task.
    script = "x=0123456789; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21; do x=$x$x; done"
    overrides = {"containerOverrides": [{"name": "dbt", "command": [script], "memory": 8}]}

    task = tasks.end(tasks.start("", overrides=overrides))

    assert ending(task)[2:] == (137, "OutOfMemoryError: Container killed due to memory usage")


def test_stopped_task_stays_listed(tasks: Tasks) -> None:
    """ListTasks finds a task that has ended by its startedBy, under STOPPED and no longer under RUNNING."""
    arn = tasks.start("exit 0", startedBy="somebody")
    tasks.end(arn)

    listed = [
        tasks.ecs.list_tasks(cluster=tasks.name, startedBy="somebody", desiredStatus=status)["taskArns"]
        for status in ("STOPPED", "RUNNING")
    ]

    assert [[arn], []] == listed


def test_client_token_starts_one_task(tasks: Tasks, stock: Aws) -> None:
    """The same request with the same token is the same task; another request with it is refused. The stock one ignores it."""
    first, second = (tasks.start("exit 0", clientToken="once") for _ in range(2))

    with pytest.raises(ClientError, match="ConflictException"):
        tasks.start("exit 1", clientToken="once")
    assert first == second

    ecs = stock.client("ecs")
    ecs.register_task_definition(family="f", containerDefinitions=[{"name": "c", "image": "none"}])
    by_stock = {ecs.run_task(taskDefinition="f", clientToken="once")["tasks"][0]["taskArn"] for _ in range(2)}
    assert len(by_stock) == 2
    tasks.end(first)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"networkConfiguration": {}}, "Network Configuration must be provided"),
        ({"cluster": "none"}, "Cluster not found"),
        ({"overrides": {"containerOverrides": [{"name": "other"}]}}, "Override for container named other is not"),
        ({"overrides": {"containerOverrides": [{"name": "dbt", "command": ["x" * 8192]}]}}, "must be at most 8192"),
    ],
    ids=["network", "cluster", "container", "length"],
)
def test_rejects_what_ecs_rejects(tasks: Tasks, request_: dict[str, Any], message: str) -> None:
    """A RunTask that AWS would refuse is refused here, in its words."""
    usual = {
        "cluster": tasks.name,
        "taskDefinition": tasks.name,
        "launchType": "FARGATE",
        "networkConfiguration": NETWORK,
    }

    with pytest.raises(ClientError, match=message):
        tasks.ecs.run_task(**{**usual, **request_})


def test_rejects_passing_a_role_without_permission(tasks: Tasks, role: RoleMaker) -> None:
    """RunTask needs iam:PassRole for both roles of the task, for ECS only."""
    run = {"Action": "ecs:RunTask", "Resource": "*"}
    roles = [f"arn:aws:iam::{ACCOUNT}:role/{tasks.name}-{name}" for name in ("task", "execution")]
    only_ecs = {"StringEquals": {"iam:PassedToService": ECS}}
    request = {
        "cluster": tasks.name,
        "taskDefinition": tasks.name,
        "launchType": "FARGATE",
        "networkConfiguration": NETWORK,
    }

    def outcome(*statements: dict[str, object]) -> str:
        ecs = tasks.aws.assume(role(tasks.aws, run, *statements)).client("ecs")
        try:
            tasks.end(ecs.run_task(**request)["tasks"][0]["taskArn"])
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "allowed"

    assert [
        outcome(),
        outcome({"Action": "iam:PassRole", "Resource": roles[0]}),
        outcome({"Action": "iam:PassRole", "Resource": roles, "Condition": only_ecs}),
    ] == ["AccessDeniedException", "AccessDeniedException", "allowed"]


def test_launch_role_is_kept_to_its_cluster(tasks: Tasks, role: RoleMaker) -> None:
    """The condition `ecs:cluster` allows the actions on one cluster and refuses them on another."""
    own = {"ArnEquals": {"ecs:cluster": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{tasks.name}"}}
    actions = ["ecs:ListTasks", "ecs:StopTask", "ecs:DescribeTasks"]
    ecs = tasks.aws.assume(role(tasks.aws, {"Action": actions, "Resource": "*", "Condition": own})).client("ecs")
    tasks.ecs.create_cluster(clusterName=f"{tasks.name}-other")

    assert ecs.list_tasks(cluster=tasks.name)["taskArns"] == []
    other = {"cluster": f"{tasks.name}-other"}
    calls = (
        functools.partial(ecs.list_tasks, **other),
        functools.partial(ecs.stop_task, **other, task="0" * 32),
        functools.partial(ecs.describe_tasks, **other, tasks=["0" * 32]),
    )
    for call in calls:
        with pytest.raises(ClientError, match="AccessDenied"):
            call()


def test_a_tag_says_who_may_stop_a_task(tasks: Tasks, role: RoleMaker) -> None:
    """The condition on a task's tag is asked of the task, and what a task may be tagged with of the request that starts it."""
    tag = [{"key": "owner", "value": "us"}]
    as_ours = {"StringEquals": {"ecs:CreateAction": "RunTask", "aws:RequestTag/owner": "us"}}
    may: list[dict[str, object]] = [
        {"Action": ["ecs:RunTask", "iam:PassRole"], "Resource": "*"},
        {"Action": "ecs:TagResource", "Resource": "*", "Condition": as_ours},
        {"Action": "ecs:StopTask", "Resource": "*", "Condition": {"StringEquals": {"aws:ResourceTag/owner": "us"}}},
    ]
    tasks.define()
    everybody, us = tasks.ecs, tasks.aws.assume(role(tasks.aws, *may)).client("ecs")
    until_stopped = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done"
    theirs = tasks.start(until_stopped)
    tasks.ecs = us
    ours = tasks.start(until_stopped, tags=tag)
    refused: list[Callable[[], object]] = [
        lambda: tasks.start("exit 0", tags=[{"key": "owner", "value": "them"}]),
        lambda: us.tag_resource(resourceArn=theirs, tags=tag),
        lambda: us.stop_task(cluster=tasks.name, task=theirs),
    ]
    for call in refused:
        with pytest.raises(ClientError, match="AccessDenied"):
            call()
    tasks.ecs = everybody
    for task in (ours, theirs):
        tasks.running(task, "up")
    us.stop_task(cluster=tasks.name, task=ours)

    assert tasks.end(ours)["stopCode"] == "UserInitiated"
    assert tasks.describe(theirs)["desiredStatus"] == "RUNNING"
    everybody.stop_task(cluster=tasks.name, task=theirs)
    tasks.end(theirs)


def test_rejects_a_role_that_does_not_trust_ecs(tasks: Tasks, role: RoleMaker) -> None:
    """A task role that ECS may not assume fails RunTask itself."""
    tasks._roles["taskRoleArn"] = role(tasks.aws, trusts="lambda.amazonaws.com")
    tasks.define()

    with pytest.raises(ClientError, match="ECS was unable to assume the role"):
        tasks.start("exit 0")


@pytest.mark.parametrize(
    ("allowed", "container", "reason"),
    [
        (
            ["logs:*"],
            {},
            "ResourceInitializationError: unable to pull secrets or registry auth: .*ecr:GetAuthorizationToken",
        ),
        (["logs:*", "ecr:GetAuthorizationToken"], {}, "CannotPullContainerError: .*ecr:BatchCheckLayerAvailability"),
        (["ecr:*"], {}, "ResourceInitializationError: failed to validate logger args: .*logs:CreateLogStream"),
        (["ecr:*", "logs:*"], {"image": f"{REGISTRY}/test:none"}, "CannotPullContainerError: .*test:none: not found"),
        (
            ["ecr:*", "logs:*"],
            {"secrets": [{"name": "X", "valueFrom": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:s-AbCdEf"}]},
            "ResourceInitializationError: unable to pull secrets .*secretsmanager:GetSecretValue",
        ),
    ],
    ids=["registry", "repository", "log", "image", "secret"],
)
def test_task_that_cannot_start_says_why(
    tasks: Tasks, role: RoleMaker, allowed: list[str], container: dict[str, object], reason: str
) -> None:
    """What the execution role may not do ends the task before its container is there, in ECS's words."""
    tasks._roles["executionRoleArn"] = role(tasks.aws, {"Action": allowed, "Resource": "*"}, trusts=ECS)
    tasks.define(**container)

    task = tasks.end(tasks.start("exit 0"))

    assert task["stopCode"] == "TaskFailedToStart"
    assert "exitCode" not in task["containers"][0]
    assert re.match(reason, task["stoppedReason"])


def test_state_changes_are_events(tasks: Tasks) -> None:
    """A rule on "ECS Task State Change" hears of every state, with exit code and reasons."""
    sqs, events = tasks.aws.client("sqs"), tasks.aws.client("events")
    queue = sqs.create_queue(QueueName=tasks.name)["QueueUrl"]
    pattern = {"source": ["aws.ecs"], "detail-type": ["ECS Task State Change"], "detail": {"lastStatus": ["STOPPED"]}}
    events.put_rule(Name=tasks.name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=tasks.name, Targets=[{"Id": "q", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{tasks.name}"}])

    arn = tasks.start("exit 4")
    tasks.end(arn)
    messages = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5, MaxNumberOfMessages=10)["Messages"]
    heard = [json.loads(message["Body"])["detail"] for message in messages]

    assert [(arn, 4)] == [
        (task["taskArn"], task["containers"][0]["exitCode"]) for task in heard if task["taskArn"] == arn
    ]


def test_schedule_starts_a_task(tasks: Tasks, role: RoleMaker) -> None:
    """Scheduler runs a task as its own role, with the input as overrides."""
    roles = [f"arn:aws:iam::{ACCOUNT}:role/{tasks.name}-{name}" for name in ("task", "execution")]
    scheduler_role = role(
        tasks.aws,
        {"Action": "ecs:RunTask", "Resource": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{tasks.name}:*"},
        {"Action": "iam:PassRole", "Resource": roles},
        trusts="scheduler.amazonaws.com",
    )
    overrides = {"containerOverrides": [{"name": "dbt", "command": ["echo scheduled"]}]}
    tasks.aws.client("scheduler").create_schedule(
        Name=tasks.name,
        ScheduleExpression=f"at({time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{tasks.name}",
            "RoleArn": scheduler_role,
            "Input": json.dumps(overrides),
            "EcsParameters": {
                "TaskDefinitionArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{tasks.name}",
                "LaunchType": "FARGATE",
                "NetworkConfiguration": {"awsvpcConfiguration": {"Subnets": ["subnet-1"]}},
            },
        },
    )
    deadline = time.monotonic() + 60
    found: list[str] = []
    while not found and time.monotonic() < deadline:
        found = [
            arn
            for status in ("RUNNING", "STOPPED")
            for arn in tasks.ecs.list_tasks(cluster=tasks.name, desiredStatus=status)["taskArns"]
        ]
        time.sleep(0.1)

    assert tasks.log(tasks.end(found[0])) == ["scheduled"]


def test_ended_tasks_leave_no_container_and_no_volume(tasks: Tasks, engine: ContainerEngine) -> None:
    """What a task had on this machine goes with it."""
    arn = tasks.start("exit 0")
    tasks.end(arn)
    task_id = arn.rsplit("/", 1)[-1]
    deadline = time.monotonic() + 10
    left = "?"
    while left and time.monotonic() < deadline:
        everything = engine.run("ps", "--all", "--format", "{{.Names}}") + engine.run("volume", "ls", "--quiet")
        left = " ".join(name for name in everything.split() if task_id in name)

    assert left == ""
