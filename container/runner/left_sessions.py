"""Sessions on the warehouse that an attempt which was killed may have left at work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

ACTIVE_SESSIONS = "select session_id, start_time from sys_session_history where trim(status) = 'active'"
"""
Of provisioned clusters and of serverless; a user that is no superuser sees its own sessions only.

https://docs.aws.amazon.com/redshift/latest/dg/SYS_SESSION_HISTORY.html
"""

_BEGAN_BEFORE_IT_WAS_NOTED = timedelta(minutes=2)
"""Connecting to a workgroup that has to wake up takes so long."""
_CLOCKS_DIFFER = timedelta(seconds=30)
_ENDINGS_WITHOUT_QUERIES = frozenset({"success", "failed"})


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftSession:
    """A session that an earlier attempt has opened."""

    pid: int
    noted_at: datetime


def sessions_of(events: Iterable[Mapping[str, Any]]) -> list[LeftSession]:
    """Return the sessions that an attempt with these events may have left; none if it came to its own end."""
    sessions: list[LeftSession] = []
    for event in events:
        if event["type"] == "session_opened":
            sessions.append(LeftSession(pid=event["pid"], noted_at=datetime.fromisoformat(event["t"])))
        elif event["type"] == "run_finished" and event["outcome"] in _ENDINGS_WITHOUT_QUERIES:
            return []
    return sessions


def still_there(sessions: Sequence[LeftSession], active: Iterable[Sequence[Any]]) -> list[int]:
    """
    Return the process ids of `sessions` that are among the `active` ones (process id and start, as the warehouse tells them).

    Process ids are used again, so the session must also have begun when it was noted.
    """
    noted: dict[int, list[datetime]] = {}
    for session in sessions:
        noted.setdefault(session.pid, []).append(session.noted_at)
    left = []
    for pid, start in active:
        began = start if start.tzinfo else start.replace(tzinfo=UTC)
        if any(-_CLOCKS_DIFFER <= at - began <= _BEGAN_BEFORE_IT_WAS_NOTED for at in noted.get(int(pid), ())):
            left.append(int(pid))
    return sorted(left)
