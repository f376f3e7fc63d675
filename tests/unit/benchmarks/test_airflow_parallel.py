"""How runs of many projects at once become figures."""

from benchmarks import airflow_parallel
from benchmarks.airflow_parallel import Together


def together(*, lag: float, tails: list[float]) -> Together:
    """Runs of which each node was seen `lag` seconds late."""
    return Together(
        lags=[lag] * 20,
        tails=tails,
        cpu_seconds={"scheduler": 3.0, "triggerer": 2.0, "dag-processor": 1.0},
        triggerer_memory_mib=400.0,
        s3_requests=90,
    )


def test_gives_every_figure_that_it_names() -> None:
    """Each name that `make bench ONLY=…` takes has a value, beside that of one run."""
    found = list(airflow_parallel.results(together(lag=2.0, tails=[3.0, 4.0]), together(lag=1.0, tails=[2.0])))

    assert [result.name for result in found] == airflow_parallel.names()
    assert {result.other_name for result in found} == {"one such run alone"}


def test_tail_is_that_of_the_slowest_run() -> None:
    """Ten runs are as good as the one that is served last."""
    found = airflow_parallel.results(together(lag=2.0, tails=[3.0, 4.0, 3.5]), together(lag=1.0, tails=[2.0]))
    (tail,) = [result for result in found if result.name == "airflow_parallel_10x300_tail"]

    assert (tail.ours, tail.other, tail.ratio) == (4.0, 2.0, 2.0)
