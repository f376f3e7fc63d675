"""
Numbers for the operator, as CloudWatch embedded metric format in the log: no API call, no permission.

Format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from runner.nodes import NodeLedger
from runner.outcome import NodeStatus
from runner.pipeline import StepEnding
from runner.run_spec import StepName

NAMESPACE = "DbtOnFargate"
_MODEL_TYPES = frozenset({"model", "seed", "snapshot"})


def metric_lines(
    *,
    environment: str,
    project: str,
    run_id: str,
    attempt: int,
    outcome: str,
    seconds: float,
    endings: Sequence[StepEnding],
    ledger: NodeLedger,
) -> list[dict[str, Any]]:
    """Return one line for the run and one for each step that ran."""
    base = {"environment": environment, "project": project, "run_id": run_id, "attempt": attempt, "outcome": outcome}
    results = ledger.results()
    models = [result for result in results if result.resource_type in _MODEL_TYPES]
    stale = [
        result
        for result in results
        if result.step == StepName.SOURCE_FRESHNESS and result.status in {NodeStatus.WARN, NodeStatus.FAIL}
    ]
    values: dict[str, tuple[float, str]] = {
        "RunDurationSeconds": (round(seconds, 3), "Seconds"),
        "RunFailed": (0 if outcome == "success" else 1, "Count"),
        "RunSucceeded": (1 if outcome == "success" else 0, "Count"),
        "Attempt": (attempt, "Count"),
        "PeakMemoryMib": (peak_memory_mib(), "Megabytes"),
        "SourceFreshnessBreaches": (len(stale), "Count"),
        "TestFailures": (
            sum(
                result.resource_type in {"test", "unit_test"} and result.status is NodeStatus.FAIL for result in results
            ),
            "Count",
        ),
    }
    for status, name in _MODEL_METRICS.items():
        values[name] = (sum(result.status is status for result in models), "Count")
    lines = [_line(base, [["environment", "project"]], values)]
    for ending in endings:
        if ending.seconds > 0:
            step_base = base | {"step": ending.step.name.value, "step_outcome": ending.outcome.value}
            duration = {"StepDurationSeconds": (round(ending.seconds, 3), "Seconds")}
            lines.append(_line(step_base, [["environment", "project", "step"]], duration))
    return lines


def write_metrics(lines: Sequence[Mapping[str, Any]]) -> None:
    """Write `lines` to stdout, where the log driver takes them up."""
    for line in lines:
        sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def peak_memory_mib() -> float:
    """Return the most memory that this process has held, in MiB."""
    # ru_maxrss is in KiB on Linux (getrusage(2)).
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


_MODEL_METRICS = {
    NodeStatus.SUCCESS: "ModelsSucceeded",
    NodeStatus.WARN: "ModelsWarned",
    NodeStatus.FAIL: "ModelsFailed",
    NodeStatus.ERROR: "ModelsInError",
    NodeStatus.SKIPPED: "ModelsSkipped",
    NodeStatus.NOT_RUN: "ModelsNotRun",
}


def _line(
    base: Mapping[str, Any], dimensions: list[list[str]], values: Mapping[str, tuple[float, str]]
) -> dict[str, Any]:
    metrics = [{"Name": name, "Unit": unit} for name, (_, unit) in values.items()]
    directive = {"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": metrics}
    header = {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}}
    return header | dict(base) | {name: value for name, (value, _) in values.items()}
