"""Launching, finding and stopping containers, against the stand-in for ECS, and what is said of those that failed."""

import json

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # no stubs beside Airflow
from fake_aws import FakeAws

from dbt_on_fargate import aws, explain
from dbt_on_fargate.containers import Container, Containers, LaunchRefusedError, launch_token
from dbt_on_fargate.deployment import Deployment

TOKEN = launch_token(dag_id="dbt_dev_bookshop", run_id="run-1", task_id="run_dbt", try_number=1)
ENVIRONMENT = {"RUNNER_RUN_ID": "run-1", "RUNNER_ATTEMPT": "1"}


def container(**values: object) -> Container:
    """A container that has stopped."""
    stopped: dict[str, object] = {
        "arn": "arn:aws:ecs:eu-west-1:111111111111:task/dev/1a2b", "last_status": "STOPPED", "desired_status": "STOPPED",
        "started_by": "", "record_id": "run-1", "attempt": 1, "stop_code": "", "stopped_reason": "", "container_reason": "",
        "exit_code": None,
    }  # fmt: skip
    return Container(**(stopped | values))  # type: ignore[arg-type]  # the values are of the fields' types


def test_same_try_gets_one_container(own_aws: FakeAws, deployment: Deployment) -> None:
    """A launch whose answer was lost is repeated without harm."""
    containers = Containers(deployment)
    first = containers.launch(token=TOKEN, environment=ENVIRONMENT)
    second = containers.launch(token=TOKEN, environment=ENVIRONMENT)

    assert first.arn == second.arn
    assert len(own_aws.containers) == 1


def test_tokens_differ_by_try_and_fit_ecs() -> None:
    """`startedBy` takes 36 characters everywhere, and a retry is another launch."""
    again = launch_token(dag_id="dbt_dev_bookshop", run_id="run-1", task_id="run_dbt", try_number=2)

    assert again != TOKEN
    assert {len(again), len(TOKEN)} == {36}


def test_launch_asks_for_exactly_what_was_deployed(own_aws: FakeAws, deployment: Deployment) -> None:
    """The exact revision, subnets and security groups of the deployment, under the launch role."""
    Containers(deployment).launch(token=TOKEN, environment=ENVIRONMENT)
    request = own_aws.containers[0].request

    assert request["taskDefinition"] == deployment.task_definition_arn
    assert request["launchType"] == "FARGATE"
    assert request["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": ["subnet-1", "subnet-2"],
        "securityGroups": ["sg-1"],
        "assignPublicIp": "DISABLED",
    }
    assert request["tags"] == [{"key": "dbt-task-family", "value": "dev-dbt-bookshop"}]
    assert f"AssumeRole {deployment.launch_role_arn}" in own_aws.calls


def test_finds_the_container_by_its_name(own_aws: FakeAws, deployment: Deployment) -> None:
    """AWS may put a container of its own before ours; its exit code is not ours."""
    containers = Containers(deployment)
    own_aws.script = lambda _: 3
    arn = containers.launch(token=TOKEN, environment=ENVIRONMENT).arn
    own_aws.containers[0].ended.wait(10)
    (found,) = containers.describe([arn])

    assert (found.exit_code, found.record_id, found.attempt) == (3, "run-1", 1)


def test_container_that_never_started_has_no_exit_code() -> None:
    """ECS leaves the exit code out; that is no error of ours and never a success."""
    assert "never started" in explain.stopped_container(container(stop_code="TaskFailedToStart"))


