"""
A stand-in for S3, STS, ECS, SNS and Slack over HTTP, small enough to read in one go.

It exists only here: a test of the DAG has no ECS, so "containers" are Python functions that write a run record as the runner does.
Real containers run in the end-to-end tests.
"""

import hashlib
import json
import re
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.sax.saxutils import escape

Script = Callable[["FakeContainer"], int | None]

PERSON = "arn:aws:sts::111111111111:assumed-role/analyst/ana"


@dataclass
class FakeContainer:
    """One ECS task: its script runs in a thread; it ends when the script returns an exit code, or None if it never started."""

    aws: "FakeAws"
    arn: str
    started_by: str
    request: dict[str, Any]
    environment: dict[str, str]
    last_status: str = "RUNNING"
    desired_status: str = "RUNNING"
    exit_code: int | None = None
    stop_code: str = ""
    stopped_reason: str = ""
    stop_requested: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def family(self) -> str:
        """The name of its task definition, which is one for each project."""
        return str(self.request["taskDefinition"]).rpartition("/")[2].partition(":")[0]

    @property
    def spec(self) -> dict[str, Any]:
        """The run spec that the launcher gave it."""
        if "RUNNER_SPEC_URI" in self.environment:
            bucket, _, key = self.environment["RUNNER_SPEC_URI"].removeprefix("s3://").partition("/")
            found: dict[str, Any] = json.loads(self.aws.objects[bucket][key])
            return found
        given: dict[str, Any] = json.loads(self.environment.get("RUNNER_SPEC", "{}"))
        return given

    def record(self) -> "RecordWriter":
        """The record of this container's attempt."""
        return RecordWriter(self.aws, self.environment["RUNNER_RUN_ID"], int(self.environment["RUNNER_ATTEMPT"]))

    def describe(self) -> dict[str, Any]:
        """As DescribeTasks answers."""
        ours = {"name": "dbt"} | ({} if self.exit_code is None else {"exitCode": self.exit_code})
        return {
            "taskArn": self.arn,
            "lastStatus": self.last_status,
            "desiredStatus": self.desired_status,
            "startedBy": self.started_by,
            "stopCode": self.stop_code,
            "stoppedReason": self.stopped_reason,
            # AWS may inject containers of its own before ours.
            "containers": [{"name": "aws-guardduty-agent-x", "exitCode": 0}, ours],
            "overrides": self.request["overrides"],
        }

    def run(self, script: Script) -> None:
        """Run to the end; the body of the thread."""
        self.exit_code = script(self)
        if not self.stopped_reason:
            self.stop_code, self.stopped_reason = "EssentialContainerExited", "Essential container in task exited"
        self.desired_status = self.last_status = "STOPPED"
        self.ended.set()


@dataclass
class RecordWriter:
    """Writes the run record of one attempt as the runner does (docs/run-record.md)."""

    aws: "FakeAws"
    run_id: str
    attempt: int
    project: str = "bookshop"
    batches: int = 0

    @property
    def folder(self) -> str:
        """Where the attempt is in the bucket."""
        return f"{self.project}/runs/{self.run_id}/attempts/{self.attempt:04d}/"

    def start(self, *steps: str) -> None:
        """start.json."""
        content = {"format_version": 1, "spec": {"steps": [{"name": step, "policy": "must_pass"} for step in steps]}}
        self.aws.put("artifacts", f"{self.folder}start.json", json.dumps(content).encode())

    def events(self, *events: Mapping[str, Any]) -> None:
        """One batch."""
        self.batches += 1
        now = datetime.now(UTC).isoformat()
        body = "".join(json.dumps({"t": now} | dict(event)) + "\n" for event in events)
        self.aws.put("artifacts", f"{self.folder}events/{self.batches:06d}.jsonl", body.encode())

    def plan(self, *unique_ids: str, step: str = "build") -> None:
        """The step begins and says what it will do."""
        nodes = [
            {"unique_id": name, "resource_type": name.split(".")[0], "name": name.split(".")[2]} for name in unique_ids
        ]
        self.events({"type": "step_started", "step": step})
        self.events({"type": "planned", "step": step, "nodes": nodes})

    def finish_node(self, unique_id: str, status: str = "success", **fields: object) -> None:
        """A node ends."""
        self.events(
            {"type": "node_finished", "step": "build", "unique_id": unique_id, "status": status, "seconds": 0.5}
            | fields
        )

    def finish_nodes(self, *unique_ids: str) -> None:
        """Nodes end well, in one batch."""
        event = {"type": "node_finished", "step": "build", "status": "success", "seconds": 0.5}
        self.events(*(event | {"unique_id": unique_id} for unique_id in unique_ids))

    def end(self, outcome: str, exit_code: int, headline: str, nodes: Mapping[str, Mapping[str, Any]]) -> int:
        """The last event and end.json; returns the exit code."""
        self.events({"type": "run_finished", "outcome": outcome, "exit_code": exit_code, "headline": headline})
        content = {
            "format_version": 1, "run_id": self.run_id, "attempt": self.attempt, "outcome": outcome,
            "exit_code": exit_code, "headline": headline, "steps": [], "nodes": nodes,
            "counts": {}, "docs": None,
        }  # fmt: skip
        self.aws.put("artifacts", f"{self.folder}end.json", json.dumps(content).encode())
        return exit_code


