"""How a run is ended from outside: SIGTERM, its deadline, and what happens when dbt does not come back."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from runner.outcome import ExitCode

_LOG = logging.getLogger("runner")
_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
_WAKE = signal.SIGUSR1
_INTERRUPT = signal.SIGUSR2
SECONDS_TO_SPARE = 5.0
"""The process is gone this long before ECS would kill it."""


class Endings:
    """
    Waits, on a thread of its own, for a stop signal or the deadline, and sees to it that the run then ends in time.

    First the main thread is interrupted, so that dbt cancels its queries and returns; if it has not returned after a
    third of the time that is left, `cancel_queries` is called; after two thirds `conclude` is, without the main thread; and
    before the stop timeout is over the process exits, whatever dbt, the warehouse or S3 do.

    Signals are waited for and not handled: a handler runs on the main thread only once that is back from C code, which a
    hanging driver never is.
    """

    def __init__(self, *, deadline_seconds: float, stop_timeout_seconds: float) -> None:
        self.reason: str | None = None
        self.exit_code = ExitCode.DID_NOT_FINISH
        """What a process that must go before its record is complete ends with: set once the outcome is known."""
        self.cancel_queries: Callable[[], None] = lambda: None
        self.conclude: Callable[[str, float], None] = lambda _reason, _seconds: None
        self._deadline_seconds = deadline_seconds
        self._deadline = time.monotonic() + deadline_seconds
        self._stop_timeout_seconds = stop_timeout_seconds
        self._must_end_at: float | None = None
        self._main = threading.main_thread()
        self._interruptible = False
        self._returned = threading.Event()
        self._returned.set()
        self._finished = False
        self._thread = threading.Thread(target=self._watch, name="endings", daemon=True)

    def watch(self) -> None:
        """Begin; call it on the main thread before any other thread is made, so that all of them leave the signals alone."""
        signal.signal(_INTERRUPT, self._interrupted)
        # A signal that PID 1 has no handler for may be dropped by the kernel; these are blocked and never run.
        for number in (*_STOP_SIGNALS, _WAKE):
            signal.signal(number, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_BLOCK, {*_STOP_SIGNALS, _WAKE})
        self._thread.start()

    def set_deadline(self, seconds: float) -> None:
        """End the run `seconds` after it began, now that the run spec is known."""
        self._deadline += seconds - self._deadline_seconds
        self._deadline_seconds = seconds
        if self._thread.ident is not None:
            signal.pthread_kill(self._thread.ident, _WAKE)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """While it is open, a stop raises KeyboardInterrupt on the main thread, once."""
        self._returned.clear()
        self._interruptible = True
        try:
            if self.reason is not None:
                raise KeyboardInterrupt
            yield
        finally:
            self._interruptible = False
            self._returned.set()

    def seconds_left(self, otherwise: float) -> float:
        """Return how long the end of the run may take: `otherwise` unless the run is being stopped."""
        if self._must_end_at is None:
            return otherwise
        return max(1.0, min(otherwise, self._must_end_at - time.monotonic()))

    def finish(self) -> None:
        """Note that the run is over and nothing is to be ended any more."""
        self._finished = True

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        if self._interruptible:
            self._interruptible = False
            raise KeyboardInterrupt

    def _watch(self) -> None:
        self.reason = self._wait_for_reason()
        if self._finished:
            return
        _LOG.warning("the run is being stopped: %s", self.reason)
        time_for_it = self._stop_timeout_seconds - SECONDS_TO_SPARE
        stopped_at = time.monotonic()
        self._must_end_at = stopped_at + time_for_it
        if self._interruptible:
            signal.pthread_kill(self._main.ident or 0, _INTERRUPT)
        if not self._returned.wait(time_for_it / 3):
            _LOG.warning("dbt did not return within %.0f s, its queries are cancelled without it", time_for_it / 3)
            # On a thread of its own: a warehouse that does not answer must not take the time that the record needs.
            threading.Thread(target=self.cancel_queries, name="cancel", daemon=True).start()
        # What remains after this is enough to write the end of the record: a handful of PUTs.
        self._returned.wait(max(0.0, stopped_at + time_for_it * 2 / 3 - time.monotonic()))
        if not self._returned.is_set():
            _LOG.error("dbt did not return within %.0f s, the run ends without it", time_for_it * 2 / 3)
            left = max(1.0, self._must_end_at - time.monotonic())
            # On a thread of its own too: S3 may be as silent as the warehouse.
            conclusion = threading.Thread(target=self.conclude, args=(self.reason, left), name="conclude", daemon=True)
            conclusion.start()
            conclusion.join(left)
            leave(self.exit_code)
        time.sleep(max(0.0, self._must_end_at - time.monotonic()))
        if not self._finished:
            _LOG.error("the end of the record could not be written in time")
            leave(self.exit_code)

    def _wait_for_reason(self) -> str:
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                return f"the run's own deadline of {self._deadline_seconds:.0f} s is over"
            got = signal.sigtimedwait({*_STOP_SIGNALS, _WAKE}, left)
            if got is not None and got.si_signo in _STOP_SIGNALS:
                return f"{signal.Signals(got.si_signo).name} was received"


def leave(code: ExitCode) -> NoReturn:
    """Exit at once, without waiting for threads that hang."""
    logging.shutdown()
    os._exit(code)
