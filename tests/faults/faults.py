"""The faults: what is done to a runner, its warehouse and its S3 while it works, and when."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.machine import SCHEMA, Attempt, Machine, is_alive
from tests.faults.proxy import Mode

_POLL_SECONDS = 0.02
_POLL_WAREHOUSE_SECONDS = 0.1
"""Each look opens a session, which must not take the machine from what is tried on it."""
LONG_QUERY_SECONDS = 60.0
SHORT_QUERY_SECONDS = 0.4
ENDLESS_QUERY_SECONDS = 3600.0
"""Longer than any attempt may take, also a twelfth of it: an attempt that waits for such a query's locks is found."""


@dataclass
class Done:
    """What a fault has done to an attempt, for those who judge its ending."""

    hit: bool = False
    """Whether the runner still ran when the fault came."""
    stopped_at: float | None = None
    """When SIGTERM was sent (time.monotonic)."""
    killed_at: float | None = None
    """When SIGKILL was sent (time.time)."""
    leaves_queries: bool = False
    """Whether the server goes on with a query, which the next attempt is to end."""
    touched: set[str] = field(default_factory=set)
    """Of "runner", "warehouse" and "s3"."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a fault works on."""

    machine: Machine
    attempt: Attempt
    random: random.Random
    done: Done

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than the runner runs."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and is_alive(self.attempt.process.pid):
            time.sleep(_POLL_SECONDS)

    def send(self, number: signal.Signals, *, to_group: bool = False) -> None:
        """Send a signal to the runner, if it is still there."""
        pid = self.attempt.process.pid
        if not is_alive(pid):
            return
        self.done.touched.add("runner")
        if number is signal.SIGKILL:
            self.done.killed_at = time.time()
        elif self.done.stopped_at is None:
            self.done.stopped_at = time.monotonic()
        if to_group:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)

    def s3(self, mode: Mode, seconds: float | None) -> None:
        """Let S3 misbehave for so long, or until the runner is gone."""
        self.done.touched.add("s3")
        self.machine.s3_proxy.mode = mode
        if seconds is not None:
            self.wait(seconds)
            self.machine.s3_proxy.mode = Mode.PASS

    def cut_warehouse(self) -> None:
        """End the sessions at the server."""
        self.done.touched.add("warehouse")
        self.machine.stand_in.cut_connections()


def _sigterm(context: Context) -> None:
    context.send(signal.SIGTERM)


def _sigkill(context: Context) -> None:
    context.send(signal.SIGKILL)


def _sigkill_in_long_query(context: Context) -> None:
    while is_alive(context.attempt.process.pid) and not any(
        "pg_sleep" in query.text for query in context.machine.stand_in.active_queries()
    ):
        time.sleep(_POLL_WAREHOUSE_SECONDS)
    # The record tells of a session two seconds after it was opened.
    context.wait(context.random.uniform(3.0, 6.0))
    context.send(signal.SIGKILL)
    context.done.leaves_queries = True


def _sigkill_group(context: Context) -> None:
    context.send(signal.SIGKILL, to_group=True)


def _warehouse_cut(context: Context) -> None:
    for _ in range(context.random.choice((1, 1, 1, 3))):
        context.cut_warehouse()
        context.wait(context.random.uniform(0.05, 0.5))


def _warehouse_away(context: Context) -> None:
    context.done.touched.add("warehouse")
    context.machine.warehouse_proxy.mode = Mode.REFUSE
    context.machine.warehouse_proxy.cut()
    context.wait(context.random.uniform(0.3, 3.0))
    context.machine.warehouse_proxy.mode = Mode.PASS


def _warehouse_restarted(context: Context) -> None:
    context.done.touched.add("warehouse")
    context.machine.stand_in.stop()
    context.wait(context.random.uniform(0.0, 1.0))
    context.machine.start_warehouse()


def _s3_refuses(context: Context) -> None:
    context.machine.s3_proxy.cut()
    context.s3(context.random.choice((Mode.REFUSE, Mode.SLOW_DOWN)), context.random.uniform(0.5, 6.0))


def _s3_slow(context: Context) -> None:
    context.s3(context.random.choice((Mode.SLOW, Mode.SILENT)), context.random.uniform(0.5, 6.0))


def _s3_cut(context: Context) -> None:
    context.machine.s3_proxy.cut()
    context.s3(Mode.HALF_REQUESTS, context.random.uniform(0.2, 2.0))


def _s3_loses_answers(context: Context) -> None:
    context.s3(Mode.LOSE_ANSWERS, context.random.uniform(0.2, 2.0))


def _s3_gone_and_sigterm(context: Context) -> None:
    context.s3(context.random.choice((Mode.REFUSE, Mode.SLOW_DOWN, Mode.SILENT, Mode.LOSE_ANSWERS)), None)
    context.wait(context.random.uniform(0.0, 3.0))
    context.send(signal.SIGTERM)


def _warehouse_silent_and_sigterm(context: Context) -> None:
    context.done.touched.add("warehouse")
    context.machine.warehouse_proxy.mode = Mode.SILENT
    context.wait(context.random.uniform(0.0, 2.0))
    context.send(signal.SIGTERM)


