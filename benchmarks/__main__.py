"""`python -m benchmarks [--only NAME…] [--repeat N]`: measures, prints a table while it goes, writes benchmarks/results.json."""

import argparse
import os
import signal
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType

from rich.table import Table

from benchmarks.cloud import BenchCloud
from benchmarks.figures import FIGURES, Bench, Figure
from benchmarks.measure import Result, write_results
from local_cloud.progress import Steps

RESULTS_FILE = Path(__file__).parent / "results.json"
_EXIT_INTERRUPTED = 130


def main() -> int:
    """Measure what was asked for; returns the exit code."""
    names = [name for figure in FIGURES for name in figure.names]
    parser = argparse.ArgumentParser(
        prog="benchmarks", description="Speed and size, side by side.", epilog=f"Names: {', '.join(names)}"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", default=["*"], help="figures to measure; may have * in them"
    )
    parser.add_argument("--repeat", type=int, metavar="N", default=5, help="runs of each side, in turn (default 5)")
    arguments = parser.parse_args()
    unknown = [pattern for pattern in arguments.only if not any(fnmatchcase(name, pattern) for name in names)]
    if unknown or arguments.repeat < 1:
        parser.error(f"no such figure: {', '.join(unknown)}" if unknown else "--repeat must be at least 1")
    for signal_ in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_, _interrupt)
    chosen = [
        figure
        for figure in FIGURES
        if any(fnmatchcase(name, pattern) for name in figure.names for pattern in arguments.only)
    ]
    try:
        _measure(chosen, repeat=arguments.repeat)
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing is left running, and what was measured is written\n")
        return _EXIT_INTERRUPTED
    return 0


def _measure(figures: list[Figure], *, repeat: int) -> None:
    results: list[Result] = []
    with Steps() as steps, BenchCloud(steps) as cloud:
        bench = Bench(cloud, steps, repeat=repeat)
        for figure in figures:
            measured: list[Result] = []
            for result in figure.measure(bench):
                measured.append(result)
                # At once: who stops a long one keeps what it has.
                write_results(RESULTS_FILE, measured)
            steps.console.print(_table(measured))
            results += measured
        steps.console.print(_table(results))


def _table(results: list[Result]) -> Table:
    table = Table("figure", "unit")
    for title in ("ours", "spread", "other", "spread", "ratio"):
        table.add_column(title, justify="right")
    for result in results:
        table.add_row(
            result.name,
            result.unit,
            _number(result.ours),
            _spread(result.ours_spread),
            _number(result.other),
            _spread(result.other_spread),
            "" if result.ratio is None else f"{result.ratio:.2f}",
        )
    return table


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def _spread(spread: tuple[float, float] | None) -> str:
    return "" if spread is None or spread[0] == spread[1] else f"{_number(spread[0])}-{_number(spread[1])}"


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    exit_code = main()
    if exit_code == _EXIT_INTERRUPTED:
        # jsii's Node process has had the same Ctrl-C, and its farewell at exit would fail with a traceback.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)
