"""`python -m tests.faults`: seeded trials that disturb real runs, and a table of what came of them."""

import argparse
import os
import queue
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from rich.console import Console
from rich.table import Table

from local_cloud.venvs import install_venv
from tests.faults.checks import Reference
from tests.faults.faults import FAULTS
from tests.faults.machine import REPOSITORY, AwsEndpoint, Machine
from tests.faults.trial import Plan, Report, Trial, keep_evidence, make_reference

_CONSOLE = Console(width=150)


def main() -> int:
    """Run the trials; the exit code is 1 if one of them has found a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--trials", type=int, default=228, help="how many seeds are tried")
    parser.add_argument("--seconds", type=float, help="begin no further trial after so long")
    parser.add_argument("--seed", type=int, help="replay the one trial of this seed")
    parser.add_argument("--first-seed", type=int, default=int(time.time()), help="where the seeds begin (the clock)")
    parser.add_argument("--lanes", type=int, default=2, help="how many trials run at once")
    parser.add_argument("--folder", type=Path, help="where to work and to keep the evidence (a temporary folder)")
    arguments = parser.parse_args()
    first = arguments.first_seed if arguments.seed is None else arguments.seed
    seeds = [first] if arguments.seed is not None else list(range(first, first + arguments.trials))
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="faults-"))).absolute()
    started = time.monotonic()
    work = _Lanes(seeds, folder, seconds=arguments.seconds)
    work.run(min(arguments.lanes, len(seeds)))
    reports = work.reports
    _print_table(reports, time.monotonic() - started)
    failed = [report for report in reports if report.violations]
    for report in failed:
        _CONSOLE.print(f"\n{report.plan}\n  exit codes {report.exit_codes}", markup=False)
        for violation in report.violations:
            _CONSOLE.print(f"  violation: {violation}", markup=False)
        _CONSOLE.print(f"  replay: make test-faults SEED={report.plan.seed}", markup=False)
    if failed:
        _CONSOLE.print(f"\nthe evidence is in {folder / 'evidence'}", markup=False)
    elif arguments.folder is None:
        shutil.rmtree(folder)
    return 1 if failed or not reports else 0


class _Lanes:
    """Trials that run side by side, each lane on a machine of its own."""

    def __init__(self, seeds: list[int], folder: Path, *, seconds: float | None) -> None:
        self.reports: list[Report] = []
        self._folder = folder
        self._count = len(seeds)
        self._errors: list[BaseException] = []
        self._stop_at = None if seconds is None else time.monotonic() + seconds
        self._waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for seed in seeds:
            self._waiting.put(seed)

    def run(self, lanes: int) -> None:
        """Run all trials; what a lane raises is raised here, once the others have ended in order."""
        venv = REPOSITORY / ".local-cloud/venvs/emulator"
        python = install_venv(venv, REPOSITORY / "local_cloud/emulator-requirements.txt")
        with AwsEndpoint(self._folder / "aws", python=python) as aws:
            # The checks read the record with the runner's own client, past the proxy.
            os.environ |= {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.port}",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "eu-west-1",
            }
            # Not Thread.join, which before Python 3.13 takes a thread for ended when Ctrl-C comes while it waits.
            with ThreadPoolExecutor(max_workers=lanes) as pool:
                work = [pool.submit(self._work, f"lane{number}", aws) for number in range(lanes)]
                try:
                    wait(work)
                except KeyboardInterrupt:
                    # The trials under way end in order, and what is known by then is told.
                    self._stop_at = time.monotonic()
        if self._errors:
            raise self._errors[0]

    def _work(self, name: str, aws: AwsEndpoint) -> None:
        try:
            with Machine(self._folder / name, aws=aws) as machine:
                reference = make_reference(machine)
                while self._goes_on():
                    self._try(machine, reference, Plan.of(self._waiting.get_nowait()))
        except queue.Empty:
            # Another lane has taken the last one.
            return
        except BaseException as error:  # noqa: BLE001 - it is raised by the main thread
            self._errors.append(error)

    def _goes_on(self) -> bool:
        is_late = self._stop_at is not None and time.monotonic() > self._stop_at
        return not (self._waiting.empty() or self._errors or is_late)

    def _try(self, machine: Machine, reference: Reference, plan: Plan) -> None:
        report = Trial(machine, reference, plan).run()
        self.reports.append(report)
        _print_progress(report, len(self.reports), self._count)
        if report.violations:
            keep_evidence(machine, report, self._folder / "evidence" / f"seed-{plan.seed}")
        machine.forget(f"seed-{plan.seed}")


def _print_progress(report: Report, number: int, total: int) -> None:
    verdict = f"{len(report.violations)} VIOLATIONS" if report.violations else "ok"
    codes = ",".join("-" if code is None else str(code) for code in report.exit_codes)
    _CONSOLE.print(
        f"{number:4d}/{total} {verdict:4} exit {codes:10} {report.seconds:5.1f} s  {report.plan}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _print_table(reports: list[Report], seconds: float) -> None:
    table = Table(title=f"{len(reports)} trials in {seconds:.0f} s")
    table.add_column("first fault")
    for name in (
        "trials",
        "attempts hit",
        "exit codes of disturbed attempts",
        "resumed",
        "rebuilt",
        "oldest event",
        "violations",
    ):
        table.add_column(name, justify="left" if name.startswith("exit") else "right")
    for fault in (*FAULTS, "all"):
        chosen = [report for report in reports if fault in {report.plan.faults[0][0], "all"}]
        if not chosen:
            continue
        codes = Counter("-" if code is None else str(code) for report in chosen for code in report.exit_codes[:-1])
        table.add_row(
            fault,
            str(len(chosen)),
            str(sum(report.hits for report in chosen)),
            ", ".join(f"{code}: {count}" for code, count in sorted(codes.items())),
            str(sum(report.resumed for report in chosen)),
            str(sum(report.rebuilt for report in chosen)),
            f"{max(report.slowest_event_seconds for report in chosen):.1f} s",
            str(sum(len(report.violations) for report in chosen)),
        )
    _CONSOLE.print(table)


if __name__ == "__main__":
    sys.exit(main())
