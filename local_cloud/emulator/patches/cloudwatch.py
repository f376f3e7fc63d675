"""Metrics out of logs, and alarms on metrics."""

import json
import os
import shlex
import threading
import time
from collections.abc import Callable

from local_cloud.emulator.patches.stock import Json, Response, cloudwatch, cloudwatch_logs, replace, responses, sqs

_SECONDS_BETWEEN_EVALUATIONS = 1.0


def apply() -> None:
    """Apply the patches of this module."""
    _evaluate_metric_filters()
    _take_embedded_metrics()
    _evaluate_alarms_as_configured()


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


def _take_embedded_metrics() -> None:
    """A log line in the embedded metric format is a metric, of containers and of functions; the stock emulator reads none."""

    def append(stock: Callable[[Json, list[Json]], None]) -> Callable[[Json, list[Json]], None]:
        def append_log_events(stream: Json, events: list[Json]) -> None:
            stock(stream, events)
            for event in events:
                _take(event.get("message", ""))

        return append_log_events

    replace(cloudwatch_logs, "_append_log_events", "stream", "events", by=append)


def _take(message: str) -> None:
    if '"_aws"' not in message:
        return
    try:
        line = json.loads(message)
    except ValueError:
        return
    for directive in line["_aws"]["CloudWatchMetrics"]:
        data = [
            {
                "MetricName": metric["Name"],
                "Unit": metric.get("Unit", "None"),
                "Value": line[metric["Name"]],
                "Timestamp": line["_aws"]["Timestamp"] / 1000,
                "Dimensions": [{"Name": name, "Value": line[name]} for name in dimensions],
            }
            for metric in directive["Metrics"]
            for dimensions in directive["Dimensions"]
        ]
        cloudwatch._put_metric_data({}, {"Namespace": directive["Namespace"], "MetricData": data}, True)


def _evaluate_alarms_as_configured() -> None:
    """
    An alarm looks at the metric of its own dimensions, period by period, and knows what missing data means.

    The stock emulator mixes all dimensions, ignores missing data, and looks only when a metric is written, so that no alarm ends.
    """
    replace(cloudwatch, "_evaluate_alarm", "alarm", by=lambda _stock: _evaluate)

    def evaluate_for_ever() -> None:
        while True:
            time.sleep(_SECONDS_BETWEEN_EVALUATIONS)
            with responses.request_scope(os.environ["MINISTACK_ACCOUNT_ID"], os.environ["MINISTACK_REGION"]):
                _count_messages()
                cloudwatch._evaluate_all_alarms()

    threading.Thread(target=evaluate_for_ever, name="alarms", daemon=True).start()


def _count_messages() -> None:
    """SQS writes how many messages of a queue can be read, of which the stock emulator makes no metric."""
    now = time.time()
    for queue in list(sqs._queues.values()):
        visible = sum(message.get("visible_at", now) <= now for message in list(queue["messages"]))
        if visible:
            dimensions = {"QueueName": queue["name"]}
            cloudwatch.record_metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", visible, "Count", dimensions)


def _evaluate(alarm: Json) -> None:
    dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions") or []}
    key = (alarm.get("Namespace"), alarm.get("MetricName"), cloudwatch._dims_key(dimensions))
    points = list(cloudwatch._metrics.get(key) or [])
    period, periods = alarm.get("Period", 60), alarm.get("EvaluationPeriods", 1)
    now = time.time()
    found = [
        _is_breaching(
            alarm, [point for point in points if now - (n + 1) * period <= point["Timestamp"] <= now - n * period]
        )
        for n in range(periods)
    ]
    treatment = alarm.get("TreatMissingData", "missing")
    if found == [None] * periods and treatment in {"ignore", "missing"}:
        state = alarm["StateValue"] if treatment == "ignore" else "INSUFFICIENT_DATA"
    else:
        breaching = [treatment == "breaching" if is_breaching is None else is_breaching for is_breaching in found]
        state = "ALARM" if sum(breaching) >= (alarm.get("DatapointsToAlarm") or periods) else "OK"
    _change_state(alarm, state)


def _is_breaching(alarm: Json, points: list[Json]) -> bool | None:
    """Whether the threshold is crossed in one period; None without data."""
    if not points:
        return None
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
    value = cloudwatch._stat_value(cloudwatch._calc_stats(points), statistic, points)
    threshold = alarm["Threshold"]
    return bool(
        {
            "GreaterThanThreshold": value > threshold,
            "GreaterThanOrEqualToThreshold": value >= threshold,
            "LessThanThreshold": value < threshold,
            "LessThanOrEqualToThreshold": value <= threshold,
        }[alarm["ComparisonOperator"]]
    )


def _change_state(alarm: Json, state: str) -> None:
    before = alarm["StateValue"]
    if state == before:
        return
    reason = f"{alarm['MetricName']} {alarm['ComparisonOperator']} {alarm['Threshold']}: {state}"
    alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, before, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


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
