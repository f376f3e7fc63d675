"""What processes have taken, read from the kernel."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.airflow_processes import cpu_seconds, peak_memory_mib

BUSY = "sum(range(30_000_000))"


@pytest.fixture
def airflow_folder(tmp_path: Path) -> Iterator[Path]:
    """An Airflow whose `triggerer` has a child at work and one that has ended, each of which worked for a while."""
    script = f"import subprocess, sys, time; work = [sys.executable, '-c', {BUSY!r}]; subprocess.run(work)"
    child = f"import time; {BUSY}; print(flush=True); time.sleep(60)"
    script += f"; child = subprocess.Popen([sys.executable, '-c', {child!r}]); child.wait()"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    (tmp_path / "processes").mkdir()
    (tmp_path / "processes/triggerer.json").write_text(json.dumps({"pid": process.pid}))
    assert process.stdout is not None
    process.stdout.readline()
    yield tmp_path
    os.killpg(process.pid, 9)
    process.communicate()


def test_children_count_and_ended_ones_if_asked_for(airflow_folder: Path) -> None:
    """A part of Airflow is its process and those that it keeps; what it started and ended is told apart."""
    now = cpu_seconds(airflow_folder, "triggerer")
    with_ended = cpu_seconds(airflow_folder, "triggerer", with_ended=True)

    assert now > 0.05
    assert with_ended > now + 0.05


def test_memory_is_that_of_all_processes(airflow_folder: Path) -> None:
    """Two Pythons hold more than one."""
    assert 10 < peak_memory_mib(airflow_folder, "triggerer") < 500
