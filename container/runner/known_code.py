"""Whether code of dbt, or of what it is made of, is the one that a change of it was made for: a project may pin other versions."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any


class OtherCodeError(Exception):
    """The code is another one than the change was made for; nothing was changed."""


def require_known(digest: str, *replaced: Callable[..., Any]) -> None:
    """
    Raise OtherCodeError unless `digest` is the SHA-256 of the source of the functions or classes `replaced`, one after another.

    A version's number would not tell: most versions leave these functions alone, and any may change them.
    """
    try:
        source = "".join(inspect.getsource(each) for each in replaced)
    except (OSError, TypeError) as error:
        raise OtherCodeError(f"{replaced[0].__qualname__} has no source") from error
    found = hashlib.sha256(source.encode()).hexdigest()
    if found != digest:
        raise OtherCodeError(f"{replaced[0].__qualname__} of {replaced[0].__module__} is another one: {found}")
