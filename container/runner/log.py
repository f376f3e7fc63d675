"""JSON lines on stdout, from which secrets are scrubbed before they are written."""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
import urllib.parse
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

_LOGGER = logging.getLogger("runner")
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({})))
_SHORTEST_SECRET = 4
"""Shorter ones are parts of ordinary words; scrubbing them would make every line unreadable and hide nothing."""


class Scrubber:
    """Replaces secrets, in all the forms in which they turn up in texts, by asterisks."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()

    def hide(self, secret: str) -> None:
        """Scrub `secret` from now on."""
        if len(secret) < _SHORTEST_SECRET:
            return
        forms = {
            secret,
            repr(secret)[1:-1],
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            urllib.parse.quote(secret, safe=""),
            urllib.parse.quote_plus(secret),
            secret.replace("'", "''"),
            *(line for line in secret.splitlines() if len(line) >= _SHORTEST_SECRET),
        }
        # Longest first: a shorter form must not leave the rest of a longer one behind.
        self._forms = tuple(sorted(forms | set(self._forms), key=len, reverse=True))

    def scrub(self, text: str) -> str:
        """Return `text` without secrets."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, "*****")
        return text

    def scrub_bytes(self, data: bytes) -> bytes:
        """Return UTF-8 encoded `data` without secrets."""
        for form in self._forms:
            encoded = form.encode("utf-8", "surrogatepass")
            if encoded in data:
                data = data.replace(encoded, b"*****")
        return data


SCRUBBER = Scrubber()
"""The process's one scrubber: a secret must be hidden everywhere or it is hidden nowhere."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: t, level, message, what `extra` gave, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, scrubbed."""
        line: dict[str, Any] = {
            "t": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.name != _LOGGER.name:
            line["logger"] = record.name
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return SCRUBBER.scrub(json.dumps(line, ensure_ascii=False, default=str))


def configure(stream: TextIO | None = None) -> None:
    """
    Send the runner's lines and other libraries' warnings to `stream` (stdout unless given).

    Call it again after dbt is imported: a dependency of dbt adds a handler to the root logger, which would print everything
    a second time and not as JSON.
    """
    # A line that cannot be written must not be written to stderr instead, by logging itself and with its secrets.
    logging.raiseExceptions = False
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter())
    _LOGGER.handlers = [handler]
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)


def scrub_crashes() -> None:
    """Report an exception that nobody caught as one scrubbed line, in the main thread and in all others."""

    def report(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        _LOGGER.critical(
            "the runner crashed: %s",
            "".join(traceback.format_exception_only(kind, error)).strip(),
            extra={"traceback": "".join(traceback.format_exception(kind, error, trace))},
        )

    sys.excepthook = report
    threading.excepthook = lambda arguments: report(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
