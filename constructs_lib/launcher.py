"""Starts the runs of a project that has no Airflow."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from constructs_lib.cluster import Cluster
from constructs_lib.encryption import rare_use_of_key, use_of_key
from constructs_lib.findings import acknowledge, acknowledge_wildcards
from constructs_lib.grants import allow
from constructs_lib.json_text import json_text
from constructs_lib.launch_role import care_for_tasks
from constructs_lib.place import place_of
from constructs_lib.run_guard_function import RunGuardFunction
from constructs_lib.stopped_tasks import stopped_tasks

_OLDEST_EVENT = Duration.minutes(15)
"""What cannot be begun or gone on with for longer has its dead letter, while somebody can still do something."""


class Launcher(Construct):
    """
    Defines the function that starts the tasks of one family on one cluster, one at a time, and goes on with lost ones.

    It may run this family and pass its two roles, nothing else; it stops only a task that it has started beside another one.
    `launch` says with what a task is started. What fails three times goes to the queue `dead_letters_arn`.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        run_name: str,
        cluster: Cluster,
        family: str,
        passed_role_arns: Sequence[str],
        launch: dict[str, Any],
        dead_letters_arn: str,
        encryption_key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)
        place = place_of(scope)
        revisions = place.arn("ecs", "task-definition", name=f"{family}:*")
        tasks = place.arn("ecs", "task", name=f"{cluster.name}/*")
        launcher = RunGuardFunction(
            self,
            "Function",
            handler="launcher",
            description=f"Starts the runs of {run_name}",
            failed_calls="What fails three times is sent to the environment's dead letters, by an on-failure destination.",
            encryption_key=encryption_key,
            environment={"LAUNCH": json_text(launch)},
            may=[
                *care_for_tasks(
                    family=family,
                    revisions=revisions,
                    cluster_arn=cluster.arn,
                    tasks=tasks,
                    passed_role_arns=passed_role_arns,
                ),
                allow("sqs:SendMessage", dead_letters_arn),
                *use_of_key(self, encryption_key, service="sqs", resource_arn=dead_letters_arn),
            ],
            rarely={
                "ecs:StopTask": "Only the younger of two that started at the same moment is stopped.",
                "sqs:SendMessage": "Only what could not be started after three tries is sent.",
                **rare_use_of_key(encryption_key),
            },
        )
        self.function = launcher.function
        acknowledge(
            self.function,
            {"CKV_AWS_173": "Its variable says with what a task is started, by names and ARNs; it holds no secret."},
        )
        acknowledge_wildcards(
            launcher.role,
            {
                "*": "ecs:ListTasks cannot be restricted but by the cluster, which its condition does.",
                revisions: "Every revision of this family: a deploy may come between a start and its continuation.",
                tasks: "The ids of tasks are made when they start; a tag says whose they are.",
            },
        )
        lambda_.CfnEventInvokeConfig(
            self,
            "Retries",
            function_name=self.function.function_name,
            qualifier="$LATEST",
            maximum_event_age_in_seconds=_OLDEST_EVENT.to_seconds(),
            maximum_retry_attempts=2,
            destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=dead_letters_arn)
            ),
        )
        events.Rule(
            self,
            "Stopped",
            description=f"{run_name}: goes on with a run that lost its container",
            event_pattern=events.EventPattern(
                source=["aws.ecs"],
                detail_type=["ECS Task State Change"],
                detail=stopped_tasks(place, family=family, cluster_arn=cluster.arn),
            ),
            targets=[
                targets.LambdaFunction(
                    self.function,
                    max_event_age=_OLDEST_EVENT,
                    # Its policy is another stack's, and lets rules send.
                    dead_letter_queue=sqs.Queue.from_queue_arn(self, "DeadLetters", dead_letters_arn),
                )
            ],
        )
