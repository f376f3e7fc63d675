"""The alarms of one project that CloudWatch rings from metrics: what the runner and the guard write into their logs."""

from datetime import timedelta

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from constructs_lib.run_guard import GUARD_INTERVAL_MINUTES

NAMESPACE = "DbtOnFargate"
"""Where the runner and the guard write their metrics."""


class RunAlarms(Construct):
    """Defines the alarms about runs of one project that did not start, do not end, or found old data."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        run_name: str,
        dimensions: dict[str, str],
        has_schedule: bool,
        start_within: timedelta,
        deadline: timedelta,
        topic_arn: str,
        runbook_url: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self._dimensions = [
            cloudwatch.CfnAlarm.DimensionProperty(name=name, value=value) for name, value in dimensions.items()
        ]
        self._topic_arn = topic_arn
        self._runbook_url = runbook_url
        self.alarm_arns: list[str] = []

        if has_schedule:
            self._define_alarm(
                "NotStarted",
                "RunsNotStarted",
                text=(
                    f"The run of {run_name} was due {_minutes(start_within)} minutes ago, and no container was started for it. "
                    "The tables are as old as the run before."
                ),
                section="a-run-did-not-happen",
            )
        self._define_alarm(
            "LongerThanUsual",
            "ContainersLongerThanUsual",
            text=(
                f"The run of {run_name} has been going on for more than twice as long as the longest run of a usual day. "
                "It goes on until it ends or its deadline comes."
            ),
            section="the-run-takes-too-long",
        )
        self._define_alarm(
            "PastDeadline",
            "ContainersPastDeadline",
            text=(
                f"A container of {run_name} outlived the deadline of {_minutes(deadline)} minutes without ending itself. "
                "The guard has told ECS to stop it."
            ),
            section="a-container-outlived-its-deadline",
        )
        self._define_alarm(
            "Orphan",
            "OrphanContainers",
            text=(
                f"A container of {run_name} is at work that nobody waits for: it was not started by Airflow or the schedule, or "
                "another one was started since. Two at once write the same tables."
            ),
            section="an-orphan-container",
        )
        self._define_alarm(
            "StaleSources",
            "SourceFreshnessBreaches",
            text=(
                f"A run of {run_name} found sources that are older than they may be. Models that read them were built from old data."
            ),
            section="sources-are-stale",
        )

    def _define_alarm(self, alarm_id: str, metric_name: str, *, text: str, section: str) -> None:
        # The L2 constructs of metric, alarm and action take four calls of CDK's Node process to say the same.
        alarm = cloudwatch.CfnAlarm(
            self,
            alarm_id,
            namespace=NAMESPACE,
            metric_name=metric_name,
            dimensions=self._dimensions,
            statistic="Maximum",
            period=GUARD_INTERVAL_MINUTES * 60,
            alarm_description=f"{text} What to do: {self._runbook_url}#{section}",
            evaluation_periods=1,
            threshold=0,
            comparison_operator="GreaterThanThreshold",
            # A metric is written when there is something to count.
            treat_missing_data="notBreaching",
            alarm_actions=[self._topic_arn],
        )
        self.alarm_arns.append(alarm.attr_arn)


def _minutes(duration: timedelta) -> str:
    return f"{duration / timedelta(minutes=1):g}"
