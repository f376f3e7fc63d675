"""
A thread's session on the warehouse, kept for its next node.

dbt opens one for each node and ends it afterwards: on Redshift some tenths of a second for each model and each test, on the
sample project a quarter of the time of a build. What one node does to its session must not reach the next one, so a session
is kept only while nothing but statements without lasting effect on it were sent, none failed, and nobody else ended it.
"""

from __future__ import annotations

import contextlib
import re
import select
import threading
import time
from collections.abc import Iterator

from runner.dbt_types import DbtObject
from runner.known_code import require_known

LONGEST_IDLE_SECONDS = 60.0
"""A firewall on the way, or the server, may drop a session that is idle for longer without telling."""

# Texts and quoted names as they stand, for what looks like a comment in them is none; then comments.
_PARTS = re.compile(r"""('[^']*'|"[^"]*")|--[^\n]*|/\*.*?\*/""", re.DOTALL)
# Where a text ends is then a question of the server's settings, or of a tag.
_UNCLEAR = re.compile(r"\\|\$\w*\$")
_FIRST_WORD = re.compile(r"[\s(]*([a-z]+)", re.IGNORECASE)
_WITHOUT_EFFECT_ON_THE_SESSION = frozenset(
    [
        "abort",
        "alter",
        "analyze",
        "begin",
        "comment",
        "commit",
        "copy",
        "create",
        "delete",
        "drop",
        "end",
        "grant",
        "insert",
        "merge",
        "refresh",
        "revoke",
        "rollback",
        "select",
        "show",
        "start",
        "truncate",
        "unload",
        "update",
        "vacuum",
        "with",
    ]
)
# Temporary tables stay until the session ends; so do settings that a query makes, and locks that belong to no transaction.
_WITH_EFFECT = re.compile(r"\b(pg_)?temp\b|\btemporary\b|#|\bset_config\b|\bsetseed\b|advisory", re.IGNORECASE)

_running = threading.local()


def leaves_no_trace(sql: str) -> bool:
    """
    Whether the session is the same after the statements of `sql` as before them, once their transaction has ended.

    What cannot be told is taken for a trace: a procedure, a semicolon within a text, a column that is called temp.
    """
    if _WITH_EFFECT.search(sql) or _UNCLEAR.search(sql):
        return False
    code = _PARTS.sub(lambda part: part[1] or " ", sql)
    statements = (statement for statement in code.split(";") if statement.strip())
    words = (_FIRST_WORD.match(statement) for statement in statements)
    return all(word is not None and word[1].lower() in _WITHOUT_EFFECT_ON_THE_SESSION for word in words)


@contextlib.contextmanager
def running_a_node() -> Iterator[None]:
    """While it is open, the session of this thread may be kept; other threads of dbt's end when they have done one thing."""
    _running.a_node = True
    try:
        yield
    finally:
        _running.a_node = False


def keep_sessions() -> None:
    """Change dbt, which must be imported, so that `release` keeps a session that the next node of the thread can have."""
    from dbt.adapters.base.connections import BaseConnectionManager  # noqa: PLC0415 - only where dbt is imported
    from dbt.adapters.redshift.connections import RedshiftConnectionManager  # noqa: PLC0415 - see above

    require_known(
        "d49670f17bdeab02c101fbc8a09c640fa8a9503b76a42effad869e5edc78d2ad",
        BaseConnectionManager.release,
        BaseConnectionManager.close,
        BaseConnectionManager.set_connection_name,
        RedshiftConnectionManager.add_query,
    )
    dbts: DbtObject = RedshiftConnectionManager
    add_query, release, set_connection_name = dbts.add_query, dbts.release, dbts.set_connection_name

    def add_query_and_judge(
        manager: DbtObject, sql: str, *arguments: DbtObject, **options: DbtObject
    ) -> tuple[DbtObject, DbtObject]:
        connection = manager.get_thread_connection()
        may_be_kept = getattr(connection, "_may_be_kept", True)
        # Until the answer is there: whatever goes wrong in between, the session is not kept.
        connection._may_be_kept = False  # noqa: SLF001 - ours
        answer: tuple[DbtObject, DbtObject] = add_query(manager, sql, *arguments, **options)
        connection._may_be_kept = may_be_kept and leaves_no_trace(sql)  # noqa: SLF001 - ours
        return answer

    def release_or_keep(manager: DbtObject) -> None:
        connection = manager.get_if_exists()
        is_open = connection is not None and connection.state == "open"
        if not (is_open and getattr(_running, "a_node", False) and getattr(connection, "_may_be_kept", False)):
            release(manager)
            return
        if connection.transaction_open:
            try:
                connection.handle.rollback()
            except Exception:  # noqa: BLE001 - the driver raises what it likes
                release(manager)
                return
            connection.transaction_open = False
        connection._kept_at = time.monotonic()  # noqa: SLF001 - ours

    def take_or_open(manager: DbtObject, name: str | None = None) -> DbtObject:
        connection = manager.get_if_exists()
        if connection is not None:
            kept_at = connection.__dict__.pop("_kept_at", None)
            if kept_at is not None and (time.monotonic() - kept_at > LONGEST_IDLE_SECONDS or _was_ended(connection)):
                manager.close(connection)
            if connection.state != "open":
                connection._may_be_kept = True  # noqa: SLF001 - ours
        return set_connection_name(manager, name)

    dbts.add_query, dbts.release, dbts.set_connection_name = add_query_and_judge, release_or_keep, take_or_open


def _was_ended(connection: DbtObject) -> bool:
    """Whether the server has sent anything since the last answer: with no query under way that is its farewell."""
    try:
        readable, _, _ = select.select([connection.handle._usock], [], [], 0)  # noqa: SLF001 - there is no other way
    except (OSError, ValueError):
        return True
    return bool(readable)