def _all_silent_and_sigterm(context: Context) -> None:
    context.s3(Mode.SILENT, None)
    _warehouse_silent_and_sigterm(context)


def _sigterm_and_sigkill(context: Context) -> None:
    context.send(signal.SIGTERM)
    context.wait(context.random.uniform(0.0, 2.0))
    context.send(signal.SIGKILL)


def _s3_cut_and_sigkill(context: Context) -> None:
    context.s3(context.random.choice((Mode.HALF_REQUESTS, Mode.LOSE_ANSWERS)), None)
    context.wait(context.random.uniform(0.0, 2.0))
    context.send(signal.SIGKILL)


def _warehouse_cut_and_sigterm(context: Context) -> None:
    context.cut_warehouse()
    context.wait(context.random.uniform(0.0, 0.5))
    context.send(signal.SIGTERM)


def _s3_refuses_and_warehouse_cut(context: Context) -> None:
    context.s3(context.random.choice((Mode.REFUSE, Mode.SLOW_DOWN)), context.random.uniform(0.1, 2.0))
    context.cut_warehouse()
    context.s3(Mode.HALF_REQUESTS, context.random.uniform(0.1, 1.0))


LONG_QUERY = "SIGTERM in a long query"
KILLED_IN_LONG_QUERY = "SIGKILL in a long query"
IN_LONG_QUERIES = frozenset({LONG_QUERY, KILLED_IN_LONG_QUERY})
FAULTS: dict[str, Callable[[Context], None]] = {
    "SIGTERM": _sigterm,
    LONG_QUERY: _sigterm,
    "SIGKILL": _sigkill,
    KILLED_IN_LONG_QUERY: _sigkill_in_long_query,
    "SIGKILL of the group": _sigkill_group,
    "warehouse cut": _warehouse_cut,
    "warehouse away for a while": _warehouse_away,
    "warehouse restarted": _warehouse_restarted,
    "S3 refuses": _s3_refuses,
    "S3 slow": _s3_slow,
    "S3 cut in requests": _s3_cut,
    "S3 loses answers": _s3_loses_answers,
    "S3 gone, then SIGTERM": _s3_gone_and_sigterm,
    "warehouse silent, then SIGTERM": _warehouse_silent_and_sigterm,
    "all silent, then SIGTERM": _all_silent_and_sigterm,
    "SIGTERM, then SIGKILL": _sigterm_and_sigkill,
    "S3 cut, then SIGKILL": _s3_cut_and_sigkill,
    "warehouse cut, then SIGTERM": _warehouse_cut_and_sigterm,
    "S3 refuses and warehouse cut": _s3_refuses_and_warehouse_cut,
}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When a fault comes: so long after the runner got so far."""

    anchor: str
    """`start`, `build`, `docs`, `end`, or `commit`."""
    commits: int = 0
    seconds: float

    def __str__(self) -> str:
        """The moment in words."""
        after = f"commit {self.commits}" if self.anchor == "commit" else self.anchor
        return f"{self.seconds:.2f} s after {after}"

    def wait(self, context: Context, commits_before: int) -> bool:
        """Return once it has come, and whether the runner still runs."""
        while is_alive(context.attempt.process.pid) and not self._is_reached(context, commits_before):
            time.sleep(_POLL_WAREHOUSE_SECONDS if self.anchor == "commit" else _POLL_SECONDS)
        context.wait(self.seconds)
        return is_alive(context.attempt.process.pid)

    def _is_reached(self, context: Context, commits_before: int) -> bool:
        if self.anchor == "start":
            return True
        if self.anchor == "commit":
            return count_builds(context.machine) >= commits_before + self.commits
        log = context.attempt.log.read_text(errors="replace")
        return any(words in log for words in _WORDS[self.anchor])


_WORDS = {
    "build": ("step build starts", "step seed starts"),
    # Not every trial makes docs.
    "docs": ("step docs starts", "step build ends"),
    "end": ("step docs ends", "step build ends"),
}


def random_moment(source: random.Random, *, fault: str, is_cold: bool) -> Moment:
    """Any moment of a run, those around commits more often than their share of its time."""
    if fault in IN_LONG_QUERIES:
        # The run comes no further.
        return Moment(anchor="build", seconds=source.uniform(1.0, 6.0))
    anchor = source.choices(("start", "build", "commit", "docs", "end"), weights=(15, 30, 35, 10, 10))[0]
    longest = {"start": 6.0 if is_cold else 2.5, "build": 4.0, "commit": 0.25, "docs": 0.8, "end": 0.8}[anchor]
    return Moment(anchor=anchor, commits=source.randint(1, 15), seconds=source.uniform(0.0, longest))


def query_seconds(fault: str | None) -> float:
    """How long the slowest model's query takes in an attempt with this fault."""
    if fault is None:
        return 0.0
    return {LONG_QUERY: LONG_QUERY_SECONDS, KILLED_IN_LONG_QUERY: ENDLESS_QUERY_SECONDS}.get(fault, SHORT_QUERY_SECONDS)


def count_builds(machine: Machine) -> int:
    """How many builds were ever committed."""
    count: int = machine.stand_in.query("select count(*) from public.fault_builds where schema_name = %s", [SCHEMA])[0][
        0
    ]
    return count
