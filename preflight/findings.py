"""What a check has to say."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from botocore.exceptions import ClientError

Answer = TypeVar("Answer")
Clients = Callable[[str], Any]
"""Gives the boto3 client of a service, in the environment's region."""

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden", "403"})


class Verdict(Enum):
    """How a check came out, in the word that is printed before it."""

    FINE = "ok"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence; for what is wrong it says the fix, for what is unknown who could know."""

    verdict: Verdict
    text: str


Findings = Iterator[Finding]


def fine(text: str) -> Finding:
    """What is as it should be."""
    return Finding(Verdict.FINE, text)


def wrong(text: str) -> Finding:
    """What would make the deployment, or every run, fail."""
    return Finding(Verdict.WRONG, text)


def unknown(text: str) -> Finding:
    """What could not be looked at."""
    return Finding(Verdict.UNKNOWN, text)


class NotThereError(Exception):
    """AWS has no such thing; the message is AWS's."""


class NotAllowedError(Exception):
    """Whoever runs this may not look; the message is AWS's."""


def is_denied(error: BaseException | None) -> bool:
    """Whether AWS refused because of who asked."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in _DENIED


def ask(call: Callable[[], Answer], *missing: str) -> Answer:
    """
    Call AWS; raises NotThereError for an error whose code is one of `missing`, NotAllowedError where AWS refuses to tell.

    Every other error of AWS is the caller's.
    """
    try:
        return call()
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code in missing:
            raise NotThereError(message) from error
        if is_denied(error):
            raise NotAllowedError(message) from error
        raise
