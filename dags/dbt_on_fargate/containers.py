"""The containers of one project on ECS: look, launch once, stop."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import aws
from .deployment import Deployment

if TYPE_CHECKING:
    from botocore.client import BaseClient  # type: ignore[import-untyped]  # no stubs beside Airflow

_DESCRIBE_AT_MOST = 100

TRIALS_STARTED_BY = "slim-ci-"
"""What `startedBy` of a pull request's trial begins with: in schemas of its own it is in nobody's way, and its failure is CI's to tell."""

# ECS refuses more than 8,192 characters of overrides in total; the rest is left for the other variables.
_INLINE_SPEC_CHARACTERS = 4000

# "Unable to run task" reasons of ECS that say: not now. The texts are in the API reference's "API failure reasons"
# (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html).
_PASSING_REASONS = (
    "capacity is unavailable",
    "resource:",
    "agent",
    "limit on the number",
    "insufficient free addresses",
    "not enough free ip",
    "rate exceeded",
    "throttl",
    "too many concurrent",
    "server error",
)


class LaunchRefusedError(Exception):
    """ECS did not start the container, in AWS's words; `may_pass` says whether the same call may succeed later."""

    def __init__(self, message: str, *, may_pass: bool) -> None:
        super().__init__(message)
        self.may_pass = may_pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """One ECS task of the project as ECS describes it."""

    arn: str
    last_status: str
    desired_status: str
    started_by: str
    record_id: str | None
    attempt: int | None
    stop_code: str
    stopped_reason: str
    container_reason: str
    exit_code: int | None

    @property
    def task_id(self) -> str:
        """The last part of the ARN, which names the log stream and the page of the console."""
        return self.arn.rpartition("/")[2]

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.last_status == "STOPPED"

    @property
    def is_being_stopped(self) -> bool:
        """Whether it was told to stop, or has stopped."""
        return self.is_gone or self.desired_status == "STOPPED"

    @property
    def is_trial(self) -> bool:
        """Whether it tries a pull request: it builds in schemas of its own, beside any run."""
        return self.started_by.startswith(TRIALS_STARTED_BY)


def launch_token(*, dag_id: str, run_id: str, task_id: str, try_number: int, is_trial: bool = False) -> str:
    """
    What names one try of one task towards ECS: the same try never gets two containers.

    36 characters, the most that `startedBy` takes everywhere; `clientToken` takes 64. That of a trial can be told from others.
    """
    identity = json.dumps([dag_id, run_id, task_id, try_number])
    beginning = TRIALS_STARTED_BY if is_trial else ""
    return (beginning + hashlib.sha256(identity.encode()).hexdigest())[:36]


def launch_environment(
    *,
    record_id: str,
    attempt: int,
    launched_by: Mapping[str, str],
    spec: Mapping[str, Any],
    write_spec: Callable[[Mapping[str, Any]], str],
) -> dict[str, str]:
    """
    What a container is told of its run (docs/run-spec.md).

    A spec that is too large for ECS's overrides is given to `write_spec`, which returns its address.
    """
    environment = {
        "RUNNER_RUN_ID": record_id,
        "RUNNER_ATTEMPT": str(attempt),
        "RUNNER_LAUNCHED_BY": json.dumps(dict(launched_by)),
    }
    if not spec:
        return environment
    inline = json.dumps(dict(spec))
    if len(inline) <= _INLINE_SPEC_CHARACTERS:
        return environment | {"RUNNER_SPEC": inline}
    return environment | {"RUNNER_SPEC_URI": write_spec(spec)}


