"""Follows a run in a terminal, model by model, from its record: bars and spinners on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from dbt_on_fargate import explain
from dbt_on_fargate.containers import Container, Containers
from dbt_on_fargate.record import SECONDS_FOR_THE_END, Attempt, NodeResult, RunRecord, succeeded

_SECONDS_BETWEEN_LOOKS = 1.0
_LOOKS_BETWEEN_LOOKS_AT_ECS = 5
_NAMED_AT_WORK = 4
_STYLES = {"success": "green", "warn": "yellow", "fail": "red", "error": "red"}
_QUIET_TYPES = frozenset({"test", "unit_test", "source"})
"""Of these only what is not well gets a line of its own."""


class ExitCode(IntEnum):
    """What a command about a run says to its caller; the first three are the container's own."""

    SUCCESS = 0
    FAILED = 1
    DID_NOT_FINISH = 2
    NOTHING_DONE = 3
    """Nothing was started or stopped; the message says why."""
    LEFT = 130
    """The one who looked left; the run goes on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a container ended: what it says of itself, or what AWS says of one that could not."""

    exit_code: ExitCode
    text: str


class RunView:
    """What a person sees of one attempt; every line is written once, when a node has ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: set[str] = set()
        self._progress = Progress(
            SpinnerColumn(),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("waiting for the container", total=None)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Show what is under way until the block ends."""
        with self._progress:
            yield

    def say(self, text: str) -> None:
        """Say what is waited for; on a terminal only, beside the bar."""
        self._progress.update(self._task, description=text)

    def show(self, attempt: Attempt) -> None:
        """Write a line for each node that has ended since the last call, and what is at work."""
        for result in attempt.results.values():
            if result.unique_id not in self._told:
                self._told.add(result.unique_id)
                self._write(result)
        planned = set().union(*attempt.planned.values())
        at_work = sorted(attempt.started, key=lambda name: attempt.started[name])
        named = [_name(unique_id) for unique_id in at_work[:_NAMED_AT_WORK]]
        more = [f"and {len(at_work) - len(named)} more"] if len(at_work) > len(named) else []
        self._progress.update(
            self._task,
            total=len(planned) or None,
            completed=len(planned & attempt.results.keys()),
            description=", ".join([*named, *more]),
        )

    def _write(self, result: NodeResult) -> None:
        kind = result.unique_id.partition(".")[0]
        if (succeeded(result) and result.status != "warn" and kind in _QUIET_TYPES) or result.status == "not_run":
            return
        facts = f"{result.seconds:.1f} s" + ("" if result.rows is None else f", {result.rows:,} rows")
        if result.from_attempt is not None:
            facts = f"done in attempt {result.from_attempt}"
        style = _STYLES.get(result.status, "dim")
        finished = result.finished_at.astimezone().strftime("%H:%M:%S")
        line = f"{finished}  [{style}]{result.status:<8}[/] {kind:<8} {escape(_name(result.unique_id))}  {facts}"
        self._console.print(line, soft_wrap=True)
        if not succeeded(result) and result.status != "skipped":
            for text in result.message.strip().splitlines():
                self._console.print(f"          {escape(text)}", style="red", soft_wrap=True)


def _name(unique_id: str) -> str:
    """`model.shop.orders` is orders; a test's name ends with a hash that says nothing."""
    parts = unique_id.split(".")
    return ".".join(parts[2:3] if parts[0] == "test" else parts[2:])


def follow(
    *,
    containers: Containers,
    record: RunRecord,
    arn: str,
    attempt: int,
    view: RunView,
) -> Ending:
    """
    Show the attempt until it has ended or its container has gone; returns how.

    A KeyboardInterrupt ends the looking and nothing else.
    """
    container: Container | None = None
    looks = 0
    with view.open():
        while True:
            if looks % _LOOKS_BETWEEN_LOOKS_AT_ECS == 0:
                found = containers.describe([arn])
                # ECS forgets a container an hour after its end.
                container = found[0] if found else container
            record.read_new(look_for_attempts=attempt not in record.attempts)
            known = record.attempts.get(attempt)
            if known is None:
                view.say(f"the container is {(container.last_status if container else 'not there yet').lower()}")
            else:
                view.show(known)
                if known.is_finished:
                    break
            if container is not None and container.is_gone:
                # What was written while ECS was asked is still to be read.
                record.read_new(look_for_attempts=True)
                if attempt in record.attempts:
                    view.show(record.attempts[attempt])
                break
            looks += 1
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    end = record.end(attempt, within_seconds=SECONDS_FOR_THE_END)
    if end is not None:
        return Ending(exit_code=ExitCode(end["exit_code"]), text=str(end["headline"]))
    text = explain.stopped_container(container) if container else "ECS knows nothing of the container"
    return Ending(exit_code=ExitCode.DID_NOT_FINISH, text=_at_a_terminal(text))


def _at_a_terminal(text: str) -> str:
    """The advice is written for Airflow's log, where one clears a task."""
    return text.replace("clear this task to try again", "make retry").replace("clear this task", "make retry")
