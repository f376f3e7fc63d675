"""Redshift's temporary credentials, which a long run outlives."""

import secrets
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.faults.machine import Machine
from tests.runner.attempts import builds, ended, started
from tests.unit.runner.support import validated_record

pytestmark = pytest.mark.usefixtures("schema")
_LIFETIME = timedelta(seconds=4)
_ANSWER = """<{action}Response xmlns="http://redshift.amazonaws.com/doc/2012-12-01/"><{action}Result>
<DbUser>{user}</DbUser><DbPassword>{password}</DbPassword><Expiration>{expiration}</Expiration>
</{action}Result></{action}Response>"""


class Redshift(ThreadingHTTPServer):
    """Redshift's API as far as a login needs it; the warehouse takes each password until the time that is said with it."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.passwords: list[str] = []
        self._machine = machine
        self._valid_until = datetime.now(UTC)
        self._one_at_a_time = threading.Lock()

    def login(self) -> tuple[str, datetime]:
        """A password, and until when it may be used."""
        with self._one_at_a_time:
            # The warehouse knows one password at a time, so those who ask at the same moment get the same.
            if datetime.now(UTC) > self._valid_until - _LIFETIME / 4:
                self.passwords.append(secrets.token_urlsafe(24))
                self._valid_until = datetime.now(UTC) + _LIFETIME
                self._machine.stand_in.run_sql(
                    f"alter role {self._machine.stand_in.user} password '{self.passwords[-1]}' "
                    f"valid until '{(self._valid_until + timedelta(seconds=1)).isoformat()}'"
                )
            return self.passwords[-1], self._valid_until


class _Handler(BaseHTTPRequestHandler):
    server: Redshift

    def do_POST(self) -> None:
        """Answer GetClusterCredentials and GetClusterCredentialsWithIAM."""
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        password, expiration = self.server.login()
        body = _ANSWER.format(
            action=form["Action"][0],
            user=self.server._machine.stand_in.user,
            password=password,
            expiration=expiration.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def redshift(machine: Machine) -> Iterator[Redshift]:
    """The API; afterwards the warehouse takes the lane's own password again."""
    server = Redshift(machine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
    machine.stand_in.run_sql(f"alter role {machine.stand_in.user} valid until 'infinity'")
    machine.start_warehouse()


@pytest.mark.parametrize("user", ["dbt", None], ids=["GetClusterCredentials", "GetClusterCredentialsWithIAM"])
def test_a_run_outlives_the_password_that_it_began_with(machine: Machine, redshift: Redshift, user: str | None) -> None:
    """Each connection has a password of the moment, and none of them is in the log or the record."""
    machine.set_pace(12.0)
    run_id = f"expires-{user}"
    attempt = started(
        machine,
        run_id,
        spec={"steps": ["build"]},
        command=[
            "env",
            f"AWS_ENDPOINT_URL_REDSHIFT=http://127.0.0.1:{redshift.server_port}",
            sys.executable,
            "-m",
            "runner",
        ],
        credentials={
            "kind": "redshift_iam",
            "database": machine.stand_in.database,
            "cluster_identifier": "warehouse",
            "host": machine.stand_in.host,
            "port": machine.warehouse_proxy.port,
            **({"user": user} if user else {}),
        },
    )
    code = ended(attempt)

    log = attempt.log.read_text()
    assert code == 0, log
    assert len(builds(machine)) == 15
    assert len(redshift.passwords) >= 3
    record = validated_record(machine.store, run_id)
    assert not [password for password in redshift.passwords if password in log or password in str(record)]
