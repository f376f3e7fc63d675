"""A run may last longer than the credentials that its container is given."""

import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest

from runner.store import Store


class Endpoints(ThreadingHTTPServer):
    """ECS's credentials endpoint, each time with other credentials that soon expire, and an S3 that notes who asks."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.given = 0
        self.keys_used: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Endpoints

    def do_GET(self) -> None:
        """Give credentials."""
        self.server.given += 1
        # botocore asks for new ones ten minutes before these expire, so at each use.
        expires = datetime.now(UTC) + timedelta(minutes=5)
        body = {
            "AccessKeyId": f"KEY{self.server.given}",
            "SecretAccessKey": "secret",
            "Token": "token",
            "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        self._answer(json.dumps(body).encode())

    def do_PUT(self) -> None:
        """Take an object."""
        self.rfile.read(int(self.headers["Content-Length"]))
        signed_by = re.search(r"Credential=(\w+)/", self.headers["Authorization"])
        assert signed_by is not None
        self.server.keys_used.append(signed_by[1])
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoints(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoints]:
    """The two endpoints, as a container on Fargate is told of them."""
    server = Endpoints()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{address}/credentials")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
    # Another test's session has credentials already.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    yield server
    server.shutdown()
    server.server_close()


def test_a_long_run_writes_with_the_credentials_of_the_moment(endpoints: Endpoints) -> None:
    """The record is written to its end, though those that the run began with have expired."""
    store = Store("records", "shop/")
    store.put("first", b"1")
    store.put("second", b"2")

    first, second = endpoints.keys_used
    assert first != second
