"""What happens by the clock for one project: the guard looks, and without Airflow a run starts."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from constructs_lib.encryption import rare_use_of_key, use_of_key
from constructs_lib.grants import allow
from constructs_lib.json_text import json_text
from constructs_lib.place import place_of
from constructs_lib.rare_grants import explain_rare_grants
from constructs_lib.role import Role
from constructs_lib.run_guard import GUARD_INTERVAL_MINUTES

# https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
_SCHEDULED_AT = {"scheduled_at": "<aws.scheduler.scheduled-time>"}
_RETRIES = {"maximum_event_age_in_seconds": 15 * 60, "maximum_retry_attempts": 10}
"""Scheduler tries again, each time later, and gives up after a quarter of an hour: a start that comes later is a surprise."""


class ProjectSchedules(Construct):
    """
    Defines the schedules of one project in a group of their own, and the role that they act as.

    `guarded` tells the guard what to look at. At the times of `expressions`, in `time_zone`, the guard is told that a run is
    due, and `launcher`, if there is one, is told to start it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        guard_arn: str,
        due_runs_arn: str,
        dead_letters_arn: str,
        guarded: Mapping[str, Any],
        expressions: Sequence[str],
        time_zone: str,
        launcher: lambda_.IFunction | None,
        encryption_key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._time_zone = time_zone
        self._dead_letters_arn = dead_letters_arn
        self._group = scheduler.CfnScheduleGroup(self, "Group")
        launcher_arns = [launcher.function_arn] if expressions and launcher is not None else []
        queue_arns = [dead_letters_arn, *([due_runs_arn] if expressions else [])]
        role = Role(
            self,
            "Role",
            description="Calls the guard, and starts runs where there is no Airflow; for EventBridge Scheduler",
            principal={"Service": "scheduler.amazonaws.com"},
            # https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
            conditions={
                "StringEquals": {"aws:SourceAccount": place_of(scope).account, "aws:SourceArn": self._group.attr_arn}
            },
            may=[
                allow("lambda:InvokeFunction", guard_arn, *launcher_arns),
                allow("sqs:SendMessage", *queue_arns),
                *(
                    statement
                    for queue_arn in queue_arns
                    for statement in use_of_key(self, encryption_key, service="sqs", resource_arn=queue_arn)
                ),
            ],
        )
        self._role_arn, self._group_name = role.arn, self._group.ref
        explain_rare_grants(
            role,
            {
                "lambda:InvokeFunction": "Used every few minutes, and at the times of a schedule.",
                "sqs:SendMessage": "Used at the times of a schedule, and for what AWS cannot deliver.",
                **rare_use_of_key(encryption_key),
            },
        )
        self._define_schedule(
            "Guard",
            "Looks at the containers that run",
            expression=f"rate({GUARD_INTERVAL_MINUTES} minutes)",
            target_arn=guard_arn,
            content={"check": "containers", "project": guarded},
        )
        # The two expressions of a cron that names days of the month and of the week.
        for number, expression in enumerate(expressions, start=1):
            self._define_schedule(
                f"Due{number}",
                "Tells the guard that a run is due",
                expression=expression,
                target_arn=due_runs_arn,
                content={"check": "start", "project": guarded, **_SCHEDULED_AT},
            )
            for launcher_arn in launcher_arns:
                self._define_schedule(
                    f"Start{number}",
                    "Starts the run",
                    expression=expression,
                    target_arn=launcher_arn,
                    content=_SCHEDULED_AT,
                )

    def _define_schedule(
        self, schedule_id: str, description: str, *, expression: str, target_arn: str, content: Mapping[str, Any]
    ) -> None:
        # The L2 construct would give each target a role of its own, with more than these rights.
        scheduler.CfnSchedule(
            self,
            schedule_id,
            description=description,
            group_name=self._group_name,
            schedule_expression=expression,
            schedule_expression_timezone=self._time_zone,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=target_arn,
                role_arn=self._role_arn,
                input=json_text(content),
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(**_RETRIES),
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=self._dead_letters_arn),
            ),
        )
