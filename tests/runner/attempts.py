"""Starting and ending one attempt, and what it has built."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.faults.machine import SCHEMA, Attempt, Machine, end_session


def started(
    machine: Machine,
    run_id: str,
    *,
    spec: Mapping[str, Any],
    command: Sequence[str] | None = None,
    number: int = 1,
    credentials: Mapping[str, Any] | None = None,
    lineage: Mapping[str, Any] | None = None,
) -> Attempt:
    """A runner at work: with a command of its own a new process, else a fork."""
    return machine.start_attempt(
        run_id,
        number,
        spec=spec,
        stop_timeout_seconds=20,
        is_cold=command is not None,
        command=command or (),
        credentials=credentials,
        lineage=lineage,
    )


def ended(attempt: Attempt, *, within_seconds: float = 180) -> int:
    """The exit code; nothing of the attempt outlives the test."""
    try:
        return attempt.process.wait(within_seconds)
    finally:
        end_session(attempt.process.pid)


def builds(machine: Machine) -> list[str]:
    """What was built in the schema, in order."""
    return [
        node
        for (node,) in machine.stand_in.query(
            "select node from public.fault_builds where schema_name = %s order by id", [SCHEMA]
        )
    ]
