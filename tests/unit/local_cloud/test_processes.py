"""Background processes: recorded, found again, ended with all their children."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from local_cloud.processes import ProcessDiedError, Processes, free_port

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
PARENT = [
    sys.executable,
    "-c",
    (
        "import subprocess, sys, time; own = {'process_group': 0} if sys.argv[1:] else {}; "
        "print(subprocess.Popen(['sleep', '600'], **own).pid, flush=True); time.sleep(600)"
    ),
]
LISTENER = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    """The processes of a folder of the test's own."""
    return Processes(tmp_path / "processes")


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("arguments", [[], ["in a group of its own"]], ids=["same group", "own group"])
@pytest.mark.parametrize("first_signal", [signal.SIGTERM, signal.SIGKILL])
def test_stop_ends_the_children_too(
    processes: Processes, tmp_path: Path, arguments: list[str], first_signal: signal.Signals
) -> None:
    """A child that a stopped process leaves behind is ended with it."""
    log = tmp_path / "log"
    parent = processes.start("parent", [*PARENT, *arguments], environment=os.environ, log_file=log)
    while not log.read_text().strip():
        time.sleep(0.01)
    child = int(log.read_text())
    processes.stop("parent", first_signal=first_signal)
    deadline = time.monotonic() + 5
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)

    assert [is_alive(parent), is_alive(child)] == [False, False]


def test_another_program_can_stop_what_was_started(processes: Processes, tmp_path: Path) -> None:
    """The record on disk is enough: who stops need not be who started."""
    pid = processes.start("sleeper", SLEEPER, environment=os.environ, log_file=tmp_path / "log")
    Processes(tmp_path / "processes").stop_all()

    assert not is_alive(pid)
    assert list((tmp_path / "processes").iterdir()) == []


def test_a_reused_process_id_is_left_alone(processes: Processes, tmp_path: Path) -> None:
    """A record whose process id now belongs to another process ends nothing."""
    folder = tmp_path / "processes"
    folder.mkdir()
    (folder / "old.json").write_text(json.dumps({"pid": os.getppid(), "start_ticks": "1", "log_file": "x"}))
    processes.stop("old")

    assert is_alive(os.getppid())
    assert list(folder.iterdir()) == []


def test_rejects_a_second_start_under_one_name(processes: Processes, tmp_path: Path) -> None:
    """A name stands for one process at a time."""
    processes.start("sleeper", SLEEPER, environment=os.environ, log_file=tmp_path / "log")
    try:
        with pytest.raises(RuntimeError, match="'sleeper' is running already"):
            processes.start("sleeper", SLEEPER, environment=os.environ, log_file=tmp_path / "log")
    finally:
        processes.stop_all()


def test_waiting_for_a_port_ends_when_it_listens(processes: Processes, tmp_path: Path) -> None:
    """The wait is over as soon as the process accepts connections."""
    port = free_port()
    processes.start(
        "listener", [sys.executable, "-c", LISTENER, str(port)], environment=os.environ, log_file=tmp_path / "log"
    )
    try:
        processes.wait_for_port("listener", port, timeout_seconds=20)
    finally:
        processes.stop_all()


def test_a_process_that_dies_at_its_start_tells_its_last_words(processes: Processes, tmp_path: Path) -> None:
    """The error of a part that does not come up holds the tail of its log."""
    processes.start(
        "dying",
        [sys.executable, "-c", "raise SystemExit('no licence')"],
        environment=os.environ,
        log_file=tmp_path / "log",
    )

    with pytest.raises(ProcessDiedError, match="no licence"):
        processes.wait_for_port("dying", free_port(), timeout_seconds=20)
