"""Tells people when a container failed, whether or not Airflow is up to see it."""

from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from constructs_lib.dbt_task import CONTAINER_NAME


class RunAlerts(Construct):
    """Defines the alerts about containers of one task family that ended with an error or never started."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        run_name: str,
        family: str,
        cluster: ecs.ICluster,
        log_group: logs.ILogGroup,
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, construct_id)
        stopped = {"clusterArn": [cluster.cluster_arn], "group": [f"family:{family}"], "lastStatus": ["STOPPED"]}
        task = events.EventField.from_path("$.detail.taskArn")
        reason = events.EventField.from_path("$.detail.stoppedReason")

        self._define_rule(
            "Failed",
            description=f"{run_name}: the container ended with an error",
            # By name: a container that AWS injects beside ours may end with any code.
            detail={**stopped, "containers": {"name": [CONTAINER_NAME], "exitCode": [{"anything-but": [0]}]}},
            message=(
                f"The run of {run_name} failed: its container ended with an error. Reason given by ECS: {reason}. "
                f"Task: {task}. Log group: {log_group.log_group_name}. "
                "Which model failed, and the database's words, are in the run's report and in Airflow. "
                "What to do: docs/runbook.md, 'A run failed'."
            ),
            topic=topic,
        )
        self._define_rule(
            "NotStarted",
            description=f"{run_name}: the container did not start",
            detail={**stopped, "stopCode": ["TaskFailedToStart"]},
            message=(
                f"The run of {run_name} did not start: {reason}. Task: {task}. Nothing ran in the warehouse. "
                "What to do: docs/runbook.md, 'A container does not start'."
            ),
            topic=topic,
        )

    def _define_rule(
        self, rule_id: str, *, description: str, detail: dict[str, object], message: str, topic: sns.ITopic
    ) -> None:
        events.Rule(
            self,
            rule_id,
            description=description,
            event_pattern=events.EventPattern(source=["aws.ecs"], detail_type=["ECS Task State Change"], detail=detail),
            targets=[targets.SnsTopic(topic, message=events.RuleTargetInput.from_text(message))],
        )
