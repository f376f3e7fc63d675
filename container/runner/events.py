"""dbt's results and events, in the words of the record and of the log."""

from __future__ import annotations

import logging

from runner.clock import now
from runner.dbt_types import DbtObject
from runner.log import SCRUBBER
from runner.nodes import NodeResult
from runner.outcome import NodeStatus

_LOG = logging.getLogger("runner")
_LEVELS = {"info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_STATUSES = {
    "success": NodeStatus.SUCCESS,
    "pass": NodeStatus.SUCCESS,
    # dbt "runs" exposures and saved queries too; nothing can go wrong there.
    "no-op": NodeStatus.SUCCESS,
    "warn": NodeStatus.WARN,
    "fail": NodeStatus.FAIL,
    "error": NodeStatus.ERROR,
    "runtime error": NodeStatus.ERROR,
    # Some batches of a microbatch model are built and some are not: the model is not done.
    "partial success": NodeStatus.ERROR,
    "skipped": NodeStatus.SKIPPED,
}
_UNTOLD_EVENTS = frozenset({"Formatting", "AdapterRegistered", "MainReportVersion"})


def node_status(dbt_status: str, *, step: str) -> NodeStatus:
    """Translate a status of dbt's; for freshness, dbt's "error" means stale, and "runtime error" that it could not tell."""
    if step == "source_freshness" and dbt_status == "error":
        return NodeStatus.FAIL
    return _STATUSES[dbt_status]


def node_result(result: DbtObject, *, step: str) -> NodeResult:
    """Translate one of dbt's results of nodes (`RunResult`, `SourceFreshnessResult` and their like)."""
    node = result.node
    kind = str(node.resource_type)
    return NodeResult(
        unique_id=node.unique_id,
        resource_type=kind,
        name=f"{node.source_name}.{node.name}" if kind == "source" else node.name,
        step=step,
        status=node_status(str(result.status), step=step),
        seconds=result.execution_time,
        thread=result.thread_id or None,
        message=SCRUBBER.scrub(_message(result)) or None,
        relation=getattr(node, "relation_name", None) if kind not in {"test", "unit_test"} else None,
        rows=_rows(result.adapter_response),
        failures=result.failures if kind in {"test", "unit_test"} else None,
        compiled_code=SCRUBBER.scrub(getattr(node, "compiled_code", None) or "") or None,
        ended_at=now(),
    )


def _message(result: DbtObject) -> str:
    age = getattr(result, "age", None)
    if age is not None and result.message is None:
        return f"the newest row is {age / 3600:.1f} hours old"
    # "SUCCESS" is what dbt-redshift says of every statement.
    message = str(result.message or "").strip()
    return "" if message == "SUCCESS" else message


def _rows(adapter_response: dict[str, object]) -> int | None:
    rows = adapter_response.get("rows_affected")
    # redshift_connector says -1 where the server does not tell.
    return rows if isinstance(rows, int) and rows >= 0 else None


class EventReader:
    """Writes dbt's events as log lines, on whatever thread they happen, and keeps the last reason for a failure."""

    def __init__(self) -> None:
        self.step: str | None = None

    def __call__(self, event: DbtObject) -> None:
        """Take one `EventMsg`; dbt calls this inside its own threads, so it must be quick and must not raise."""
        info = event.info
        level = _LEVELS.get(info.level)
        if level is not None and info.name not in _UNTOLD_EVENTS and info.msg.strip():
            _LOG.log(
                level, "%s", info.msg.strip(), extra={"dbt": info.name, "step": self.step, "dbt_thread": info.thread}
            )
