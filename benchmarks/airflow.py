"""The figures of Airflow: this product's DAG beside Astronomer Cosmos, in the same Airflow, on the same database."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from benchmarks.airflow_cloud import AirflowCloud, DagRun
from benchmarks.measure import Result, compare
from local_cloud.progress import Step, Steps

WATCHER = "Cosmos watcher"
LOCAL = "Cosmos local"
SIZES = (50, 300)
# Cosmos takes minutes for a run of 300 models.
_MOST_RUNS = 3
_PARSES = 5
_PER_SIZE = (
    "overhead",
    "wall",
    "dbt_alone",
    "worker_processes",
    "scheduler_cpu",
    "triggerer_cpu",
    "node_lag_median",
    "node_lag_p95",
    "tail",
    "s3_requests",
    "dag_parse_milliseconds",
)
_LOCAL_PER_SIZE = ("overhead", "wall", "worker_processes")


def names(models: int) -> list[str]:
    """The figures of a project of so many models."""
    return [f"airflow_{what}_{models}" for what in _PER_SIZE]


def local_names(models: int) -> list[str]:
    """The figures of a project of so many models beside Cosmos' default mode."""
    return [f"airflow_cosmos_local_{what}_{models}" for what in _LOCAL_PER_SIZE]


@dataclass
class _Series:
    """What was measured, a value for each run."""

    dbt: list[float] = field(default_factory=list)
    ours: list[DagRun] = field(default_factory=list)
    watcher: list[DagRun] = field(default_factory=list)
    lags: list[list[float]] = field(default_factory=list)
    tails: list[float] = field(default_factory=list)
    watcher_tails: list[float] = field(default_factory=list)


def measure(models: int, *, repeat: int, steps: Steps) -> Iterator[Result]:
    """Deploy a project of so many models, run it in turn by dbt alone, by this product and by Cosmos, and compare."""
    series = _Series()
    runs = min(repeat, _MOST_RUNS)
    with AirflowCloud(models, steps=steps) as cloud:
        # What a triggerer or a parse cache needs once is not what a run takes.
        with steps.step(f"{models} models: first run of dbt alone"):
            cloud.dbt_build()
        with steps.step(f"{models} models: first run of ours") as step:
            cloud.run(cloud.deployed.dag_id, step)
        for number in range(1, runs + 1):
            with steps.step(f"{models} models: {number} of {runs}") as step:
                series.dbt.append(cloud.dbt_build())
                _run_ours(cloud, series, step)
                run = cloud.run(cloud.cosmos_dag_id("watcher"), step)
                series.watcher.append(run)
                series.watcher_tails.append(run.ended_at - run.task_ends["dbt_producer_watcher"])
                step.say(
                    f"dbt alone {series.dbt[-1]:.1f} s, ours {series.ours[-1].wall_seconds:.1f} s, "
                    f"watcher {run.wall_seconds:.1f} s"
                )
        with steps.step(f"{models} models: parse the DAG files"):
            files = cloud.dag_file, cloud.cosmos_dag_file("watcher")
            parses = [[cloud.parse_milliseconds(file) for _ in range(_PARSES)] for file in files]
        yield from _results(models, series, parses)


def measure_local(models: int, *, steps: Steps) -> Iterator[Result]:
    """
    Run a project of so many models once by dbt alone, once by this product and once by Cosmos in its default mode, and compare.

    Once, and apart from the other figures, because that mode starts a dbt process for each model, which takes two cores a quarter of an hour for 300, and longer when they do other work.
    """
    series = _Series()
    with AirflowCloud(models, steps=steps) as cloud:
        with steps.step(f"{models} models: first run of dbt alone"):
            cloud.dbt_build()
        with steps.step(f"{models} models: first run of ours") as step:
            cloud.run(cloud.deployed.dag_id, step)
        with steps.step(f"{models} models: once each, Cosmos local last") as step:
            series.dbt.append(cloud.dbt_build())
            _run_ours(cloud, series, step)
            (ours,) = series.ours
            local = cloud.run(cloud.cosmos_dag_id("local"), step)
            step.say(
                f"dbt alone {series.dbt[0]:.1f} s, ours {ours.wall_seconds:.1f} s, local {local.wall_seconds:.1f} s"
            )
    values = (
        (*_overheads(series, [ours]), *_overheads(series, [local])),
        (ours.wall_seconds, local.wall_seconds),
        (ours.worker_processes, local.worker_processes),
    )
    for name, unit, (our, other) in zip(local_names(models), ("s", "s", "processes"), values, strict=True):
        yield compare(name, unit, ours=[our], other=[other], other_name=LOCAL)


def _overheads(series: _Series, runs: Sequence[DagRun]) -> list[float]:
    dbt = statistics.median(series.dbt)
    return [run.wall_seconds - dbt for run in runs]


def _run_ours(cloud: AirflowCloud, series: _Series, step: Step) -> None:
    run = cloud.run(cloud.deployed.dag_id, step)
    attempt = cloud.deployed.records.attempt(run.run_id)
    if attempt is None:
        raise RuntimeError(f"run {run.run_id} left no record")
    ends = {
        event["unique_id"].rpartition(".")[2]: datetime.fromisoformat(event["t"]).timestamp()
        for event in attempt.events
        if event["type"] == "node_finished" and event["unique_id"].startswith("model.") and event["step"] == "build"
    }
    lags = [run.task_ends[name] - ended for name, ended in ends.items()]
    (container_end,) = [event["t"] for event in attempt.events if event["type"] == "run_finished"]
    series.ours.append(run)
    series.lags.append(lags)
    series.tails.append(run.ended_at - datetime.fromisoformat(container_end).timestamp())


def _results(models: int, series: _Series, parses: Sequence[Sequence[float]]) -> Iterator[Result]:
    ours, watcher = series.ours, series.watcher

    def result(what: str, unit: str, our: Sequence[float], other: Sequence[float] = ()) -> Result:
        return compare(f"airflow_{what}_{models}", unit, ours=our, other=other, other_name=WATCHER)

    yield result("overhead", "s", _overheads(series, ours), _overheads(series, watcher))
    yield result("wall", "s", [run.wall_seconds for run in ours], [run.wall_seconds for run in watcher])
    yield result("dbt_alone", "s", series.dbt)
    for what, unit, attribute in (
        ("worker_processes", "processes", "worker_processes"),
        ("scheduler_cpu", "s", "scheduler_cpu_seconds"),
        ("triggerer_cpu", "s", "triggerer_cpu_seconds"),
    ):
        yield result(
            what, unit, [getattr(run, attribute) for run in ours], [getattr(run, attribute) for run in watcher]
        )
    yield result("node_lag_median", "s", [statistics.median(lags) for lags in series.lags])
    yield result("node_lag_p95", "s", [statistics.quantiles(lags, n=20)[-1] for lags in series.lags])
    yield result("tail", "s", series.tails, series.watcher_tails)
    yield result("s3_requests", "requests", [run.s3_requests for run in ours])
    yield result("dag_parse_milliseconds", "ms", parses[0], parses[1])
