"""Tells people when a container failed, whether or not Airflow is up to see it."""

from aws_cdk import aws_events as events
from constructs import Construct

from constructs_lib.alert_rule import alert_rule
from constructs_lib.dbt_task import CONTAINER_NAME
from constructs_lib.place import place_of
from constructs_lib.stopped_tasks import stopped_tasks

_VALUES = {"task": "$.detail.taskArn", "reason": "$.detail.stoppedReason"}
"""What the texts say of the event, by the names that they have there."""
TRIALS_STARTED_BY = "slim-ci-"
"""What `startedBy` of a pull request's trial begins with, as tools/slim_ci.py starts it."""
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html: "anything-but" matches no field that is
# not there, as that of a task which somebody starts in the console.
_NO_TRIAL = {
    "$or": [
        {"startedBy": [{"exists": False}]},
        {"startedBy": [{"anything-but": {"prefix": TRIALS_STARTED_BY}}]},
    ]
}


class RunAlerts(Construct):
    """
    Defines the alerts about containers of one task family that ended with an error, were killed for memory or never started.

    Trials of pull requests ring nothing: who pushed hears of them in CI. They are told by ECS itself; `rules` are EventBridge's rules by the words to show for them.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        run_name: str,
        family: str,
        cluster_arn: str,
        log_group_name: str,
        topic_arn: str,
        dead_letters_arn: str,
        runbook_url: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self.rules: dict[str, events.CfnRule] = {}
        self._topic_arn = topic_arn
        self._dead_letters_arn = dead_letters_arn
        self._runbook_url = runbook_url
        stopped = {**stopped_tasks(place_of(scope), family=family, cluster_arn=cluster_arn), **_NO_TRIAL}

        self._define_rule(
            "Failed",
            label="failed",
            description=f"{run_name}: the container ended with an error",
            # By name: a container that AWS injects beside ours may end with any code.
            detail={**stopped, "containers": {"name": [CONTAINER_NAME], "exitCode": [{"anything-but": [0]}]}},
            message=(
                f"The run of {run_name} failed: its container ended with an error. Reason given by ECS: <reason>. "
                f"Task: <task>. Log group: {log_group_name}. "
                "Which model failed, and the database's words, are in the run's report and in Airflow."
            ),
            section="a-run-failed",
        )
        self._define_rule(
            "OutOfMemory",
            label="killed for memory",
            description=f"{run_name}: the container was killed for memory",
            detail={
                **stopped,
                "containers": {"name": [CONTAINER_NAME], "reason": [{"prefix": "OutOfMemoryError"}]},
            },
            message=(
                f"The run of {run_name} was killed because it needed more memory than its task has. Task: <task>. "
                f"Log group: {log_group_name}. What was built before is recorded and is not built again."
            ),
            section="killed-for-memory",
        )
        self._define_rule(
            "NotStarted",
            label="did not start",
            description=f"{run_name}: the container did not start",
            detail={**stopped, "stopCode": ["TaskFailedToStart"]},
            message=f"The run of {run_name} did not start: <reason>. Task: <task>. Nothing ran in the warehouse.",
            section="a-container-does-not-start",
        )

    def _define_rule(
        self, rule_id: str, *, label: str, description: str, detail: dict[str, object], message: str, section: str
    ) -> None:
        self.rules[label] = alert_rule(
            self,
            rule_id,
            description=description,
            source=["aws.ecs"],
            detail_type=["ECS Task State Change"],
            detail=detail,
            message=message,
            values={name: path for name, path in _VALUES.items() if f"<{name}>" in message},
            what_to_do=f"{self._runbook_url}#{section}",
            topic_arn=self._topic_arn,
            dead_letters_arn=self._dead_letters_arn,
        )
