"""One page of CloudWatch for one project."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from constructs import Construct

from constructs_lib.json_text import json_text
from constructs_lib.place import place_of
from constructs_lib.run_alarms import NAMESPACE

_WIDTH = 24
_HEIGHT = 6
_MODELS = ("ModelsSucceeded", "ModelsWarned", "ModelsFailed", "ModelsInError", "ModelsSkipped", "ModelsNotRun")


class RunDashboard(Construct):
    """
    Defines the dashboard of one project: a line of its alarms and alerts, then runs, durations, models, freshness, memory, attempts.

    `alerts` are the rules that tell of failed containers, by the words to show for them.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        run_name: str,
        dimensions: Mapping[str, str],
        memory_mib: int,
        alarm_arns: Sequence[str],
        alerts: Mapping[str, events.CfnRule],
        runbook_url: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self._region = place_of(scope).region
        self._metric_path = [part for pair in dimensions.items() for part in pair]
        widgets = [
            _placed(
                {"markdown": f"## {run_name}\nWhat each alarm means and what to do: {runbook_url}"}, "text", 0, height=2
            ),
            _placed({"title": "Alarms", "alarms": list(alarm_arns)}, "alarm", 2, height=3),
            self._graph(
                "Containers that failed, did not start, were killed for memory",
                [
                    ["AWS/Events", "TriggeredRules", "RuleName", rule.ref, {"label": label}]
                    for label, rule in alerts.items()
                ],
                row=5,
                column=0,
            ),
            self._graph("Runs", self._metrics("RunSucceeded", "RunFailed"), row=5, column=1),
            self._graph("Duration", self._metrics("RunDurationSeconds", statistic="Maximum"), row=5, column=2),
            self._graph("Models by outcome", self._metrics(*_MODELS), row=11, column=0, view="bar"),
            self._graph(
                "Stale sources, failed tests",
                self._metrics("SourceFreshnessBreaches", "TestFailures"),
                row=11,
                column=1,
            ),
            self._graph("Attempts", self._metrics("Attempt", statistic="Maximum"), row=11, column=2),
            self._graph(
                "Peak memory (MiB)",
                self._metrics("PeakMemoryMib", statistic="Maximum"),
                row=17,
                column=0,
                limit={"label": "size of the task", "value": memory_mib},
            ),
            self._graph(
                "What the guard saw",
                self._metrics(
                    "RunsNotStarted", "ContainersLongerThanUsual", "ContainersPastDeadline", "OrphanContainers"
                ),
                row=17,
                column=1,
            ),
            self._graph(
                "Duration by step",
                [
                    [
                        {
                            "expression": f"SEARCH('{{{NAMESPACE},{','.join((*dimensions, 'step'))}}} "
                            + " ".join(f'{key}="{value}"' for key, value in dimensions.items())
                            + " MetricName=\"StepDurationSeconds\"', 'Maximum')",
                            "label": "",
                        }
                    ]
                ],
                row=17,
                column=2,
            ),
        ]
        # The L2 construct turns each widget into an object of its own in Node; a page of JSON is what CloudWatch takes.
        cloudwatch.CfnDashboard(
            self,
            "Resource",
            dashboard_name=name,
            dashboard_body=json_text({"start": "-P14D", "widgets": widgets}),
        )

    def _metrics(self, *names: str, statistic: str = "Sum") -> list[list[Any]]:
        return [[NAMESPACE, name, *self._metric_path, {"stat": statistic}] for name in names]

    def _graph(
        self,
        title: str,
        metrics: list[list[Any]],
        *,
        row: int,
        column: int,
        view: str = "timeSeries",
        limit: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        properties: dict[str, Any] = {
            "title": title,
            "region": self._region,
            "view": view,
            "stat": "Sum",
            "period": 3600,
            "metrics": metrics,
            "yAxis": {"left": {"min": 0}},
        }
        if limit:
            properties["annotations"] = {"horizontal": [limit]}
        return _placed(properties, "metric", row, column=column, width=_WIDTH // 3)


def _placed(
    properties: Mapping[str, Any], kind: str, row: int, *, column: int = 0, width: int = _WIDTH, height: int = _HEIGHT
) -> dict[str, Any]:
    """A widget in CloudWatch's grid: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html"""
    return {"type": kind, "x": column * width, "y": row, "width": width, "height": height, "properties": properties}
