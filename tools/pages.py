"""`make docs ENV=… PROJECT=…`: shows an environment's pages, from its bucket, on this machine, with one's own AWS credentials."""

import argparse
import contextlib
import gzip
import json
import re
import sys
import threading
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from constructs_lib.pages_headers import CSP_OF_DOCS, CSP_OF_PAGES, CSP_OF_REPORTS
from stacks import names
from stacks.settings import Environment

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_BUCKET_OUTPUT = "ArtifactsBucketName"
_NOT_FOUND_PAGE = f"{names.PAGES_PREFIX}not-found.html"
_HOSTS = ("127.0.0.1", "localhost")
_ATTEMPT = re.compile(r"\d{4}/")
_PASSED_ON = {"ContentType": "Content-Type", "ContentEncoding": "Content-Encoding"}


class PagesError(Exception):
    """The pages cannot be shown; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One object of the bucket, as it is stored."""

    body: bytes
    headers: Mapping[str, str]

    def content(self) -> bytes:
        """The body, decompressed."""
        return gzip.decompress(self.body) if self.headers.get("Content-Encoding") == "gzip" else self.body


Read = Callable[[str], Found | None]
"""Returns the object of a key, None if there is none; raises PagesError if it may not be read."""


def server(read: Read, *, port: int) -> ThreadingHTTPServer:
    """
    Return a server of this machine, which `serve_forever` starts, over what `read` finds; `port` 0 is any that is free.

    It answers GET and HEAD only, and only to a browser that asked for this machine by name: a page of another host whose name is
    made to lead here gets nothing.
    """
    return ThreadingHTTPServer(("127.0.0.1", port), type("_Handler", (_Handler,), {"read": staticmethod(read)}))


class _Handler(BaseHTTPRequestHandler):
    read: Read
    protocol_version = "HTTP/1.1"
    server_version = "pages"
    sys_version = ""

    def do_GET(self) -> None:
        """Send an object."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send what a GET would begin with."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - as BaseHTTPRequestHandler calls it
        """Say nothing: the terminal is for what goes wrong."""

    def _answer(self, *, with_body: bool) -> None:
        host, _, port = self.headers.get("Host", "").rpartition(":")
        if host not in _HOSTS or port != str(self.connection.getsockname()[1]):
            return self._send(
                HTTPStatus.FORBIDDEN, b"this server is asked by this machine only\n", {}, with_body=with_body
            )
        key = unquote(urlsplit(self.path).path).lstrip("/")
        if not key:
            return self._send(
                HTTPStatus.FOUND, b"", {"Location": f"/{names.PAGES_PREFIX}index.html"}, with_body=with_body
            )
        try:
            found = self.read(key)
        except PagesError as error:
            print(f"error: {error}", file=sys.stderr)
            return self._send(HTTPStatus.BAD_GATEWAY, f"{error}\n".encode(), {}, with_body=with_body)
        if found is None:
            return self._send_missing(key, with_body=with_body)
        return self._send_found(HTTPStatus.OK, found, key, with_body=with_body)

    def _send_missing(self, key: str, *, with_body: bool) -> None:
        # A project that has not run yet has no history, which is nothing wrong; a browser would report a 404 as an error.
        if "/history/" in key:
            return self._send(HTTPStatus.NO_CONTENT, b"", {}, with_body=with_body)
        try:
            page = self.read(_NOT_FOUND_PAGE)
        except PagesError:
            page = None
        if page is None:
            # An environment that an earlier version has deployed has no such page.
            return self._send(HTTPStatus.NOT_FOUND, b"there is no such page\n", {}, with_body=with_body)
        return self._send_found(HTTPStatus.NOT_FOUND, page, key, with_body=with_body)

    def _send_found(self, status: HTTPStatus, found: Found, key: str, *, with_body: bool) -> None:
        headers = {**found.headers, "Content-Security-Policy": _policy(key)}
        self._send(status, found.body, headers, with_body=with_body)

    def _send(self, status: HTTPStatus, body: bytes, headers: Mapping[str, str], *, with_body: bool) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "text/plain; charset=utf-8",
            **headers,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Frame-Options": "DENY",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def _policy(key: str) -> str:
    """
    Return what a page may do, as where it is hosted.

    Reports and dbt's docs are made by the projects' own tasks, so they have no origin: they can read no other page through here.
    """
    if key.startswith(names.PAGES_PREFIX):
        return CSP_OF_PAGES
    return CSP_OF_DOCS if "/docs/" in key else CSP_OF_REPORTS


def bucket_reader(s3: "S3Client", bucket: str) -> Read:
    """Return a reader of `bucket`."""

    def read(key: str) -> Found | None:
        try:
            answer = s3.get_object(Bucket=bucket, Key=key)
            body = answer["Body"].read()
        except ClientError as error:
            if error.response["Error"].get("Code") in {"NoSuchKey", "404"}:
                return None
            raise PagesError(f"s3:GetObject on s3://{bucket}/{key} failed: {error}") from error
        except BotoCoreError as error:
            raise PagesError(f"s3:GetObject on s3://{bucket}/{key} failed: {error}") from error
        found: Mapping[str, Any] = answer
        return Found(body=body, headers={header: found[name] for name, header in _PASSED_ON.items() if found.get(name)})

    return read


def artifacts_bucket(environment: Environment) -> str:
    """Return the bucket that the environment's stack has as an output; raises PagesError if it cannot be known."""
    stack_name = names.environment_stack(environment.name)
    try:
        client = boto3.client("cloudformation", region_name=environment.region)
        outputs = client.describe_stacks(StackName=stack_name)["Stacks"][0].get("Outputs", [])
    except (ClientError, BotoCoreError) as error:
        raise PagesError(f"cloudformation:DescribeStacks on {stack_name} failed: {error}") from error
    for output in outputs:
        if output.get("OutputKey") == _BUCKET_OUTPUT:
            return str(output["OutputValue"])
    raise PagesError(f"stack {stack_name} has no output {_BUCKET_OUTPUT}: deploy it with this version")


