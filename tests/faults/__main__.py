"""`python -m tests.faults`: seeded trials that disturb real runs, and a table of what came of them."""

import argparse
import os
import queue
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from local_cloud.venvs import install_venv
from tests.faults.faults import FAULTS
from tests.faults.machine import REPOSITORY, AwsEndpoint, Machine
from tests.faults.trial import Plan, Reference, Report, Trial, keep_evidence

_CONSOLE = Console(width=150)


def main() -> int:
    """Run the trials; the exit code is 1 if one of them has found a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--trials", type=int, default=204, help="how many seeds are tried")
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
    reports = _run(seeds, folder, lanes=min(arguments.lanes, len(seeds)), seconds=arguments.seconds)
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


def _run(seeds: list[int], folder: Path, *, lanes: int, seconds: float | None) -> list[Report]:
    """Run the trials of `seeds` in parallel lanes; what a lane raises is raised here."""
    venv = REPOSITORY / ".local-cloud/venvs/emulator"
    python = install_venv(venv, REPOSITORY / "local_cloud/emulator-requirements.txt")
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for seed in seeds:
        waiting.put(seed)
    reports: list[Report] = []
    errors: list[BaseException] = []
    stop_at = None if seconds is None else time.monotonic() + seconds
    with AwsEndpoint(folder / "aws", python=python) as aws:
        # The checks read the record with the runner's own client, past the proxy.
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-west-1",
        }

        def work(name: str) -> None:
            try:
                with Machine(folder / name, aws=aws) as machine:
                    reference = Reference(machine)
                    while not waiting.empty() and not errors and (stop_at is None or time.monotonic() < stop_at):
                        report = Trial(machine, reference, Plan.of(waiting.get())).run()
                        reports.append(report)
                        _print_progress(report, len(reports), len(seeds))
                        run_id = f"seed-{report.plan.seed}"
                        if report.violations:
                            keep_evidence(machine, report, folder / "evidence" / run_id)
                        machine.forget(run_id)
            except BaseException as error:  # noqa: BLE001 - it is raised by the main thread
                errors.append(error)

        threads = [threading.Thread(target=work, args=(f"lane{number}",)) for number in range(lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return reports


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
    for name in ("trials", "attempts hit", "exit codes of disturbed attempts", "resumed", "rebuilt", "violations"):
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
            str(sum(len(report.violations) for report in chosen)),
        )
    _CONSOLE.print(table)


if __name__ == "__main__":
    sys.exit(main())
