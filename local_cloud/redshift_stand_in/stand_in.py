"""The Redshift stand-in: a PostgreSQL of its own with the wire bridge before it."""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from local_cloud import debian_packages
from local_cloud.processes import Processes, free_port
from local_cloud.redshift_stand_in.certificates import make_server_certificate

_REPOSITORY = Path(__file__).parents[2]
_OLDEST_SUPPORTED = 14
_DEBIAN_BINARIES = Path("/usr/lib/postgresql")
_CLUSTER_SETTINGS = Path("/etc/postgresql-common/createcluster.conf")
_ADMIN = "admin"
_START_SECONDS = 30.0
_SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # A socket's path is limited to 107 bytes; the folder of a clone may be longer.
    "unix_socket_directories": "",
    # Loses data when the machine stops, which is no loss here, and is much faster.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # redshift_connector speaks md5 and not SCRAM.
    "password_encryption": "md5",
    "max_connections": "200",
    # Files in the data folder instead of /dev/shm, which is small or absent in containers.
    "dynamic_shared_memory_type": "mmap",
    # A query whose client is gone ends within this time.
    "client_connection_check_interval": "250ms",
    # Redshift reads a backslash in a string as an escape: '\\d' is \d.
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "backslash_quote": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    # The bridge prefixes Redshift's own settings.
    "redshift.query_group": "default",
}


class StandInError(RuntimeError):
    """The stand-in cannot run here; the message says why and what helps."""


@dataclass(frozen=True, slots=True)
class ActiveQuery:
    """A statement that the server is working on for the user dbt, and its session."""

    pid: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Connection:
    """What a client needs, and the superuser's own way in."""

    port: int
    postgres_port: int
    password: str
    admin_password: str