def docs_of_run(s3: "S3Client", bucket: str, *, project: str, run_id: str, retention_days: int) -> str:
    """
    Return the key of the dbt docs that the last attempt of a run has made which made any.

    Raises PagesError if there are none, or none any more: S3 deletes them `retention_days` after the run.
    """
    prefix = f"{project}/docs/{run_id}-"
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        folders = [folder["Prefix"] for page in pages for folder in page.get("CommonPrefixes", [])]
        # Another run's id may begin as this one's does.
        own = [folder for folder in folders if _ATTEMPT.fullmatch(folder.removeprefix(prefix))]
        if own:
            return f"{max(own)}index.html"
        history = bucket_reader(s3, bucket)(f"{project}/history/runs.json")
    except (ClientError, BotoCoreError) as error:
        raise PagesError(f"s3:ListBucket on s3://{bucket}/{prefix} failed: {error}") from error
    runs = json.loads(history.content())["runs"] if history else []
    attempts = [run for run in runs if run["run_id"] == run_id]
    kept = f"they are kept for {retention_days} days"
    if any(run.get("docs") for run in attempts):
        raise PagesError(
            f"the dbt docs of run {run_id!r}, which ended {attempts[-1]['ended_at']}, have expired: {kept}"
        )
    if attempts:
        raise PagesError(f"run {run_id!r} made no dbt docs: it ended as {attempts[-1]['outcome']!r}")
    raise PagesError(f"there are no dbt docs of run {run_id!r}: no such run is known, or they have expired: {kept}")


def main(arguments: Sequence[str], environments: Sequence[Environment]) -> int:
    """Serve until Ctrl-C; returns the exit code."""
    parser = argparse.ArgumentParser(prog="pages", description="Shows the pages of an environment.")
    parser.add_argument("environment", choices=[environment.name for environment in environments])
    parser.add_argument("project", nargs="?", default="")
    parser.add_argument("--run", default="", help="open the dbt docs of this run")
    parser.add_argument("--port", type=int, default=8642, help="0: any that is free (default 8642)")
    parser.add_argument("--no-browser", action="store_true", help="only say the address")
    chosen = parser.parse_args(arguments)
    environment = next(found for found in environments if found.name == chosen.environment)
    known = [project.name for project in environment.projects]
    if chosen.project and chosen.project not in known:
        print(f"error: project must be one of {', '.join(known)}, got {chosen.project!r}", file=sys.stderr)
        return 1
    if chosen.run and not chosen.project:
        print(
            f"error: name the project of run {chosen.run!r}: make docs ENV={chosen.environment} PROJECT=",
            file=sys.stderr,
        )
        return 1
    try:
        s3, bucket = boto3.client("s3", region_name=environment.region), artifacts_bucket(environment)
        page = f"{names.PAGES_PREFIX}index.html"
        if chosen.run:
            days = environment.records_retention_days
            page = quote(docs_of_run(s3, bucket, project=chosen.project, run_id=chosen.run, retention_days=days))
        elif chosen.project:
            page = f"{names.PAGES_PREFIX}project.html?name={quote(chosen.project)}"
        show(bucket_reader(s3, bucket), page, port=chosen.port, opens_browser=not chosen.no_browser)
    except (PagesError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def show(read: Read, page: str, *, port: int, opens_browser: bool = True) -> None:
    """Serve what `read` finds until Ctrl-C, and open `page` in the browser; raises OSError if the port is taken."""
    served = server(read, port=port)
    address = f"http://127.0.0.1:{served.server_address[1]}/{page}"
    print(f"{address}\nCtrl-C ends it", flush=True)
    if opens_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            served.serve_forever()
    finally:
        served.server_close()


if __name__ == "__main__":
    from stacks.environments import ENVIRONMENTS

    raise SystemExit(main(sys.argv[1:], ENVIRONMENTS))
