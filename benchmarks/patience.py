"""Asks an API server again that is too busy to answer: what is measured is not its patience."""

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

_SECONDS = 300.0


def patiently(ask: Callable[[], _T]) -> _T:
    """What `ask` returns; an OSError, which a timeout is, is raised only after five minutes of them."""
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            return ask()
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(1)
