"""Spares the triggerer of Airflow 3.3 what tasks of this package have no use for: their DAG at the start, a callback at the end."""

import importlib
import inspect
import logging
import sys
from collections.abc import Callable
from typing import Any

from airflow import __version__ as airflow_version
from airflow.plugins_manager import AirflowPlugin

_PACKAGE = __name__.rpartition(".")[0]
_SERIES = "3.3."
_TRIGGERER_MODULE = "airflow.jobs.triggerer_job_runner"
_SINK_MODULE = "airflow.callbacks.database_callback_sink"
_PARAMETERS = ("self", "trigger", "dag_bag", "render_log_fname", "session")
_SINK_PARAMETERS = ("self", "callback", "session")

_log = logging.getLogger(__name__)


class _NoDags:
    """Stands for the triggerer's DAGs: Airflow starts a trigger whose DAG it does not find like that of any deferred task."""

    def get_serialized_dag_model_for_run(self, *_: object, **__: object) -> None:
        """No DAG."""

    def get_serialized_dag_model(self, *_: object, **__: object) -> None:
        """No DAG."""


def start_triggers_without_their_dag() -> bool:
    """
    Make this process start the triggers of this package without their DAG; returns whether it does so from now on.

    For a task that starts in the triggerer, Airflow 3.3 reads the whole DAG from its database, deserializes it, sends it to the
    process that runs the triggers and deserializes it there once more, to render templated arguments. These triggers have none, and
    with a task for each model the cost would grow with the square of their number. Does nothing in processes that are no triggerer,
    in Airflow of another series, and where Airflow's method is not the one that is known.
    """
    triggerer = sys.modules.get(_TRIGGERER_MODULE)
    if triggerer is None or not airflow_version.startswith(_SERIES):
        return False
    supervisor = triggerer.TriggerRunnerSupervisor
    original = _known_method(supervisor, "_create_workload", _PARAMETERS)
    if original is None:
        return False

    def create_workload(
        self: object,
        trigger: Any,  # noqa: ANN401 -- Airflow's model
        dag_bag: object,
        render_log_fname: object,
        session: object,
    ) -> object:
        if trigger.classpath.startswith(f"{_PACKAGE}."):
            dag_bag = _NoDags()
        return original(self, trigger=trigger, dag_bag=dag_bag, render_log_fname=render_log_fname, session=session)

    supervisor._create_workload = create_workload  # noqa: SLF001 -- there is no public way
    return True


def queue_no_callbacks_of_success() -> bool:
    """
    Queue no callback when a task of this package ends well in this triggerer; returns whether that is so from now on.

    Airflow 3.3 queues one for each task that its triggerer ends, whether the task has callbacks or not. Its DAG processor then parses
    the DAG's file, for up to twenty of them at a time, only to find that those of success are none of its business
    (`_execute_task_callbacks`). Callbacks of failure are queued as ever. Does nothing where `start_triggers_without_their_dag` does not.
    """
    if _TRIGGERER_MODULE not in sys.modules or not airflow_version.startswith(_SERIES):
        return False
    sink = importlib.import_module(_SINK_MODULE).DatabaseCallbackSink
    original = _known_method(sink, "send", _SINK_PARAMETERS)
    if original is None:
        return False

    def send(self: object, callback: Any, **kwargs: object) -> None:  # noqa: ANN401 -- Airflow's
        is_of_success = str(getattr(callback, "task_callback_type", None)) == "success"
        if not (is_of_success and f"{_PACKAGE}_" in callback.filepath):
            original(self, callback, **kwargs)

    sink.send = send
    return True


def _known_method(owner: type, name: str, parameters: tuple[str, ...]) -> Callable[..., object] | None:
    found: Callable[..., object] | None = getattr(owner, name, None)
    if found is not None and tuple(inspect.signature(found).parameters) == parameters:
        return found
    _log.warning("this triggerer is not as expected: large dbt projects show late, see docs/airflow.md")
    return None


class DbtOnFargatePlugin(AirflowPlugin):
    """What Airflow loads; found through the `.dist-info` folder that lies beside this package in the DAG folder."""

    name = _PACKAGE

    @classmethod
    def on_load(cls, *_: object, **__: object) -> None:
        """Called by Airflow once in each process."""
        start_triggers_without_their_dag()
        queue_no_callbacks_of_success()
