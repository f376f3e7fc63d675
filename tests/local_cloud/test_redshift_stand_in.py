"""The stand-in lets Redshift's driver in as Redshift would, and ends what it must end."""

import os
import signal
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redshift_connector
from redshift_connector.core import Connection
from redshift_connector.error import Error, InterfaceError, ProgrammingError

from local_cloud.redshift_stand_in import RedshiftStandIn
from local_cloud.redshift_stand_in.certificates import make_server_certificate
from local_cloud.redshift_stand_in.stand_in import StandInError


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedshiftStandIn]:
    """One stand-in for all tests of this module."""
    running = RedshiftStandIn(tmp_path_factory.mktemp("stand-in"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _trust(stand_in: RedshiftStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(stand_in.ca_file))


def _connect(stand_in: RedshiftStandIn, **changes: object) -> Connection:
    settings: dict[str, Any] = {
        "host": stand_in.host,
        "port": stand_in.port,
        "user": stand_in.user,
        "password": stand_in.password,
        "database": stand_in.database,
        "sslmode": "verify-full",
        **changes,
    }
    return redshift_connector.connect(**settings)


def _rows(stand_in: RedshiftStandIn, statement: str) -> list[list[object]]:
    with _connect(stand_in) as connection, connection.cursor() as cursor:
        return [list(row) for row in cursor.execute(statement).fetchall()]


def _wait_until(condition: Callable[[], bool], timeout_seconds: float = 20) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return met


def _libpq(stand_in: RedshiftStandIn) -> "psycopg2.extensions.connection":
    return psycopg2.connect(
        host=stand_in.host,
        port=stand_in.port,
        user=stand_in.user,
        password=stand_in.password,
        dbname=stand_in.database,
        sslmode="verify-full",
        sslrootcert=str(stand_in.ca_file),
    )


def test_the_driver_connects_with_the_certificate_and_host_name_verified(stand_in: RedshiftStandIn) -> None:
    """`verify-full` passes for the address and for the name that the certificate is made out to."""
    with _connect(stand_in) as by_address, _connect(stand_in, host="localhost") as by_name:
        users = [connection.cursor().execute("select current_user").fetchall() for connection in (by_address, by_name)]
    assert users == [(["dbt"],), (["dbt"],)]


def test_rejects_a_host_name_that_is_not_in_the_certificate(stand_in: RedshiftStandIn) -> None:
    """127.1 is the same machine under a name that the certificate does not hold."""
    with pytest.raises(InterfaceError, match=r"(?i)hostname mismatch"):
        _connect(stand_in, host="127.1")


def test_rejects_a_server_of_another_authority(
    stand_in: RedshiftStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that trusts another authority does not send its password."""
    monkeypatch.setenv("SSL_CERT_FILE", str(make_server_certificate(tmp_path).ca_file))
    with pytest.raises(InterfaceError, match="CERTIFICATE_VERIFY_FAILED"):
        _connect(stand_in)


def test_rejects_a_connection_without_encryption(stand_in: RedshiftStandIn) -> None:
    """A client that forgot TLS gets an error that says what to do."""
    with pytest.raises(ProgrammingError, match="set sslmode to verify-full"):
        _connect(stand_in, ssl=False)


def test_rejects_a_wrong_password(stand_in: RedshiftStandIn) -> None:
    """The server's own words reach the client."""
    with pytest.raises(ProgrammingError, match="password authentication failed"):
        _connect(stand_in, password=stand_in.password + "x")


def test_the_password_breaks_careless_code(stand_in: RedshiftStandIn) -> None:
    """Every kind of character is in it that quoting, URLs, JSON, templates or ASCII trip over."""
    assert set("'\"&$\\ %{}#") <= set(stand_in.password)
    assert not stand_in.password.isascii()


def test_the_driver_takes_it_for_redshift(stand_in: RedshiftStandIn) -> None:
    """The reported version is the one that all Redshift clusters report."""
    connection = _libpq(stand_in)
    assert connection.get_parameter_status("server_version") == "8.0.2"
    connection.close()


def test_the_user_may_create_schemas_but_is_no_superuser(stand_in: RedshiftStandIn) -> None:
    """The user has what dbt needs and nothing more."""
    with _connect(stand_in) as connection, connection.cursor() as cursor:
        cursor.execute("create schema of_dbt")
        cursor.execute("create table of_dbt.t as select 1 as a")
        connection.commit()
        with pytest.raises(ProgrammingError, match="must be superuser"):
            cursor.execute("create role other superuser")
    assert stand_in.query("select rolsuper from pg_roles where rolname = 'dbt'") == [(False,)]


def test_reads_tables_of_another_owner_only_where_granted(stand_in: RedshiftStandIn) -> None:
    """Sources belong to somebody else, as in a real warehouse."""
    stand_in.run_sql(
        "create schema raw_other; create table raw_other.open as select 7 as a; create table raw_other.closed (a int);"
        "grant usage on schema raw_other to dbt; grant select on raw_other.open to dbt"
    )
    assert _rows(stand_in, "select a from raw_other.open") == [[7]]
    with pytest.raises(ProgrammingError, match="permission denied for table closed"):
        _rows(stand_in, "select a from raw_other.closed")


def test_lists_the_statements_that_are_running(stand_in: RedshiftStandIn) -> None:
    """Only statements of the user count, and only while the server works on them."""
    connection = _libpq(stand_in)
    runner = threading.Thread(target=_run_until_cancelled, args=(connection, "select pg_sleep(30)"))
    runner.start()
    assert _wait_until(lambda: [query.text for query in stand_in.active_queries()] == ["select pg_sleep(30)"])
    connection.cancel()
    runner.join(timeout=20)
    assert stand_in.active_queries() == []
    connection.close()


def _run_until_cancelled(connection: "psycopg2.extensions.connection", statement: str) -> None:
    with pytest.raises(psycopg2.errors.QueryCanceled):
        connection.cursor().execute(statement)


def test_a_cancel_request_reaches_the_server(stand_in: RedshiftStandIn) -> None:
    """The statement ends with the server's error, and the session goes on."""
    connection = _libpq(stand_in)
    canceller = threading.Timer(0.5, connection.cancel)
    canceller.start()
    started = time.monotonic()
    _run_until_cancelled(connection, "select pg_sleep(30)")
    connection.rollback()
    with connection.cursor() as cursor:
        cursor.execute("select 1")
        assert cursor.fetchall() == [(1,)]
    assert time.monotonic() - started < 25
    connection.close()


def test_a_query_ends_when_its_client_vanishes(stand_in: RedshiftStandIn) -> None:
    """A killed container leaves no query behind."""
    pid = os.fork()
    if pid == 0:
        _libpq(stand_in).cursor().execute("select pg_sleep(60)")
    assert _wait_until(lambda: len(stand_in.active_queries()) == 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert _wait_until(lambda: stand_in.active_queries() == [])
    assert _wait_until(lambda: _sessions(stand_in) == [])


def _sessions(stand_in: RedshiftStandIn) -> list[tuple[int]]:
    return stand_in.query("select pid from pg_stat_activity where usename = 'dbt'")


def test_cutting_connections_fails_what_is_running(stand_in: RedshiftStandIn) -> None:
    """A client in the middle of a statement gets an error at once; a new connection works."""
    assert _wait_until(lambda: _sessions(stand_in) == [])
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _rows(stand_in, "select pg_sleep(30)")
        except Error as error:
            errors.append(error)

    runner = threading.Thread(target=run)
    runner.start()
    assert _wait_until(lambda: len(stand_in.active_queries()) == 1)
    assert stand_in.cut_connections() == 1
    runner.join(timeout=20)
    assert len(errors) == 1
    assert _rows(stand_in, "select 1") == [[1]]


def test_large_statements_and_results_pass_whole(stand_in: RedshiftStandIn) -> None:
    """Neither direction loses or reorders bytes when buffers fill up."""
    text = "x" * 3_000_000
    with _connect(stand_in) as connection, connection.cursor() as cursor:
        cursor.execute(f"select '{text}'")
        assert ([text],) == cursor.fetchall()
        cursor.execute("select n, repeat('y', 1000) from generate_series(1, 5000) as n")
        rows = cursor.fetchall()
    assert list(range(1, 5001)) == [number for number, _ in rows]


def test_survives_many_connections_and_broken_clients(stand_in: RedshiftStandIn) -> None:
    """Port scanners, half-open handshakes and hundreds of short sessions leave neither sockets nor sessions behind."""
    for _ in range(100):
        with socket.create_connection((stand_in.host, stand_in.port)) as broken:
            broken.sendall(struct.pack("!II", 8, 80877103))
    for _ in range(50):
        with socket.create_connection((stand_in.host, stand_in.port)) as broken:
            broken.sendall(b"GET / HTTP/1.1\r\n\r\n")
    for _ in range(150):
        _libpq(stand_in).close()
    assert _wait_until(lambda: _sessions(stand_in) == [])
    bridge = _process_id(stand_in, "bridge")
    assert _wait_until(lambda: len(list(Path(f"/proc/{bridge}/fd").iterdir())) < 30)
    assert _rows(stand_in, "select 1") == [[1]]


def _folder(stand_in: RedshiftStandIn) -> Path:
    return stand_in.ca_file.parents[1]


def _process_id(stand_in: RedshiftStandIn, name: str) -> int:
    (pid,) = (
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if (command := _command(process)) and str(_folder(stand_in)) in command and name in command
    )
    return pid


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except FileNotFoundError:
        return ""


def test_secrets_are_readable_by_the_owner_only(stand_in: RedshiftStandIn) -> None:
    """Files with a password or a key have mode 0600."""
    for name in ("stand-in.json", "admin-password", "tls/server.key"):
        assert stat.S_IMODE((_folder(stand_in) / name).stat().st_mode) == 0o600, name


def test_passwords_are_in_no_log(stand_in: RedshiftStandIn) -> None:
    """Neither password stands in what the two processes wrote."""
    logs = "".join(file.read_text() for file in (_folder(stand_in) / "logs").iterdir())
    assert stand_in.password not in logs
    assert (_folder(stand_in) / "admin-password").read_text() not in logs


def test_a_further_start_keeps_the_data_and_changes_the_password(tmp_path: Path) -> None:
    """Another process may stop it; the next start is a new server over the same data."""
    first = RedshiftStandIn(tmp_path)
    first.start()
    password = first.password
    first.run_sql("create table public.kept as select 42 as a")
    RedshiftStandIn(tmp_path).stop()
    second = RedshiftStandIn(tmp_path)
    second.start()
    kept = second.query("select a from public.kept")
    changed = second.password != password
    second.stop()
    assert kept == [(42,)]
    assert changed


def test_starts_after_it_was_killed(tmp_path: Path) -> None:
    """What a killed run left behind is ended and recovered."""
    killed = RedshiftStandIn(tmp_path)
    killed.start()
    for name in ("bridge", "bin/postgres -D"):
        os.kill(_process_id(killed, name), signal.SIGKILL)
    again = RedshiftStandIn(tmp_path)
    again.start()
    rows = again.query("select 1")
    again.stop()
    assert rows == [(1,)]


def test_starts_over_after_an_unfinished_first_start(tmp_path: Path) -> None:
    """A data folder is complete or it is made again."""
    stand_in = RedshiftStandIn(tmp_path)
    for folder in ("postgres-14", "postgres-15", "postgres-16", "postgres-17", "postgres-18"):
        (tmp_path / folder / "unfinished").mkdir(parents=True)
    stand_in.start()
    rows = stand_in.query("select 1")
    stand_in.stop()
    assert rows == [(1,)]


def test_stop_ends_everything_and_may_be_repeated(tmp_path: Path) -> None:
    """No process and no port is left, and a second stop is no error."""
    stand_in = RedshiftStandIn(tmp_path)
    stand_in.start()
    port = stand_in.port
    stand_in.stop()
    stand_in.stop()
    assert [process for process in Path("/proc").glob("[0-9]*") if str(tmp_path) in _command(process)] == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert list((tmp_path / "processes").iterdir()) == []


def test_rejects_questions_while_it_is_not_running(tmp_path: Path) -> None:
    """The attributes say that a start is missing."""
    with pytest.raises(StandInError, match="is not running; start it first"):
        _ = RedshiftStandIn(tmp_path).port


def test_runs_below_a_folder_that_only_root_may_enter(tmp_path: Path) -> None:
    """A clone in /root works: the server gives up root and still reaches its data."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    stand_in = RedshiftStandIn(closed / 'a folder\'s "name" with spaces' / ("deep" * 30))
    stand_in.start()
    owner = Path(f"/proc/{_process_id(stand_in, 'bin/postgres -D')}").stat().st_uid
    stand_in.stop()
    assert owner != 0


def test_rejects_a_machine_without_postgres_where_it_may_not_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ordinary user is told which package to install."""
    monkeypatch.setattr("local_cloud.redshift_stand_in.stand_in._DEBIAN_BINARIES", tmp_path / "none")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(StandInError, match="install it as root: apt-get install postgresql"):
        RedshiftStandIn(tmp_path / "folder").start()


def test_a_user_sees_its_own_sessions_and_may_end_them(stand_in: RedshiftStandIn) -> None:
    """As in Redshift's sys_session_history, and with the id that pg_terminate_backend takes."""
    with _connect(stand_in) as other, _connect(stand_in) as own:
        (pid,) = other.cursor().execute("select pg_backend_pid()").fetchall()[0]
        seen = own.cursor().execute("select session_id from sys_session_history where trim(status) = 'active'")
        sessions = {session for (session,) in seen.fetchall()}
        own.cursor().execute(f"select pg_terminate_backend({pid})")

        ours = stand_in.query("select pid from pg_stat_activity where usename = 'dbt'")
        assert pid in sessions
        assert _wait_until(lambda: (pid,) not in stand_in.query("select pid from pg_stat_activity"))
        assert sessions <= {session for (session,) in ours} | {pid}
