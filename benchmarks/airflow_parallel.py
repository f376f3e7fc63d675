"""
Many projects at once on one triggerer: an Airflow whose DAGs follow run records that scripts write at an even pace.

There are no containers: ten would measure how two cores share ten dbt processes. The records come as a container writes them, and
AWS is the stand-in of the DAG's own tests.
"""

import functools
import shutil
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from benchmarks.airflow_database import airflow_database
from benchmarks.airflow_processes import cpu_seconds, peak_memory_mib
from benchmarks.measure import Result, compare
from benchmarks.patience import patiently
from local_cloud.airflow import LocalAirflow
from local_cloud.cloud import DEFAULT_FOLDER, VENVS
from local_cloud.processes import Processes
from local_cloud.progress import Step, Steps
from local_cloud.redshift_stand_in import RedshiftStandIn
from local_cloud.venvs import install_venv
from tests.airflow.deployed import DEPLOYMENT, REPOSITORY_ROOT, graph_node, write_dag_folder
from tests.airflow.fake_aws import FakeAws, FakeContainer

PROJECTS = 10
MODELS = 300
ALONE = "one such run alone"

_FOLDER = DEFAULT_FOLDER / "bench-airflow-parallel"
_VENV = "airflow-cosmos"
_BUILD_SECONDS = 60.0
# What docs and report took a real container of the sample project, and more for more models.
_DOCS_SECONDS = 5.0
_SECONDS_BETWEEN_BATCHES = 0.5
_RUN_SECONDS = 900.0
_PARTS = ("scheduler", "triggerer", "dag-processor")
_FIGURES = (
    "node_lag_median",
    "node_lag_p95",
    "tail",
    "scheduler_cpu",
    "triggerer_cpu",
    "dag_processor_cpu",
    "triggerer_memory",
    "s3_requests",
)


def names(projects: int = PROJECTS, models: int = MODELS) -> list[str]:
    """The figures of so many runs at once."""
    return [f"airflow_parallel_{projects}x{models}_{what}" for what in _FIGURES]


@dataclass(frozen=True, kw_only=True, slots=True)
class Together:
    """What runs that began at the same moment took."""

    lags: Sequence[float]
    tails: Sequence[float]
    cpu_seconds: Mapping[str, float]
    triggerer_memory_mib: float
    s3_requests: int


def measure(steps: Steps) -> Iterator[Result]:
    """Run one project, then all of them at once, each once with a triggerer that has done a run before."""
    with ParallelAirflow(PROJECTS, MODELS, steps=steps) as airflow:
        with steps.step(f"{MODELS} models: first run") as step:
            airflow.run(1, step)
        with steps.step(f"{MODELS} models: one run") as step:
            alone = airflow.run(1, step)
        with steps.step(f"{PROJECTS} x {MODELS} models") as step:
            together = airflow.run(PROJECTS, step)
    yield from results(together, alone)


def results(together: Together, alone: Together) -> Iterator[Result]:
    """The figures of the runs at once, beside those of one run."""

    def result(what: str, unit: str, ours: Sequence[float], other: Sequence[float]) -> Result:
        name = f"airflow_parallel_{PROJECTS}x{MODELS}_{what}"
        return compare(name, unit, ours=ours, other=other, other_name=ALONE)

    yield result("node_lag_median", "s", [statistics.median(together.lags)], [statistics.median(alone.lags)])
    yield result("node_lag_p95", "s", [_p95(together.lags)], [_p95(alone.lags)])
    yield result("tail", "s", [max(together.tails)], [max(alone.tails)])
    for part in _PARTS:
        what = f"{part.replace('-', '_')}_cpu"
        yield result(what, "s", [together.cpu_seconds[part]], [alone.cpu_seconds[part]])
    yield result("triggerer_memory", "MiB", [together.triggerer_memory_mib], [alone.triggerer_memory_mib])
    yield result("s3_requests", "requests", [together.s3_requests], [alone.s3_requests])


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


