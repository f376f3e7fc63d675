"""The few names that Airflow 2.11 and 3 keep in different places, and the states of tasks, which they answer differently."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote
from uuid import UUID

from airflow.configuration import conf

try:
    from airflow.sdk import DAG, Asset, BaseOperator, BaseOperatorLink, CronDataIntervalTimetable, Param, TaskGroup
    from airflow.sdk.bases.notifier import BaseNotifier
    from airflow.sdk.definitions.param import ParamsDict
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    IS_AIRFLOW_3 = True
except ImportError:
    # mypy sees Airflow 3, where these are no modules.
    from airflow.datasets import Dataset as Asset  # type: ignore[import-not-found, no-redef]
    from airflow.exceptions import AirflowException, AirflowFailException  # type: ignore[attr-defined, no-redef]
    from airflow.models.baseoperator import BaseOperator  # type: ignore[import-not-found, no-redef]
    from airflow.models.baseoperatorlink import BaseOperatorLink  # type: ignore[import-not-found, no-redef]
    from airflow.models.dag import DAG  # type: ignore[no-redef]
    from airflow.models.param import Param, ParamsDict  # type: ignore[import-not-found, no-redef]
    from airflow.notifications.basenotifier import BaseNotifier  # type: ignore[import-not-found, no-redef]
    from airflow.timetables.interval import CronDataIntervalTimetable  # type: ignore[assignment]
    from airflow.utils.task_group import TaskGroup  # type: ignore[import-not-found, no-redef]

    IS_AIRFLOW_3 = False

__all__ = [
    "DAG",
    "FINISHED_STATES",
    "IS_AIRFLOW_3",
    "AirflowException",
    "AirflowFailException",
    "Asset",
    "BaseNotifier",
    "BaseOperator",
    "BaseOperatorLink",
    "Context",
    "CronDataIntervalTimetable",
    "Param",
    "ParamsDict",
    "TaskGroup",
    "TaskTry",
    "deferred_by",
    "delete_variable",
    "run_url",
    "set_variable",
    "task_states",
    "tried_since",
    "variable",
    "xcom",
]

# What Airflow hands to a task: its run, its parameters, itself. A TypedDict in Airflow 3 only.
Context: TypeAlias = Mapping[str, Any]


class TaskTry(Protocol):
    """What a trigger is told of the task instance that it belongs to."""

    id: UUID
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    start_date: datetime


# The states in which Airflow does nothing more with a task of its own accord.
FINISHED_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def task_states(*, dag_id: str, run_id: str, task_ids: Iterable[str] | None = None) -> dict[str, str | None]:
    """
    The states of the named tasks of one run, or of all of them; `None` for one that is not scheduled yet.

    Blocks; a trigger calls it in a thread.
    """
    wanted = None if task_ids is None else list(task_ids)
    if IS_AIRFLOW_3:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415 -- dear, and not needed to parse a DAG

        answer = RuntimeTaskInstance.get_task_states(dag_id=dag_id, task_ids=wanted, run_ids=[run_id])
        found: dict[str, Any] = answer.get(run_id, {})
    else:
        from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415 -- dear, and not needed to parse a DAG
        from airflow.utils.session import create_session  # noqa: PLC0415 -- dear, and not needed to parse a DAG

        with create_session() as session:
            rows = session.query(TaskInstance.task_id, TaskInstance.state).filter(
                TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id
            )
            if wanted is not None:
                rows = rows.filter(TaskInstance.task_id.in_(wanted))
            found = {row.task_id: row.state for row in rows}
    return {task_id: _text(found.get(task_id)) for task_id in wanted or found}


def deferred_by(task_instance: TaskTry, trigger_id: int | None) -> bool:
    """
    Whether the task still waits for this very trigger, so that a cancelled trigger was only moved or restarted.

    Airflow 3 does not tell which trigger a task waits for; there a deferred task counts as waiting. Blocks.
    """
    if IS_AIRFLOW_3:
        states = task_states(dag_id=task_instance.dag_id, run_id=task_instance.run_id, task_ids=[task_instance.task_id])
        return states[task_instance.task_id] == "deferred"
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415 -- dear, and not needed to parse a DAG
    from airflow.utils.session import create_session  # noqa: PLC0415 -- dear, and not needed to parse a DAG

    with create_session() as session:
        row = (
            session.query(TaskInstance.state, TaskInstance.trigger_id)
            .filter(
                TaskInstance.dag_id == task_instance.dag_id,
                TaskInstance.run_id == task_instance.run_id,
                TaskInstance.task_id == task_instance.task_id,
                TaskInstance.map_index == task_instance.map_index,
            )
            .one_or_none()
        )
    return row is not None and _text(row.state) == "deferred" and row.trigger_id == trigger_id


def tried_since(task_instance: TaskTry) -> datetime:
    """
    When the present try of a task began; what was built before does not count for a task that a person cleared.

    Airflow 3 gives a task instance a new UUID of version 7, which begins with its time in milliseconds, whenever it is cleared.
    """
    if IS_AIRFLOW_3:
        return datetime.fromtimestamp((task_instance.id.int >> 80) / 1000, tz=UTC)
    started: datetime = task_instance.start_date
    return started


def xcom(*, dag_id: str, run_id: str, task_id: str, key: str) -> object:
    """What a task of a run left under `key`, None if nothing. Blocks; a trigger calls it in a thread."""
    if IS_AIRFLOW_3:
        from airflow.sdk.bases.xcom import BaseXCom  # noqa: PLC0415 -- dear, and not needed to parse a DAG

        return BaseXCom.get_one(key=key, dag_id=dag_id, task_id=task_id, run_id=run_id)
    from airflow.models.xcom import XCom  # noqa: PLC0415 -- dear, and not needed to parse a DAG

    return XCom.get_one(key=key, dag_id=dag_id, task_id=task_id, run_id=run_id)


def variable(key: str) -> str | None:
    """The value of an Airflow variable, None if there is none. Blocks."""
    found: str | None = _variable_class().get(key, default=None) if IS_AIRFLOW_3 else _variable_class().get(key, None)
    return found


def set_variable(key: str, value: str) -> None:
    """Set an Airflow variable. Blocks."""
    _variable_class().set(key, value)


def delete_variable(key: str) -> None:
    """Delete an Airflow variable. Blocks."""
    _variable_class().delete(key)


def _variable_class() -> Any:  # noqa: ANN401 -- of Airflow 2 or 3
    if IS_AIRFLOW_3:
        from airflow.sdk import Variable  # noqa: PLC0415 -- not needed to parse a DAG
    else:
        from airflow.models.variable import Variable  # noqa: PLC0415 -- not needed to parse a DAG
    return Variable


def run_url(dag_id: str, run_id: str) -> str | None:
    """The page of a DAG run; None if Airflow's configuration does not say where its pages are."""
    section = "api" if IS_AIRFLOW_3 else "webserver"
    base = str(conf.get(section, "base_url", fallback="") or "").rstrip("/")
    if not base.startswith("http"):
        return None
    page = f"runs/{quote(run_id, safe='')}" if IS_AIRFLOW_3 else f"grid?dag_run_id={quote(run_id, safe='')}"
    return f"{base}/dags/{dag_id}/{page}"


def _text(state: object) -> str | None:
    # An enumeration of strings in one place, a string in another.
    return None if state is None else str(getattr(state, "value", state))
