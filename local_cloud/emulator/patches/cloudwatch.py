"""Metrics out of logs."""

import shlex
import time
from collections.abc import Callable

from local_cloud.emulator.patches.stock import Json, Response, cloudwatch, cloudwatch_logs, replace


def apply() -> None:
    """Apply the patches of this module."""
    _evaluate_metric_filters()


def _evaluate_metric_filters() -> None:
    """The stock emulator keeps metric filters and never evaluates them, so an alarm on one cannot ring."""

    def put(stock: Callable[[Json], Response]) -> Callable[[Json], Response]:
        def put_log_events(data: Json) -> Response:
            answer = stock(data)
            if answer[0] == 200:
                for (group, _), metric_filter in list(cloudwatch_logs._metric_filters.items()):
                    if group == data.get("logGroupName"):
                        _count(metric_filter, [event.get("message", "") for event in data.get("logEvents", [])])
            return answer

        return put_log_events

    replace(cloudwatch_logs, "_put_log_events", "data", by=put)


def _count(metric_filter: Json, messages: list[str]) -> None:
    matching = sum(_matches(metric_filter.get("filterPattern") or "", message) for message in messages)
    for transformation in metric_filter.get("metricTransformations") or []:
        spelled = {key[:1].lower() + key[1:]: value for key, value in transformation.items()}
        for _ in range(matching):
            cloudwatch._put_metric_data(
                {},
                {
                    "Namespace": spelled["metricNamespace"],
                    "MetricData": [
                        {
                            "MetricName": spelled["metricName"],
                            "Value": float(spelled.get("metricValue", 1)),
                            "Timestamp": time.time(),
                        }
                    ],
                },
                True,
            )


def _matches(pattern: str, message: str) -> bool:
    """CloudWatch's patterns of terms: all of them, none of those with a minus, any of those with a question mark."""
    terms = shlex.split(pattern)
    optional = [term[1:] for term in terms if term.startswith("?")]
    if optional:
        return any(term in message for term in optional)
    return all(term[1:] not in message if term.startswith("-") else term in message for term in terms)
