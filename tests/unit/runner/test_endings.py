"""How a run is ended from outside; each test is a process of its own, since signals belong to a process."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from tests.unit.runner.support import REPOSITORY

# ECS kills after so long.
STOP_TIMEOUT_SECONDS = 10

BEGINNING = """
import json, socket, sys, threading, time
from runner import log
from runner.endings import Endings, leave
from runner.outcome import ExitCode

log.configure(sys.stderr)
endings = Endings(deadline_seconds={deadline}, stop_timeout_seconds={stop_timeout})
endings.watch()

def say(**words):
    print(json.dumps(words), flush=True)

endings.cancel_queries = lambda: say(cancelled=True)
endings.conclude = lambda reason, seconds: say(concluded=reason, seconds=seconds)
"""


def start(script: str, *, deadline: float = 60) -> "subprocess.Popen[str]":
    """A process that runs the beginning and then `script`, and has said that it is ready."""
    text = BEGINNING.format(deadline=deadline, stop_timeout=STOP_TIMEOUT_SECONDS) + textwrap.dedent(script)
    process = subprocess.Popen(
        [sys.executable, "-c", text],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "container")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"ready": True}
    return process


def end(process: "subprocess.Popen[str]") -> tuple[int, list[dict[str, object]], float]:
    """The exit code, what the process said until then, and how many seconds that took."""
    before = time.monotonic()
    said, _ = process.communicate(timeout=30)
    return process.returncode, [json.loads(line) for line in said.splitlines()], time.monotonic() - before


WORKING = """
say(ready=True)
try:
    with endings.interruptible():
        {work}
except KeyboardInterrupt:
    say(interrupted=endings.reason)
endings.finish()
sys.exit(2)
"""


def test_sigterm_interrupts_what_is_running() -> None:
    """Dbt sees a KeyboardInterrupt, and the process ends by itself."""
    process = start(WORKING.format(work="time.sleep(60)"))
    process.send_signal(signal.SIGTERM)

    code, said, seconds = end(process)
    assert (code, said) == (2, [{"interrupted": "SIGTERM was received"}])
    assert seconds < STOP_TIMEOUT_SECONDS


def test_sigterm_interrupts_a_wait_for_an_answer_of_the_warehouse() -> None:
    """The main thread may wait in a socket, as it does while a hook runs."""
    work = "a, b = socket.socketpair(); a.recv(1)"
    process = start(WORKING.format(work=work))
    process.send_signal(signal.SIGTERM)

    assert end(process)[1] == [{"interrupted": "SIGTERM was received"}]


def test_the_deadline_ends_a_run_that_hangs() -> None:
    """Without any signal from outside."""
    process = start(WORKING.format(work="time.sleep(60)"), deadline=1.5)

    assert end(process)[1] == [{"interrupted": "the run's own deadline of 2 s is over"}]


def test_a_second_sigterm_does_not_disturb_the_end() -> None:
    """Whoever is impatient does not make the record incomplete."""
    process = start(
        """
        say(ready=True)
        try:
            with endings.interruptible():
                time.sleep(60)
        except KeyboardInterrupt:
            say(interrupted=True)
            time.sleep(1)
        say(complete=True)
        endings.finish()
        sys.exit(2)
        """
    )
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)

    assert end(process)[:2] == (2, [{"interrupted": True}, {"complete": True}])


def test_a_stop_between_steps_is_seen_by_the_next_one() -> None:
    """No step begins once the run is being stopped."""
    process = start(
        """
        say(ready=True)
        while endings.reason is None:
            time.sleep(0.05)
        try:
            with endings.interruptible():
                say(began=True)
        except KeyboardInterrupt:
            say(interrupted=True)
        endings.finish()
        """
    )
    process.send_signal(signal.SIGTERM)

    assert end(process)[:2] == (0, [{"interrupted": True}])


def test_concludes_without_dbt_when_it_does_not_come_back() -> None:
    """
    Queries are cancelled after a third of the time and the record is ended after two, seconds before ECS would kill.

    Here the main thread swallows its interrupt, as code with a bare except does.
    """
    process = start(
        """
        with endings.interruptible():
            ready = False
            while True:
                try:
                    # Said inside, or the interrupt could come before there is anything to swallow it.
                    ready = ready or say(ready=True) or True
                    time.sleep(60)
                except KeyboardInterrupt:
                    continue
        """
    )
    process.send_signal(signal.SIGTERM)

    code, said, seconds = end(process)
    order = [name for line in said for name in line if name in {"cancelled", "concluded"}]
    assert (code, order) == (2, ["cancelled", "concluded"])
    assert seconds < STOP_TIMEOUT_SECONDS


def test_leaves_when_the_end_of_the_record_hangs() -> None:
    """An S3 that never answers does not keep the process until it is killed."""
    process = start(
        """
        say(ready=True)
        try:
            with endings.interruptible():
                time.sleep(60)
        except KeyboardInterrupt:
            pass
        time.sleep(60)
        """
    )
    process.send_signal(signal.SIGTERM)

    code, _, seconds = end(process)
    assert code == 2
    assert seconds < STOP_TIMEOUT_SECONDS


def test_leaves_when_dbt_hangs_and_the_conclusion_too() -> None:
    """A warehouse and an S3 that are both silent do not keep the process until it is killed."""
    process = start(
        """
        endings.conclude = lambda reason, seconds: time.sleep(60)
        with endings.interruptible():
            ready = False
            while True:
                try:
                    ready = ready or say(ready=True) or True
                    time.sleep(60)
                except KeyboardInterrupt:
                    continue
        """
    )
    process.send_signal(signal.SIGTERM)

    code, _, seconds = end(process)
    assert code == 2
    assert seconds < STOP_TIMEOUT_SECONDS


def test_a_stop_while_the_record_is_ended_does_not_change_how_the_run_ended() -> None:
    """The outcome of the data run stands, though S3 takes its record no more."""
    process = start(
        """
        endings.exit_code = ExitCode.SUCCESS
        say(ready=True)
        time.sleep(60)
        """
    )
    process.send_signal(signal.SIGTERM)

    assert end(process)[0] == 0


def test_the_process_that_is_given_no_settings_says_so_in_one_line(tmp_path: Path) -> None:
    """Exit code 2, one JSON line, and no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "runner"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY / "container")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    line = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (2, "")
    assert line["message"].startswith("RUNNER_DEPLOYMENT is not set")
