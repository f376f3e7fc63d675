"""The server of `make docs`: this machine's browser alone, read only, each project's own pages in a sandbox."""

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from stacks.environments import ENVIRONMENTS
from tools.pages import Found, PagesError, artifacts_bucket, bucket_reader, main, server

OBJECTS = {
    "_pages/index.html": Found(body=b"<h1>portal</h1>", headers={"Content-Type": "text/html"}),
    "shop/docs/r-0001/index.html": Found(
        body=b"\x1f\x8b", headers={"Content-Type": "text/html", "Content-Encoding": "gzip"}
    ),
    "shop/runs/a:b+c/report.html": Found(body=b"report", headers={"Content-Type": "text/html"}),
}


def _read(key: str) -> Found | None:
    if key == "refused":
        raise PagesError("s3:GetObject on s3://bucket/refused failed")
    return OBJECTS.get(key)


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server over OBJECTS."""
    served = server(_read, port=0)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield int(served.server_address[1])
    served.shutdown()
    served.server_close()


def ask(port: int, path: str, *, method: str = "GET", host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_what_is_stored_compressed_is_sent_so(port: int) -> None:
    """With the type and the encoding of the object."""
    status, headers, body = ask(port, "/shop/docs/r-0001/index.html")

    assert (status, headers["Content-Encoding"], body) == (200, "gzip", b"\x1f\x8b")


def test_pages_that_a_project_wrote_have_no_origin(port: int) -> None:
    """Whatever is in a report or in docs can read no other project's page; the portal is ours."""
    of_report = ask(port, "/shop/runs/a%3Ab%2Bc/report.html")[1]["Content-Security-Policy"]
    of_docs = ask(port, "/shop/docs/r-0001/index.html")[1]["Content-Security-Policy"]

    assert of_report.startswith("sandbox allow-scripts")
    assert of_docs.startswith("sandbox allow-scripts")
    assert not [policy for policy in (of_report, of_docs) if "allow-same-origin" in policy]
    assert "sandbox" not in ask(port, "/_pages/index.html")[1]["Content-Security-Policy"]


def test_the_root_leads_to_the_portal(port: int) -> None:
    """Also with HEAD, which has no body."""
    status, headers, body = ask(port, "/", method="HEAD")

    assert (status, headers["Location"], body) == (302, "/_pages/index.html", b"")


@pytest.mark.parametrize("host", ["evil.example.com", "evil.example.com:80", "127.0.0.1", "127.0.0.1:1"])
def test_rejects_whoever_asks_by_another_name(port: int, host: str) -> None:
    """A page of another host whose name was made to lead here reads nothing."""
    assert ask(port, "/_pages/index.html", host=host)[0] == 403


@pytest.mark.parametrize(
    ("path", "status"), [("/nothing", 404), ("/shop/history/overview.json", 204), ("/refused", 502)]
)
def test_what_is_not_there_is_said(port: int, path: str, status: int) -> None:
    """A history that has not begun is no error."""
    assert ask(port, path)[0] == status


