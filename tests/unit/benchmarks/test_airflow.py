"""How runs of DAGs become figures."""

from pathlib import Path
from typing import Self

import pytest

from benchmarks import airflow
from benchmarks.airflow_cloud import DagRun
from local_cloud.progress import Step, Steps

WALL_SECONDS = {"dbt_bench": 12.0, "cosmos_watcher": 40.0, "cosmos_local": 110.0}


class FakeAttempt:
    """The run record of two models that ended a second before their tasks."""

    events = (
        {"type": "node_finished", "step": "build", "unique_id": "model.p.m1", "t": "1970-01-01T00:01:38+00:00"},
        {"type": "node_finished", "step": "build", "unique_id": "model.p.m2", "t": "1970-01-01T00:01:38+00:00"},
        {"type": "run_finished", "t": "1970-01-01T00:01:39+00:00"},
    )


class FakeRecords:
    """Knows every run."""

    def attempt(self, run_id: str) -> FakeAttempt:
        """Its record."""
        assert run_id == "dbt_bench run"
        return FakeAttempt()


class FakeDeployed:
    """A project whose DAG is `dbt_bench`."""

    dag_id = "dbt_bench"
    records = FakeRecords()


class FakeCloud:
    """Runs that take what `WALL_SECONDS` says and end 100 s after the epoch; dbt alone takes 10 s."""

    deployed = FakeDeployed()
    dag_file = Path("dag.py")

    def __init__(self, models: int, *, steps: Steps) -> None:
        self.models, self.steps = models, steps

    def __enter__(self) -> Self:
        """Nothing to start."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to stop."""

    def dbt_build(self) -> float:
        """Seconds."""
        return 10.0

    def cosmos_dag_id(self, mode: str) -> str:
        """As the real one."""
        return f"cosmos_{mode}"

    def cosmos_dag_file(self, mode: str) -> Path:
        """As the real one."""
        return Path(mode)

    def parse_milliseconds(self, file: Path) -> float:
        """Milliseconds."""
        return 30.0 if file == self.dag_file else 60.0

    def run(self, dag_id: str, step: Step) -> DagRun:  # noqa: ARG002 - as the real one
        """A run."""
        return DagRun(
            wall_seconds=WALL_SECONDS[dag_id],
            worker_processes=1,
            scheduler_cpu_seconds=1.0,
            triggerer_cpu_seconds=1.0,
            s3_requests=9,
            ended_at=100.0,
            task_ends={"m1": 99.0, "m2": 99.0, "dbt_producer_watcher": 90.0},
            run_id=f"{dag_id} run",
        )


def measured(models: int) -> dict[str, tuple[float, float | None]]:
    """Ours and the other's value of each figure."""
    with Steps() as steps:
        found = [
            *airflow.measure(models, repeat=1, steps=steps),
            *airflow.measure_local(models, steps=steps),
        ]
    return {result.name: (result.ours, result.other) for result in found}


@pytest.fixture(autouse=True)
def fake_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started."""
    monkeypatch.setattr(airflow, "AirflowCloud", FakeCloud)


@pytest.fixture
def results() -> dict[str, tuple[float, float | None]]:
    """The figures of 50 models."""
    return measured(50)


@pytest.mark.parametrize("models", airflow.SIZES)
def test_gives_every_figure_that_it_names(models: int) -> None:
    """`make bench ONLY=…` takes the names from a list; each of them is measured."""
    assert sorted(measured(models)) == sorted(airflow.names(models) + airflow.local_names(models))


def test_overhead_is_what_a_run_takes_beyond_dbt_alone(results: dict[str, tuple[float, float | None]]) -> None:
    """The time of dbt itself is the same for all, so it is left out of the comparison."""
    assert results["airflow_overhead_50"] == (2.0, 30.0)
    assert results["airflow_cosmos_local_overhead_50"] == (2.0, 100.0)
    assert results["airflow_cosmos_local_wall_50"] == (12.0, 110.0)


def test_lag_and_tail_are_told_from_the_run_record(results: dict[str, tuple[float, float | None]]) -> None:
    """The lag is from dbt's end of a model to Airflow's; the tail from the last event, or Cosmos' dbt task, to the run's end."""
    assert results["airflow_node_lag_median_50"] == (1.0, None)
    assert results["airflow_tail_50"] == (1.0, 10.0)