class RedshiftStandIn:
    """
    A database on loopback that dbt-redshift takes for Redshift.

    Everything lives below `folder`: data, certificates, logs and the records of the two processes. Data outlives `stop()`;
    password, ports and certificates are made anew at every start. Any process may read the attributes of, or stop, what another
    one started with the same folder. `report` is told when a package has to be installed.
    """

    host = "127.0.0.1"
    database = "warehouse"
    user = "dbt"

    def __init__(self, folder: Path, *, report: Callable[[str], None] = print) -> None:
        self._folder = folder.absolute()
        self._report = report
        self._processes = Processes(self._folder / "processes")
        self._record_file = self._folder / "stand-in.json"

    @property
    def port(self) -> int:
        """The port to connect to, with TLS."""
        return self._connection().port

    @property
    def postgres_port(self) -> int:
        """The port of the PostgreSQL behind the bridge, without TLS."""
        return self._connection().postgres_port

    @property
    def password(self) -> str:
        """The password of `user`: full of characters that break careless code."""
        return self._connection().password

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority that signed the server's certificate."""
        return self._folder / "tls" / "ca.pem"

    def start(self) -> None:
        """Serve; what an interrupted run left behind is ended first. Raises StandInError or ProcessDiedError."""
        self.stop()
        binaries = self._binaries()
        self._folder.mkdir(parents=True, exist_ok=True)
        data = self._data_folder(binaries)
        connection = _Connection(
            port=free_port(),
            postgres_port=free_port(),
            password=_awkward_password(),
            admin_password=self._admin_password_file.read_text(),
        )
        _write_private(self._record_file, json.dumps(asdict(connection)))
        try:
            self._start_postgres(binaries, data, connection)
            self._prepare_database(connection)
            self._start_bridge(connection)
        except BaseException:
            # Ctrl-C included: nothing half-started stays behind.
            self.stop()
            raise

    def stop(self) -> None:
        """End both processes; nothing that runs already is no error. The data stays."""
        self._processes.stop("bridge")
        # SIGINT is PostgreSQL's fast shutdown: it does not wait for sessions to end by themselves.
        self._processes.stop("postgres", first_signal=signal.SIGINT)
        self._wait_until_left()
        self._record_file.unlink(missing_ok=True)

    def run_sql(self, text: str) -> None:
        """Run statements of PostgreSQL's own SQL as superuser, each committed by itself with the others of `text`."""
        with self._admin_cursor() as cursor:
            cursor.execute(text)

    def query(self, text: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """The rows of one PostgreSQL query as superuser; with `parameters` each `%s` in the text stands for one."""
        with self._admin_cursor() as cursor:
            cursor.execute(text, parameters)
            return cursor.fetchall()

    def active_queries(self) -> list[ActiveQuery]:
        """What the server is working on for `user`, the oldest first."""
        rows = self.query(
            "select pid, query from pg_stat_activity where usename = %s and state = 'active' order by query_start, pid",
            [self.user],
        )
        return [ActiveQuery(pid, text) for pid, text in rows]

    def cut_connections(self) -> int:
        """End every session of `user` in the middle of whatever it does; returns how many there were."""
        rows = self.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", [self.user])
        return len(rows)

    def _wait_until_left(self) -> None:
        """The sessions of a server that had to be killed end by themselves, a moment after it."""
        deadline = time.monotonic() + _START_SECONDS
        data_folders = {folder.resolve() for folder in self._folder.glob("postgres-*/data")}
        while any(_working_folder(process) in data_folders for process in Path("/proc").glob("[0-9]*")):
            if time.monotonic() > deadline:
                raise StandInError(f"processes of the Redshift stand-in still work in {self._folder}; end them first")
            time.sleep(0.02)

    @property
    def _admin_password_file(self) -> Path:
        return self._folder / "admin-password"

    def _connection(self) -> _Connection:
        try:
            return _Connection(**json.loads(self._record_file.read_text()))
        except FileNotFoundError:
            raise StandInError(f"the Redshift stand-in in {self._folder} is not running; start it first") from None

    @contextlib.contextmanager
    def _admin_cursor(self, database: str = database) -> Iterator["psycopg2.extensions.cursor"]:
        connection = self._connection()
        session = psycopg2.connect(
            host=self.host,
            port=connection.postgres_port,
            user=_ADMIN,
            password=connection.admin_password,
            dbname=database,
            connect_timeout=10,
        )
        # `create database` runs outside a transaction only.
        session.autocommit = True
        try:
            with session.cursor() as cursor:
                yield cursor
        finally:
            session.close()

    def _binaries(self) -> Path:
        binaries = _newest_binaries()
        if binaries is None:
            _install_postgres(self._report)
            binaries = _newest_binaries()
        if binaries is None:
            raise StandInError(f"the package postgresql was installed but brought no version >= {_OLDEST_SUPPORTED}")
        return binaries

    def _data_folder(self, binaries: Path) -> Path:
        """The data folder, made if there is none; it is complete or not there."""
        # Another major version cannot read it.
        home = self._folder / f"postgres-{binaries.parent.name}"
        data = home / "data"
        if data.is_dir() and self._admin_password_file.is_file():
            return data
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        if os.geteuid() == 0:
            shutil.chown(home, _SERVER_USER, _SERVER_USER)
        _write_private(self._admin_password_file, secrets.token_urlsafe(24))
        unfinished = home / "unfinished"
        command = [
            *_as_server_user(),
            str(binaries / "initdb"),
            f"--pgdata={unfinished}",
            f"--username={_ADMIN}",
            f"--pwfile={self._admin_password_file}",
            "--auth=md5",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ]
        done = subprocess.run(command, env=_SERVER_ENVIRONMENT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StandInError(f"initdb failed with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
        unfinished.rename(data)
        return data

    def _start_postgres(self, binaries: Path, data: Path, connection: _Connection) -> None:
        settings = {**_SERVER_SETTINGS, "port": str(connection.postgres_port)}
        # Left by a server that was killed, it keeps the next one from starting once its process id is taken again.
        (data / "postmaster.pid").unlink(missing_ok=True)
        self._processes.start(
            "postgres",
            [
                *_as_server_user(),
                binaries / "postgres",
                "-D",
                data,
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            environment=_SERVER_ENVIRONMENT,
            log_file=self._folder / "logs" / "postgres.log",
        )
        self._processes.wait_for_port("postgres", connection.postgres_port, timeout_seconds=_START_SECONDS)
        self._wait_until_recovered()

    def _wait_until_recovered(self) -> None:
        """After a crash the port is open before the server takes sessions."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with self._admin_cursor("postgres"):
                    return
            except psycopg2.OperationalError:
                self._processes.check("postgres")
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def _prepare_database(self, connection: _Connection) -> None:
        database, user = sql.Identifier(self.database), sql.Identifier(self.user)
        with self._admin_cursor("postgres") as cursor:
            cursor.execute("select 1 from pg_database where datname = %s", [self.database])
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("create database {}").format(database))
            cursor.execute("select 1 from pg_roles where rolname = %s", [self.user])
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("create role {} login").format(user))
            cursor.execute(
                sql.SQL("alter role {} password {}").format(user, sql.Literal(connection.password)),
            )
            cursor.execute(sql.SQL("grant create, temporary on database {} to {}").format(database, user))
        # As in Redshift, everybody may create in the schema public.
        self.run_sql("grant create on schema public to public")
        self.run_sql(Path(__file__).with_name("redshift.sql").read_text())

    def _start_bridge(self, connection: _Connection) -> None:
        certificate = make_server_certificate(self._folder / "tls")
        self._processes.start(
            "bridge",
            [
                sys.executable,
                "-m",
                "local_cloud.redshift_stand_in.bridge",
                f"--port={connection.port}",
                f"--postgres-port={connection.postgres_port}",
                f"--certificate={certificate.certificate_file}",
                f"--key={certificate.key_file}",
            ],
            environment={"PYTHONPATH": str(_REPOSITORY), "PATH": os.defpath},
            log_file=self._folder / "logs" / "bridge.log",
        )
        self._processes.wait_for_port("bridge", connection.port, timeout_seconds=_START_SECONDS)


_SERVER_USER = "postgres"
_SERVER_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _as_server_user() -> list[str]:
    """
    The command that gives up root, which PostgreSQL refuses.

    The clone may lie below a folder that only root may enter (/root), so the one capability that opens it is kept.
    """
    if os.geteuid() != 0:
        return []
    return [
        "setpriv",
        f"--reuid={_SERVER_USER}",
        f"--regid={_SERVER_USER}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    ]


def _working_folder(process: Path) -> Path | None:
    try:
        return (process / "cwd").readlink()
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        # Gone meanwhile, or of another user and so not ours.
        return None


def _newest_binaries() -> Path | None:
    versions = {
        int(folder.name): folder / "bin"
        for folder in _DEBIAN_BINARIES.glob("*")
        if re.fullmatch(r"\d+", folder.name) and (folder / "bin" / "initdb").is_file()
    }
    newest = max(versions, default=0)
    return versions[newest] if newest >= _OLDEST_SUPPORTED else None


def _install_postgres(report: Callable[[str], None]) -> None:
    wanted = f"PostgreSQL {_OLDEST_SUPPORTED} or newer is needed below {_DEBIAN_BINARIES} for the Redshift stand-in"
    if not debian_packages.may_install():
        raise StandInError(f"{wanted}; install it as root: apt-get install postgresql")
    report("installing the Debian package postgresql for the Redshift stand-in")
    if not _CLUSTER_SETTINGS.exists():
        # Without this the package starts a server of its own on port 5432.
        _CLUSTER_SETTINGS.parent.mkdir(parents=True, exist_ok=True)
        _CLUSTER_SETTINGS.write_text("create_main_cluster = false\n")
    try:
        debian_packages.install(["postgresql"])
    except debian_packages.NotInstalledError as error:
        raise StandInError(f"{wanted}; {error}") from error


def _awkward_password() -> str:
    return secrets.token_urlsafe(12) + "'\"&$\\ %{}#äß€"


def _write_private(path: Path, content: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