@pytest.mark.parametrize(
    ("refusal", "may_pass"),
    [
        ({"reason": "Capacity is unavailable at this time. Please try again later"}, True),
        ({"reason": "RESOURCE:ENI"}, True),
        ({"__type": "ThrottlingException", "message": "Rate exceeded."}, True),
        ({"__type": "InvalidParameterException", "message": "You've reached the limit on the number of vCPUs"}, True),
        ({"__type": "ClientException", "message": "TaskDefinition is inactive"}, False),
        ({"__type": "AccessDeniedException", "message": "not authorized to perform: ecs:RunTask"}, False),
        ({"__type": "InvalidParameterException", "message": "The subnet ID 'subnet-1' does not exist"}, False),
        ({"reason": "MISSING"}, False),
    ],
    ids=lambda value: str(value)[:50],
)
def test_refusal_says_whether_it_may_pass(
    own_aws: FakeAws, deployment: Deployment, refusal: dict[str, str], may_pass: bool
) -> None:
    """`failures` and errors carry AWS's reason; only those that may pass are worth another launch."""
    # boto3 repeats a throttled call itself before it says so.
    own_aws.refusals.extend([refusal] * 4)

    with pytest.raises(LaunchRefusedError) as refused:
        Containers(deployment).launch(token=TOKEN, environment=ENVIRONMENT)
    assert refused.value.may_pass is may_pass
    assert (refusal.get("reason") or refusal["message"]) in str(refused.value)


_NO_AUTH = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
_IMAGE = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/live/dbt/spot_prices:403e404f"


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        (f"CannotPullContainerError: failed to resolve ref {_IMAGE}: {_IMAGE}: not found", "not in the registry"),
        (
            f"CannotPullContainerError: pull image manifest has been retried 1 time(s): manifest unknown: {_IMAGE}",
            "not in",
        ),
        (f"CannotPullContainerError: failed to resolve ref {_IMAGE}: dial tcp 10.0.3.17:443: i/o timeout", "no way to"),
        (
            f"CannotPullContainerError: The task cannot pull {_IMAGE}: connection issue between the task and ECR",
            "no way to",
        ),
        ("CannotPullContainerError: net/http: request canceled while waiting for connection", "no way to the registry"),
        (
            f"CannotPullContainerError: {_IMAGE}: httpReadSeeker: failed open: unexpected status code: 403",
            "not be pulled",
        ),
        ("CannotPullContainerError: pull access denied for dbt, repository does not exist", "may not be pulled"),
        (
            "CannotPullContainerError: The task can't pull the image. Check that the role has the permissions to pull images.",
            "may not be pulled",
        ),
        ("CannotPullContainerError: toomanyrequests: You have reached your pull rate limit", "asked too often"),
        ("CannotPullContainerError: failed to unpack image: write /layer: no space left on device", "the disk"),
        (
            "CannotPullContainerError: image Manifest does not contain descriptor matching platform 'linux/amd64'",
            "CPU architecture",
        ),
        (
            f"{_NO_AUTH}unable to retrieve ecr registry auth: RequestError: dial tcp: i/o timeout",
            "no way to the registry",
        ),
        (f"{_NO_AUTH}unable to retrieve secret from asm: AccessDeniedException: GetSecretValue", "a secret that ECS"),
        (f"{_NO_AUTH}unable to retrieve secrets from ssm: context deadline exceeded", "a secret that ECS"),
        ("ResourceInitializationError: unable to pull secrets or registry auth", "no way to the registry"),
        (
            "ResourceInitializationError: failed to validate logger args: The specified log group does not exist.: exit status 1",
            "the log group",
        ),
        ("ResourceInitializationError: failed to initialize logging driver: signal: killed", "the log group"),
        (
            "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes",
            "prepare the machine",
        ),
        ("Timeout waiting for network interface provisioning to complete.", "no network interface"),
        (
            "Unexpected EC2 error while attempting to Create Network Interface in subnet 'subnet-1': InsufficientFreeAddressesInSubnet",
            "no free address",
        ),
        ("Timeout waiting for EPHEMERAL_STORAGE provisioning to complete.", "the disk"),
        (
            "ECS was unable to assume the role 'arn:aws:iam::1:role/r' that was provided for this task.",
            "a role of the task",
        ),
        (
            "Capacity is unavailable at this time. Please try again later or in a different availability zone",
            "no machine",
        ),
        ("OutOfMemoryError: Container killed due to memory usage", "more memory"),
        ("CannotStartContainerError: OCI runtime create failed: exec: python: executable file not found", "is broken"),
        ("exec /opt/venv/bin/python: exec format error", "CPU architecture"),
        ("ContainerRuntimeTimeoutError: Could not transition to running; timed out after waiting 3m", "not be started"),
        ("Your Spot Task was interrupted.", "Spot capacity"),
        ("ECS is performing maintenance on the underlying infrastructure hosting the task.", "took the machine"),
        ("Host EC2 (instance i-0123456789abcdef0) terminated.", "took the machine"),
    ],
)
def test_stopped_reason_is_explained(reason: str, meaning: str) -> None:
    """Someone who does not know AWS reads what it means and what to do, and can still search for AWS's words."""
    text = explain.stopped_container(container(stopped_reason=reason, stop_code="TaskFailedToStart"))

    assert meaning in text.partition("AWS says: ")[0]
    assert "what to do: " in text
    assert reason in text