class ParallelAirflow:
    """An Airflow with `projects` DAGs of `models` models each; a context manager that leaves nothing running."""

    def __init__(self, projects: int, models: int, *, steps: Steps, folder: Path = _FOLDER) -> None:
        self._deployments = [_deployment(number) for number in range(projects)]
        self._unique_ids = [f"model.shop.m{number:04d}" for number in range(models)]
        self._steps = steps
        self._folder = folder
        self._aws = FakeAws()
        self._aws.script = self._script
        self._ended_at: dict[tuple[str, str], float] = {}
        self._container_ended_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._server = RedshiftStandIn(folder / "warehouse", report=_ignore)
        self._airflow: LocalAirflow

    def __enter__(self) -> Self:
        """Start everything; what an earlier, killed run left behind is ended first."""
        self._stop_processes()
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self._aws.close()
        self._stop_processes()

    def run(self, projects: int, step: Step) -> Together:
        """Start a run of the first DAGs at the same moment and wait for all; raises RuntimeError if one is not green."""
        run_id = f"bench-{time.time_ns()}"
        runs = {
            deployment["dag_id"]: f"{run_id}-{deployment['project']}" for deployment in self._deployments[:projects]
        }
        airflow_folder = self._folder / "airflow"
        before = {part: cpu_seconds(airflow_folder, part, with_ended=True) for part in _PARTS}
        reads = self._aws.reads
        for dag_id, name in runs.items():
            patiently(functools.partial(self._airflow.trigger, dag_id, run_id=name))
        for number, (dag_id, name) in enumerate(runs.items()):
            step.say(f"{number} of {projects} runs have ended")
            wait = functools.partial(self._airflow.wait_for_run, dag_id, name, timeout_seconds=_RUN_SECONDS)
            state = patiently(wait)
            if state != "success":
                raise RuntimeError(f"{dag_id} ended {state}, so nothing was measured")
        after = {part: cpu_seconds(airflow_folder, part, with_ended=True) for part in _PARTS}
        s3_requests = self._aws.reads - reads
        lags: list[float] = []
        tails: list[float] = []
        for dag_id, name in runs.items():
            instances = patiently(functools.partial(self._airflow.task_instances, dag_id, name))
            lags += [
                _time(instances[unique_id.rpartition(".")[2]]["end_date"]) - self._ended_at[name, unique_id]
                for unique_id in self._unique_ids
            ]
            run_ended_at = _time(patiently(functools.partial(self._airflow.dag_run, dag_id, name))["end_date"])
            tails.append(run_ended_at - self._container_ended_at[name])
        together = Together(
            lags=lags,
            tails=tails,
            cpu_seconds={part: after[part] - before[part] for part in _PARTS},
            triggerer_memory_mib=peak_memory_mib(airflow_folder, "triggerer"),
            s3_requests=s3_requests,
        )
        step.say(f"lag {statistics.median(lags):.1f} s, p95 {_p95(lags):.1f} s, tail {statistics.median(tails):.1f} s")
        return together

    def _start(self) -> None:
        with self._steps.step(f"Install {VENVS[_VENV]}"):
            venv = DEFAULT_FOLDER / "venvs" / _VENV
            install_venv(venv, REPOSITORY_ROOT / f"local_cloud/{_VENV}-requirements.txt")
        deployed = self._folder / "deployed"
        _empty(deployed)
        _empty(self._folder / "airflow")
        for deployment in self._deployments:
            nodes = [self._node(number) for number in range(len(self._unique_ids))]
            write_dag_folder(deployed, deployment, {"format_version": 1, "project": "shop", "nodes": nodes})
        for file in deployed.rglob("*"):
            if file.is_file():
                self._aws.put("airflow", f"dags/{file.relative_to(deployed).as_posix()}", file.read_bytes())
        with self._steps.step("Start PostgreSQL and Airflow"):
            self._server.start()
            tasks = len(self._deployments) * (len(self._unique_ids) + 3)
            self._airflow = LocalAirflow(
                self._folder / "airflow",
                venv=venv,
                dags_bucket="airflow",
                dags_prefix="dags",
                # One triggerer has room for all tasks that wait, as docs/airflow.md asks for.
                aws_environment={
                    **self._aws.environment,
                    **airflow_database(self._server),
                    "AIRFLOW__TRIGGERER__CAPACITY": str(tasks),
                },
            )
            self._airflow.start()
        with self._steps.step("Airflow finds the DAGs"):
            for deployment in self._deployments:
                patiently(functools.partial(self._airflow.wait_for_dag, deployment["dag_id"], timeout_seconds=120))

    def _node(self, number: int) -> dict[str, Any]:
        parents = sorted({number // 2, number // 3} - {number}) if number >= 3 else []
        return graph_node(self._unique_ids[number], after=tuple(self._unique_ids[parent] for parent in parents))

    def _script(self, container: FakeContainer) -> int:
        """What stands for a container: builds all models, evenly, and makes docs."""
        record = container.record()
        record.start("build", "docs")
        record.plan(*self._unique_ids)
        started = time.monotonic()
        done = 0
        while done < len(self._unique_ids):
            time.sleep(_SECONDS_BETWEEN_BATCHES)
            share = min(1.0, (time.monotonic() - started) / _BUILD_SECONDS)
            batch = self._unique_ids[done : int(share * len(self._unique_ids))]
            if not batch:
                continue
            record.finish_nodes(*batch)
            done += len(batch)
            with self._lock:
                self._ended_at |= {(record.run_id, unique_id): time.time() for unique_id in batch}
        time.sleep(_DOCS_SECONDS)
        exit_code = record.end("success", 0, "all built", {name: {"status": "success"} for name in self._unique_ids})
        with self._lock:
            self._container_ended_at[record.run_id] = time.time()
        return exit_code

    def _stop_processes(self) -> None:
        Processes(self._folder / "airflow/processes").stop_all()
        self._server.stop()


def _deployment(number: int) -> dict[str, Any]:
    project = f"shop{number}"
    family = f"dev-dbt-{project}"
    return DEPLOYMENT | {
        "project": project,
        "dag_id": f"dbt_dev_{project}",
        "task_definition_family": family,
        "task_definition_arn": f"arn:aws:ecs:eu-west-1:111111111111:task-definition/{family}:7",
        "notify": [],
    }


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _ignore(_: str) -> None:
    """Say nothing: the step's own line is enough."""
