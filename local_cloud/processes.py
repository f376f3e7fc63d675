"""Background processes that are recorded on disk, so that whoever comes next can end them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_STOP_GRACE_SECONDS = 10.0


class ProcessDiedError(RuntimeError):
    """A background process ended before it was ready; the message ends with the tail of its log."""


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _start_ticks(pid: int) -> str | None:
    """When the process started, in clock ticks since boot (proc(5), field 22); None if there is no such process."""
    fields = _status(pid)
    return None if fields is None else fields[19]


def _status(pid: int) -> list[str] | None:
    """The fields of proc(5) from the third on; None if there is no such process, or only what is left of it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the command in parentheses and may itself hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields


class Processes:
    """
    The background processes of one folder.

    Each is the leader of a session of its own, so that Ctrl-C in a terminal reaches only the program that ends them in order.
    `<folder>/<name>.json` records it; a record whose process id was taken over by another process is recognised by its start time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        log_file: Path,
        user: str | None = None,
        working_folder: Path | None = None,
    ) -> int:
        """
        Start `command` in the background with exactly `environment`, its output appended to `log_file`; returns the process id.

        `working_folder` exists; default: the one of this process.
        """
        if self.is_running(name):
            raise RuntimeError(f"process {name!r} is running already; stop it first")
        self._folder.mkdir(parents=True, exist_ok=True)
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            process = subprocess.Popen(
                [str(part) for part in command],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                cwd=working_folder,
            )
        record = {"pid": process.pid, "start_ticks": _start_ticks(process.pid), "log_file": str(log_file)}
        self._record_file(name).write_text(json.dumps(record))
        return process.pid

    def is_running(self, name: str) -> bool:
        """Whether the recorded process still is the one that was started."""
        return self._pid(name) is not None

    def wait_for_port(self, name: str, port: int, *, timeout_seconds: float) -> None:
        """
        Return as soon as `port` on loopback accepts a connection.

        Raises ProcessDiedError when the process ends or stays silent for `timeout_seconds`.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            self.check(name)
            time.sleep(0.05)
        raise ProcessDiedError(
            f"{name} did not listen on port {port} within {timeout_seconds:.0f} s:\n{self._log_tail(name)}"
        )

    def check(self, name: str) -> None:
        """Raise ProcessDiedError if the process is no longer there."""
        if not self.is_running(name):
            raise ProcessDiedError(f"{name} ended at its start:\n{self._log_tail(name)}")

    def stop(self, name: str, *, first_signal: signal.Signals = signal.SIGTERM) -> None:
        """End the process and its whole session; a process that is gone already is no error."""
        pid = self._pid(name)
        if pid is not None:
            _signal_group(pid, first_signal)
            deadline = time.monotonic() + _STOP_GRACE_SECONDS
            while time.monotonic() < deadline and self._pid(name) is not None:
                _reap(pid)
                time.sleep(0.02)
            _signal_group(pid, signal.SIGKILL)
            _kill_rest_of_session(pid)
            _reap(pid)
        self._record_file(name).unlink(missing_ok=True)

    def stop_all(self) -> None:
        """End every recorded process, the last started first."""
        records = sorted(self._folder.glob("*.json"), key=lambda record: record.stat().st_mtime_ns, reverse=True)
        for record in records:
            self.stop(record.stem)

    def _record_file(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _pid(self, name: str) -> int | None:
        try:
            record = json.loads(self._record_file(name).read_text())
        except FileNotFoundError:
            return None
        pid: int = record["pid"]
        _reap(pid)
        return pid if _start_ticks(pid) == record["start_ticks"] else None

    def _log_tail(self, name: str) -> str:
        record = json.loads(self._record_file(name).read_text())
        return "\n".join(Path(record["log_file"]).read_text(errors="replace").splitlines()[-30:])


def _signal_group(pid: int, signal_: signal.Signals) -> None:
    # The group outlives its leader while a child of it runs.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal_)


def _kill_rest_of_session(leader: int) -> None:
    # Some children make a group of their own, as the DAG processor of Airflow 2 does, and outlive a scheduler that is killed.
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _status(int(folder.name))
        if fields is not None and fields[3] == str(leader):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(folder.name), signal.SIGKILL)


def _reap(pid: int) -> None:
    # Only the parent can, and the one who stops need not be the one who started.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
