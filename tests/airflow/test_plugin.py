"""The plugin that spares Airflow 3.3's triggerer the DAG and the callback of each task."""

import importlib
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from dbt_on_fargate import compat, plugin


class Supervisor:
    """The part of Airflow's triggerer that matters; returns what it was given as the triggerer's DAGs."""

    def _create_workload(self, trigger: object, dag_bag: object, render_log_fname: object, session: object) -> object:  # noqa: ARG002 -- Airflow's
        return dag_bag


class Sink:
    """The part of Airflow's callback sink that matters."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    def send(self, callback: object, *, session: object = None) -> None:  # noqa: ARG002 -- Airflow's
        """Keep it."""
        self.sent.append(callback)


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> type[Sink]:
    """The callback sink of a triggerer of Airflow 3.3."""

    class Fresh(Sink):
        send = Sink.send

    module = "airflow.callbacks.database_callback_sink"
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(DatabaseCallbackSink=Fresh))
    return Fresh


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch, sink: type[Sink]) -> type[Supervisor]:
    """A triggerer of Airflow 3.3 with its callback sink, whatever Airflow the tests run in."""

    class Fresh(Supervisor):
        _create_workload = Supervisor._create_workload

    triggerer = SimpleNamespace(TriggerRunnerSupervisor=Fresh)
    monkeypatch.setitem(sys.modules, "airflow.jobs.triggerer_job_runner", triggerer)
    monkeypatch.setattr(plugin, "airflow_version", "3.3.2")
    return Fresh


def dags_given(supervisor: type[Supervisor], classpath: str) -> Any:  # noqa: ANN401 -- theirs or ours
    """The DAGs that Airflow's method is given for a trigger; "all" are Airflow's own."""
    return supervisor()._create_workload(
        trigger=SimpleNamespace(classpath=classpath), dag_bag="all", render_log_fname=None, session=None
    )


def test_knows_the_triggerer_of_this_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow 3.3's method is the one that the plugin was written for: a change is seen here. Airflow 2 needs no help."""
    triggerer: Any = importlib.import_module("airflow.jobs.triggerer_job_runner")
    if compat.IS_AIRFLOW_3:
        # Put back when the test ends.
        original = triggerer.TriggerRunnerSupervisor._create_workload
        monkeypatch.setattr(triggerer.TriggerRunnerSupervisor, "_create_workload", original)

    assert plugin.start_triggers_without_their_dag() is compat.IS_AIRFLOW_3


def test_own_triggers_start_without_their_dag(supervisor: type[Supervisor]) -> None:
    """A DAG of many models is neither read nor deserialized for each of them; triggers of others get what they need."""
    plugin.DbtOnFargatePlugin.on_load()

    assert dags_given(supervisor, "dbt_on_fargate_other.triggers.NodeTrigger") == "all"
    own = dags_given(supervisor, "dbt_on_fargate.triggers.NodeTrigger")
    assert own.get_serialized_dag_model_for_run("run", session=None) is None
    assert own.get_serialized_dag_model(version_id="1", session=None) is None


@pytest.mark.parametrize("version", ["2.11.2", "3.2.1", "3.4.0"])
def test_leaves_other_airflows_alone(
    supervisor: type[Supervisor], monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """What was not tried is not touched: models of large projects show later there, and that is all."""
    monkeypatch.setattr(plugin, "airflow_version", version)

    assert not plugin.start_triggers_without_their_dag()
    assert dags_given(supervisor, "dbt_on_fargate.triggers.NodeTrigger") == "all"


def test_leaves_a_process_that_is_no_triggerer_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler or API server that has the DAG folder on its path loads the plugin, and nothing comes of it."""
    monkeypatch.delitem(sys.modules, "airflow.jobs.triggerer_job_runner", raising=False)

    assert not plugin.start_triggers_without_their_dag()
    assert "airflow.jobs.triggerer_job_runner" not in sys.modules


def test_leaves_an_unknown_method_alone(supervisor: type[Supervisor], caplog: pytest.LogCaptureFixture) -> None:
    """A method with other parameters is not called blindly, and the log says so."""

    def changed(self: object, trigger: object) -> None:
        """Not Airflow 3.3's."""

    supervisor._create_workload = changed  # type: ignore[assignment, method-assign]

    assert not plugin.start_triggers_without_their_dag()
    assert supervisor._create_workload is changed  # type: ignore[comparison-overlap]  # as it was set above
    assert "not as expected" in caplog.text


@pytest.mark.parametrize(
    ("filepath", "kind", "is_sent"),
    [
        ("dbt_on_fargate_shop/dag.py", "success", False),
        ("by-git/dbt_on_fargate_shop/dag.py", "success", False),
        ("dbt_on_fargate_shop/dag.py", "failed", True),
        ("dbt_on_fargate_shop/dag.py", None, True),
        ("another.py", "success", True),
    ],
)
def test_only_own_callbacks_of_success_are_left_out(
    supervisor: type[Supervisor], sink: type[Sink], filepath: str, kind: str | None, *, is_sent: bool
) -> None:
    """The DAG processor would do nothing with them but parse the file; those of failures and of other DAGs reach it."""
    assert plugin.queue_no_callbacks_of_success()
    airflows = sink()
    airflows.send(SimpleNamespace(filepath=filepath, task_callback_type=kind), session=None)

    assert len(airflows.sent) == is_sent


def test_knows_the_callback_sink_of_this_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow 3.3's method is the one that the plugin was written for, and its DAG processor still leaves callbacks of success alone."""
    importlib.import_module("airflow.jobs.triggerer_job_runner")
    if compat.IS_AIRFLOW_3:
        real: Any = importlib.import_module("airflow.callbacks.database_callback_sink").DatabaseCallbackSink
        # Put back when the test ends.
        monkeypatch.setattr(real, "send", real.send)
        processor: Any = importlib.import_module("airflow.dag_processing.processor")
        said: list[str] = []
        log = SimpleNamespace(warning=lambda words, **_: said.append(words), error=None)
        instance = SimpleNamespace(dag_id="dag", run_id="run", task_id="task", id=1)
        request = SimpleNamespace(is_failure_callback=False, ti=instance, task_callback_type="success")
        # Without a DAG bag: it may not even look.
        processor._execute_task_callbacks(None, request, log)
        assert said == ["Task callback requested but is not a failure callback"]

    assert plugin.queue_no_callbacks_of_success() is compat.IS_AIRFLOW_3