class FakeAws:
    """The server; `script` is what each container does, `refusals` the answers that RunTask gives first."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, bytes]] = {"artifacts": {}, "airflow": {}}
        self.containers: list[FakeContainer] = []
        self.calls: list[str] = []
        # What was sent to SNS topics, and to Slack, which is here, too.
        self.published: list[dict[str, str]] = []
        self.slack_messages: list[dict[str, Any]] = []
        self.reads = 0
        self.refusals: list[dict[str, Any]] = []
        self.script: Script = lambda _: 0
        # Cleared where a test needs the moment after a launch of which its launcher has not heard.
        self.launches_are_answered = threading.Event()
        self.launches_are_answered.set()
        self._tokens: dict[str, FakeContainer] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def endpoint_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What boto3 needs to come here."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "ambient",
            "AWS_SECRET_ACCESS_KEY": "ambient",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        }

    def close(self) -> None:
        """Stop listening and let every container end."""
        for container in self.containers:
            container.stop_requested.set()
        self._server.shutdown()
        self._server.server_close()

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Store an object."""
        self.objects[bucket][key] = body

    def live(self) -> list[FakeContainer]:
        """The containers that have not stopped."""
        return [container for container in self.containers if container.last_status != "STOPPED"]

    def ecs(self, action: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer a call of ECS's JSON protocol: status and body."""
        self.calls.append(action)
        match action:
            case "RunTask":
                return self._run_task(request)
            case "ListTasks":
                alike = [found for found in self.containers if found.desired_status == request["desiredStatus"]]
                return 200, {"taskArns": [found.arn for found in alike if found.family == request["family"]]}
            case "DescribeTasks":
                found = [container for container in self.containers if container.arn in request["tasks"]]
                return 200, {"tasks": [container.describe() for container in found], "failures": []}
            case "StopTask":
                (container,) = [found for found in self.containers if found.arn == request["task"]]
                if container.last_status != "STOPPED":
                    container.desired_status = "STOPPED"
                    container.stop_code, container.stopped_reason = "UserInitiated", request["reason"]
                    container.stop_requested.set()
                return 200, {"task": container.describe()}
        return 400, {"__type": "InvalidAction", "message": action}

    def _run_task(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self._lock:
            known = self._tokens.get(request["clientToken"])
            if known is not None:
                return 200, {"tasks": [known.describe()], "failures": []}
            if self.refusals:
                refusal = self.refusals.pop(0)
                return (400, refusal) if "__type" in refusal else (200, {"tasks": [], "failures": [refusal]})
            (override,) = request["overrides"]["containerOverrides"]
            container = FakeContainer(
                aws=self,
                arn=f"arn:aws:ecs:eu-west-1:111111111111:task/dev/{uuid.uuid4().hex}",
                started_by=request["startedBy"],
                request=request,
                environment={entry["name"]: entry["value"] for entry in override["environment"]},
            )
            self.containers.append(container)
            self._tokens[request["clientToken"]] = container
        threading.Thread(target=container.run, args=(self.script,), daemon=True).start()
        self.launches_are_answered.wait(30)
        return 200, {"tasks": [container.describe()], "failures": []}

    def _list(self, bucket: str, query: Mapping[str, str]) -> str:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        keys = sorted(key for key in self.objects[bucket] if key.startswith(prefix))
        folders = sorted(
            {
                prefix + key[len(prefix) :].partition(delimiter)[0] + delimiter
                for key in keys
                if delimiter in key[len(prefix) :]
            }
            if delimiter
            else set()
        )
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><ETag>&quot;{_etag(self.objects[bucket][key])}&quot;</ETag></Contents>"
            for key in keys
            if not any(key.startswith(folder) for folder in folders)
        )
        prefixes = "".join(f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in folders)
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}{prefixes}</ListBucketResult>"

    def _post(self, path: str, action: str, body: bytes) -> tuple[int, bytes, str]:
        if path == "/slack/chat.postMessage":
            self.slack_messages.append(json.loads(body))
            return 200, b'{"ok": true}', "application/json"
        if action:
            status, answer = self.ecs(action, json.loads(body))
            return status, json.dumps(answer).encode(), "application/x-amz-json-1.1"
        return 200, self._query_api(dict(urllib.parse.parse_qsl(body.decode()))).encode(), "text/xml"

    def _query_api(self, form: dict[str, str]) -> str:
        if form["Action"] == "Publish":
            self.published.append(form)
            return "<PublishResponse><PublishResult/></PublishResponse>"
        if form["Action"] == "GetCallerIdentity":
            return f"<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>{PERSON}</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>"
        self.calls.append(f"AssumeRole {form['RoleArn']}")
        expiry = datetime.fromtimestamp(time.time() + 3600, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return _ASSUMED.replace("EXPIRY", expiry)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        aws = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # An answer in one piece: of two the second waits for the client's delayed acknowledgement.
            wbufsize = 65536

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                """S3: get or list."""
                aws.reads += 1
                url = urllib.parse.urlsplit(self.path)
                bucket, _, key = urllib.parse.unquote(url.path).lstrip("/").partition("/")
                query = dict(urllib.parse.parse_qsl(url.query))
                if not key:
                    self._answer(200, aws._list(bucket, query).encode(), "application/xml")
                elif key in aws.objects[bucket]:
                    self._answer(200, aws.objects[bucket][key], "application/octet-stream")
                else:
                    self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")

            def do_PUT(self) -> None:
                """S3: put."""
                bucket, _, key = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/").partition("/")
                aws.put(bucket, key, self._body())
                self._answer(200, b"", "application/xml")

            def do_POST(self) -> None:
                """ECS, STS, SNS or Slack."""
                target = self.headers.get("X-Amz-Target", "")
                self._answer(*aws._post(self.path, target.rpartition(".")[2], self._body()))

            def _body(self) -> bytes:
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def _answer(self, status: int, body: bytes, content_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler


def _etag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


_ASSUMED = re.sub(
    r"\s+",
    "",
    """<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>launch</AccessKeyId>
    <SecretAccessKey>launch</SecretAccessKey><SessionToken>launch</SessionToken><Expiration>EXPIRY</Expiration>
    </Credentials></AssumeRoleResult></AssumeRoleResponse>""",
)
