"""One line per step with its time, for terminals and for logs."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

_HEARTBEAT_SECONDS = 20.0


class Step:
    """A running step; `say` tells what it is doing now."""

    def __init__(self, title: str, progress: Progress, task: TaskID) -> None:
        self.title = title
        self.detail = ""
        self._progress = progress
        self._task = task

    def say(self, detail: str) -> None:
        """Show `detail` beside the title until the next one."""
        self.detail = detail
        self._progress.update(self._task, detail=Text(detail[:80], style="dim"))


class Steps:
    """
    Prints a line per step when it ends, and what is under way while it runs.

    Steps may overlap. Where the output is no terminal, a step that takes long says so every 20 seconds.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._progress = Progress(
            TextColumn(" "),
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Self:
        """Show running steps until the block ends."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the running steps off the terminal."""
        self._progress.stop()

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Time the block; an exception marks the step as failed and goes on."""
        task = self._progress.add_task(title, detail="")
        step = Step(title, self._progress, task)
        started = time.monotonic()
        ended = threading.Event()
        if not self.console.is_terminal:
            threading.Thread(target=self._heartbeat, args=(step, started, ended), daemon=True).start()
        mark, style = "✗", "red"
        try:
            yield step
            mark, style = "✓", "green"
        finally:
            ended.set()
            self._progress.remove_task(task)
            line = Text.assemble("  ", (mark, style), f" {title:<58} {time.monotonic() - started:6.1f} s")
            if step.detail:
                line.append(f"  {step.detail}", style="dim")
            self.console.print(line, soft_wrap=True)

    def _heartbeat(self, step: Step, started: float, ended: threading.Event) -> None:
        while not ended.wait(_HEARTBEAT_SECONDS):
            seconds = time.monotonic() - started
            self.console.print(
                Text(f"  … {step.title:<58} {seconds:6.1f} s  {step.detail}", style="dim"), soft_wrap=True
            )
