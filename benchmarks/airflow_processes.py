"""What the parts of a local Airflow have taken from the machine, as the kernel counts it."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    parent: int
    cpu_seconds: float
    ended_children_cpu_seconds: float


def cpu_seconds(airflow_folder: Path, part: str, *, with_ended: bool = False) -> float:
    """
    CPU time of a part of Airflow, e.g. `triggerer`, with the processes that it has now; `with_ended` adds those that have ended.

    The scheduler's own only: its children are the executor's workers, and theirs dbt.
    """
    of_process = {process.pid: process for process in _processes()}
    own = of_process[_pid(airflow_folder, part)]
    children = [] if part == "scheduler" else [found for found in of_process.values() if found.parent == own.pid]
    ended = own.ended_children_cpu_seconds if with_ended else 0.0
    return own.cpu_seconds + sum(child.cpu_seconds for child in children) + ended


def peak_memory_mib(airflow_folder: Path, part: str) -> float:
    """The most memory that a part of Airflow and each of its present processes have held, added up; what they share counts for each."""
    pid = _pid(airflow_folder, part)
    pids = [pid, *(process.pid for process in _processes() if process.parent == pid)]
    return sum(_status_kib(found, "VmHWM") for found in pids) / 1024


def _pid(airflow_folder: Path, part: str) -> int:
    pid: int = json.loads((airflow_folder / f"processes/{part}.json").read_text())["pid"]
    return pid


def _status_kib(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _processes() -> Iterator[_Process]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            # proc(5): user and system time, then the same of children that were waited for.
            user, system, children_user, children_system = (int(field) / _TICKS_PER_SECOND for field in fields[11:15])
            yield _Process(int(folder.name), int(fields[1]), user + system, children_user + children_system)
