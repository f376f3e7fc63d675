"""The words in which a run, a step and a node end, and the exit codes that follow from them."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """dbt's exit codes (https://docs.getdbt.com/reference/exit-codes), for the whole run."""

    SUCCESS = 0
    FAILED = 1
    DID_NOT_FINISH = 2


class Outcome(StrEnum):
    """How a run or one step of it ended."""

    SUCCESS = "success"
    WARN = "warn"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"


class NodeStatus(StrEnum):
    """How one node that was asked for ended; each ends in exactly one of these."""

    SUCCESS = "success"
    WARN = "warn"
    FAIL = "fail"
    ERROR = "error"
    SKIPPED = "skipped"
    NOT_RUN = "not_run"


DONE = frozenset({NodeStatus.SUCCESS, NodeStatus.WARN})
"""The statuses that prove a node done: a further attempt need not repeat it."""


class RunnerError(Exception):
    """The run cannot go on; the message is one sentence for the person who reads the log, and the exit code is 2."""


class SettingsError(RunnerError):
    """A setting, the run spec or the credentials are wrong; raised before the warehouse is touched."""