def test_a_missing_page_is_a_page_of_ours(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it is hosted: with 404, shut in as what was asked for; in words where an earlier version was deployed."""
    without = ask(port, "/shop/docs/gone/index.html")
    page = Found(body=b"<h1>gone</h1>", headers={"Content-Type": "text/html", "Content-Encoding": "gzip"})
    monkeypatch.setitem(OBJECTS, "_pages/not-found.html", page)
    status, headers, body = ask(port, "/shop/docs/gone/index.html")

    assert (without[0], without[2]) == (404, b"there is no such page\n")
    assert (status, body, headers["Content-Type"], headers["Content-Encoding"]) == (404, page.body, "text/html", "gzip")
    assert headers["Content-Security-Policy"].startswith("sandbox")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_rejects_everything_but_reading(port: int, method: str) -> None:
    """The server knows no other verb."""
    assert ask(port, "/_pages/index.html", method=method)[0] == 501


@mock_aws
def test_reads_objects_with_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Type and encoding come from the bucket; a missing object is none; a refusal is an error in words."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="a", Body=b"x", ContentType="text/html", ContentEncoding="gzip")
    read = bucket_reader(client, "bucket")

    assert read("a") == Found(body=b"x", headers={"Content-Type": "text/html", "Content-Encoding": "gzip"})
    assert read("b") is None
    with pytest.raises(PagesError, match="s3:GetObject on s3://elsewhere/a failed"):
        bucket_reader(client, "elsewhere")("a")


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> Stubber:
    """What CloudFormation answers."""
    client = boto3.client("cloudformation", region_name="us-east-1")
    monkeypatch.setattr("tools.pages.boto3.client", lambda *_, **__: client)
    stubber = Stubber(client)
    stubber.activate()
    return stubber


def _stack(**output: str) -> dict[str, Any]:
    outputs = [{"OutputKey": key, "OutputValue": value} for key, value in output.items()]
    return {"Stacks": [{"StackName": "x", "CreationTime": 0, "StackStatus": "CREATE_COMPLETE", "Outputs": outputs}]}


def test_the_bucket_is_the_output_of_the_stack(cloudformation: Stubber) -> None:
    """Of the environment that was asked for."""
    found = _stack(ClusterName="c", ArtifactsBucketName="bucket")
    cloudformation.add_response("describe_stacks", found, {"StackName": f"{ENVIRONMENTS[0].name}-dbt"})

    assert artifacts_bucket(ENVIRONMENTS[0]) == "bucket"


def test_rejects_what_is_not_deployed(cloudformation: Stubber, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that says what to do, no traceback."""
    cloudformation.add_client_error("describe_stacks", "ValidationError", "Stack with id dev-dbt does not exist")
    cloudformation.add_response("describe_stacks", _stack(ClusterName="c"))

    assert main([ENVIRONMENTS[0].name, "--no-browser"], ENVIRONMENTS) == 1
    assert "does not exist" in capsys.readouterr().err
    assert main([ENVIRONMENTS[0].name, "--no-browser"], ENVIRONMENTS) == 1
    assert "has no output ArtifactsBucketName" in capsys.readouterr().err


def test_rejects_an_unknown_project(capsys: pytest.CaptureFixture[str]) -> None:
    """The known ones are named."""
    assert main([ENVIRONMENTS[0].name, "unknown"], ENVIRONMENTS) == 1
    assert "project must be one of" in capsys.readouterr().err


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The bucket of the first environment, with the docs of two attempts of run `a` and of run `a-0001-b`; the opened pages."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    opened: list[str] = []
    monkeypatch.setattr("tools.pages.artifacts_bucket", lambda _: "bucket")
    monkeypatch.setattr("tools.pages.show", lambda _, page, **__: opened.append(page))
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        project = ENVIRONMENTS[0].projects[0].name
        for run in ("a-0001", "a-0002", "a-0001-b-0001", "2026-11-22T05:00:00+00:00-0001"):
            client.put_object(Bucket="bucket", Key=f"{project}/docs/{run}/index.html", Body=b"docs")
        runs = [
            {"run_id": "old", "attempt": 1, "outcome": "success", "ended_at": "2025-01-01T05:10:00Z", "docs": True},
            {"run_id": "bad", "attempt": 1, "outcome": "failed", "ended_at": "2026-11-01T05:10:00Z", "docs": False},
        ]
        client.put_object(Bucket="bucket", Key=f"{project}/history/runs.json", Body=json.dumps({"runs": runs}))
        yield lambda *arguments: (main([ENVIRONMENTS[0].name, *arguments], ENVIRONMENTS), opened)


@pytest.mark.parametrize(
    ("run", "opened"),
    [
        ("a", "a-0002"),
        ("a-0001-b", "a-0001-b-0001"),
        ("2026-11-22T05:00:00+00:00", "2026-11-22T05%3A00%3A00%2B00%3A00-0001"),
    ],
)
def test_opens_the_docs_of_any_run(deployed: Any, run: str, opened: str) -> None:  # noqa: ANN401 - a fixture's function
    """Those of its last attempt that made any, and of no run whose id only begins alike."""
    project = ENVIRONMENTS[0].projects[0].name

    assert deployed(project, "--run", run) == (0, [f"{project}/docs/{opened}/index.html"])


@pytest.mark.parametrize(
    ("run", "error"),
    [
        ("old", "which ended 2025-01-01T05:10:00Z, have expired: they are kept for "),
        ("bad", "run 'bad' made no dbt docs: it ended as 'failed'"),
        ("a-0", "there are no dbt docs of run 'a-0': no such run is known, or they have expired"),
    ],
)
def test_says_why_there_are_no_docs_of_a_run(
    deployed: Any,  # noqa: ANN401 - a fixture's function
    capsys: pytest.CaptureFixture[str],
    run: str,
    error: str,
) -> None:
    """Expired, never made, or unknown; nothing is served."""
    assert deployed(ENVIRONMENTS[0].projects[0].name, "--run", run) == (1, [])
    assert error in capsys.readouterr().err


def test_rejects_a_run_without_its_project(deployed: Any, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ANN401 - a fixture's function
    """Ids of runs are unique within a project."""
    assert deployed("--run", "a") == (1, [])
    assert "name the project of run 'a'" in capsys.readouterr().err