def test_words_of_who_stopped_a_container_are_not_taken_for_awss() -> None:
    """People and programs may give any reason."""
    text = explain.stopped_container(
        container(stopped_reason="no space left on the calendar", stop_code="UserInitiated")
    )

    assert text.startswith("someone stopped the container")


def test_killed_container_is_explained() -> None:
    """Exit code 137 is a kill, most often for want of memory."""
    text = explain.stopped_container(
        container(
            exit_code=137, stop_code="EssentialContainerExited", stopped_reason="Essential container in task exited"
        )
    )

    assert "more memory" in text


def test_failed_nodes_are_told_in_the_databases_words() -> None:
    """At most a screenful, in the words that an analyst knows."""
    nodes = {
        f"model.bookshop.m{number}": {"status": "error", "message": "Database Error\n  relation does not exist"}
        for number in range(25)
    }
    text = explain.failed_nodes({"headline": "25 of 30 nodes failed", "nodes": nodes, "steps": []})

    assert text.startswith("25 of 30 nodes failed\n  model.bookshop.m0 (error)\n    Database Error\n      relation")
    assert "and 5 more" in text


def test_step_that_failed_without_a_node_is_told() -> None:
    """When dbt cannot parse or connect, the step's message is the cause."""
    end = {
        "headline": "build did not finish",
        "nodes": {},
        "steps": [{"name": "build", "outcome": "error", "message": "could not connect to server"}],
    }

    assert "build: could not connect to server" in explain.failed_nodes(end)


def test_stopping_what_ecs_forgot_is_no_error(
    own_aws: FakeAws, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ECS remembers a stopped task for about an hour; a late kill must not fail for that."""
    answer = {"__type": "InvalidParameterException", "message": "The referenced task was not found."}
    monkeypatch.setattr(own_aws, "ecs", lambda _action, _request: (400, answer))

    Containers(deployment).stop("arn:aws:ecs:eu-west-1:111111111111:task/dev/old", "killed")


def test_other_refusals_to_stop_are_errors(
    own_aws: FakeAws, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that could not be stopped must not be forgotten."""
    answer = {"__type": "AccessDeniedException", "message": "not authorized to perform: ecs:StopTask"}
    monkeypatch.setattr(own_aws, "ecs", lambda _action, _request: (400, answer))

    with pytest.raises(ClientError, match="ecs:StopTask"):
        Containers(deployment).stop("arn:aws:ecs:eu-west-1:111111111111:task/dev/1a2b", "killed")


def test_role_is_assumed_once_for_each_service(own_aws: FakeAws, deployment: Deployment) -> None:
    """All triggers of a process share a session of the role, however many nodes there are."""
    for _ in range(5):
        aws.client("ecs", deployment.launch_role_arn, deployment.region).list_tasks(
            cluster=deployment.cluster_arn, desiredStatus="RUNNING"
        )

    assert own_aws.calls.count(f"AssumeRole {deployment.launch_role_arn}") == 1


def test_overrides_of_a_launch_stay_small(own_aws: FakeAws, deployment: Deployment) -> None:
    """ECS refuses more than 8,192 characters of overrides in total."""
    Containers(deployment).launch(token=TOKEN, environment=ENVIRONMENT | {"RUNNER_SPEC": "x" * 4000})

    assert len(json.dumps(own_aws.containers[0].request["overrides"])) < 8192
