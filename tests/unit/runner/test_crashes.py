"""A runner that crashes tells no secret; each test is a process of its own."""

import json
import subprocess
import sys

import pytest

from tests.e2e.secret_search import spellings
from tests.unit.runner.support import REPOSITORY

CANARY = "a'b\"c&d$e\\g%h{{ i }}ü€ canary"
BEGINNING = f"""
import threading
from runner import log
from runner.log import SCRUBBER
log.configure()
log.scrub_crashes()
password = {CANARY!r}
SCRUBBER.hide(password)
"""


def output_of(script: str) -> str:
    """What a process prints that runs the beginning and then `script`."""
    done = subprocess.run(
        [sys.executable, "-c", BEGINNING + script],
        env={"PYTHONPATH": str(REPOSITORY / "container"), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    return (done.stdout + done.stderr).decode()


@pytest.mark.parametrize(
    "script",
    [
        "raise RuntimeError(f'login with {password} failed')",
        "thread = threading.Thread(target=lambda: int(password)); thread.start(); thread.join()",
        "try:\n    raise ValueError(password)\nexcept ValueError as error:\n    raise RuntimeError(repr(password)) from error",
        "class Odd:\n    def __str__(self): raise ValueError(password)\nlog.logging.getLogger('runner').error('%s', Odd())",
        "log.logging.getLogger('redshift_connector').error('user=%s password=%r', 'dbt', password)",
    ],
    ids=["main thread", "another thread", "a cause", "a line that cannot be written", "a library's line"],
)
def test_a_crash_tells_no_password(script: str) -> None:
    """Neither as it is nor in any spelling, in the message, the causes or the traceback."""
    told = output_of(script)

    assert not [way for way in spellings(CANARY) if way in told.encode()]


def test_a_crash_is_one_json_line_with_its_traceback() -> None:
    """What is scrubbed is still told."""
    line = json.loads(output_of("raise RuntimeError(f'login with {password} failed')"))

    assert line["message"] == "the runner crashed: RuntimeError: login with ***** failed"
    assert "Traceback" in line["traceback"]


def test_the_process_leaves_no_core() -> None:
    """Neither to a file nor to the program that the machine pipes cores to."""
    script = """
import ctypes, resource
from runner.__main__ import leave_no_core
leave_no_core()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""

    assert output_of(script) == "(0, 0) 0\n"