class Containers:
    """
    The containers of one deployment. Every method blocks; a trigger calls them in a thread.

    `client` gives a client of ECS under the launch role. Default: by Airflow's own credentials.
    """

    def __init__(self, deployment: Deployment, *, client: "Callable[[], BaseClient] | None" = None) -> None:
        self._deployment = deployment
        self._client = client or (lambda: aws.client("ecs", deployment.launch_role_arn, deployment.region))

    def all(self) -> list[Container]:
        """Those that run or are about to, and those that stopped within the last hour, the longest that ECS remembers."""
        arns = [
            arn
            for desired_status in ("RUNNING", "STOPPED")
            for page in self._client()
            .get_paginator("list_tasks")
            .paginate(
                cluster=self._deployment.cluster_arn,
                family=self._deployment.task_definition_family,
                desiredStatus=desired_status,
            )
            for arn in page["taskArns"]
        ]
        return self.describe(arns)

    def describe(self, arns: Iterable[str]) -> list[Container]:
        """The containers that ECS still remembers among `arns`."""
        wanted = list(dict.fromkeys(arns))
        found: list[Container] = []
        for start in range(0, len(wanted), _DESCRIBE_AT_MOST):
            answer = self._client().describe_tasks(
                cluster=self._deployment.cluster_arn, tasks=wanted[start : start + _DESCRIBE_AT_MOST]
            )
            found += [self._container(task) for task in answer["tasks"]]
        return found

    def launch(self, *, token: str, environment: Mapping[str, str]) -> Container:
        """
        Start the container that `token` names, or return the one that an earlier call with this token started.

        Raises LaunchRefusedError with AWS's reason.
        """
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # noqa: PLC0415 -- no stubs beside Airflow; not needed to parse a DAG

        deployment = self._deployment
        where: dict[str, Any] = (
            {"launchType": "FARGATE"}
            if deployment.capacity == "fargate"
            else {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]}
        )
        try:
            answer = self._client().run_task(
                cluster=deployment.cluster_arn,
                taskDefinition=deployment.task_definition_arn,
                count=1,
                clientToken=token,
                startedBy=token,
                tags=[dict(tag) for tag in deployment.task_tags],
                networkConfiguration={
                    "awsvpcConfiguration": {
                        "subnets": list(deployment.subnet_ids),
                        "securityGroups": list(deployment.security_group_ids),
                        "assignPublicIp": "ENABLED" if deployment.assign_public_ip else "DISABLED",
                    }
                },
                overrides={
                    "containerOverrides": [
                        {
                            "name": deployment.container_name,
                            "environment": [
                                {"name": name, "value": value} for name, value in sorted(environment.items())
                            ],
                        }
                    ]
                },
                **where,
            )
        except ClientError as error:
            answered = error.response["Error"]
            message = f"{answered['Code']}: {answered.get('Message', '')}"
            raise LaunchRefusedError(
                message, may_pass=aws.may_pass(error) or _sounds_passing(answered.get("Message", ""))
            ) from error
        except BotoCoreError as error:
            raise LaunchRefusedError(str(error), may_pass=aws.may_pass(error)) from error
        if answer["tasks"]:
            return self._container(answer["tasks"][0])
        reasons = [
            " ".join(filter(None, (failure.get("reason"), failure.get("detail"))))
            for failure in answer.get("failures", [])
        ]
        message = "; ".join(reasons) or "ECS started nothing and gave no reason"
        raise LaunchRefusedError(message, may_pass=not reasons or _sounds_passing(message))

    def stop(self, arn: str, reason: str) -> None:
        """Tell a container to stop: SIGTERM now, SIGKILL after its stop timeout. One that is gone already is no error."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 -- not needed to parse a DAG

        try:
            self._client().stop_task(cluster=self._deployment.cluster_arn, task=arn, reason=reason[:1024])
        except ClientError as error:
            # "The referenced task was not found": ECS forgot it because it stopped long ago.
            if error.response["Error"]["Code"] != "InvalidParameterException":
                raise

    def _container(self, task: Mapping[str, Any]) -> Container:
        name = self._deployment.container_name
        # The first container may be one that AWS injected (GuardDuty), so it is looked up by its name.
        ours: Mapping[str, Any] = next((found for found in task.get("containers", []) if found["name"] == name), {})
        overrides: Mapping[str, Any] = next(
            (found for found in task.get("overrides", {}).get("containerOverrides", []) if found.get("name") == name),
            {},
        )
        environment = {entry["name"]: entry["value"] for entry in overrides.get("environment", [])}
        attempt = environment.get("RUNNER_ATTEMPT")
        return Container(
            arn=task["taskArn"],
            last_status=task["lastStatus"],
            desired_status=task["desiredStatus"],
            started_by=task.get("startedBy", ""),
            record_id=environment.get("RUNNER_RUN_ID"),
            attempt=None if attempt is None else int(attempt),
            stop_code=task.get("stopCode", ""),
            stopped_reason=task.get("stoppedReason", ""),
            container_reason=ours.get("reason", ""),
            exit_code=ours.get("exitCode"),
        )


def _sounds_passing(reason: str) -> bool:
    lowered = reason.lower()
    return any(part in lowered for part in _PASSING_REASONS)
