"""PID 1: `python -m runner` runs the project; `python -m runner parse` checks it while the image is built."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from runner import log
from runner.endings import Endings, leave
from runner.outcome import ExitCode, RunnerError
from runner.settings import settings_from

_LOG = logging.getLogger("runner")
_PR_SET_DUMPABLE = 4
"""linux/prctl.h"""
_LONGEST_DEADLINE_SECONDS = 7 * 24 * 3600.0


def main(arguments: Sequence[str]) -> ExitCode:
    """Run, or parse, and return the exit code."""
    log.configure()
    log.scrub_crashes()
    leave_no_core()
    try:
        if list(arguments) == ["parse"]:
            from runner.build import check_project  # noqa: PLC0415 - only while the image is built

            return check_project(Path(os.environ.get("RUNNER_PROJECT_FOLDER") or "/opt/dbt/project"))
        if arguments:
            _LOG.error("unknown arguments %s, allowed are none or ['parse']", list(arguments))
            return ExitCode.DID_NOT_FINISH
        settings = settings_from(os.environ)
        endings = Endings(
            deadline_seconds=_LONGEST_DEADLINE_SECONDS, stop_timeout_seconds=settings.deployment.stop_timeout_seconds
        )
        endings.watch()
        from runner.run import Run  # noqa: PLC0415 - imports boto3, which a wrong setting need not wait for

        code = Run(settings, endings).execute()
        endings.finish()
    except RunnerError as error:
        _LOG.error("%s", error)
        return ExitCode.DID_NOT_FINISH
    return code


def leave_no_core() -> None:
    """
    Let the kernel write no core dump of this process, which would hold the password, whatever the machine does with them.

    The limit alone does not hold where cores are piped to a program (man 5 core).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


if __name__ == "__main__":
    # Without waiting for threads: one that hangs in S3 or in the driver must not keep a finished run alive.
    leave(main(sys.argv[1:]))
