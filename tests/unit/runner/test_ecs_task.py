"""What a container learns of itself from ECS."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from runner.ecs_task import task_metadata

# As in https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate-examples.html.
FARGATE = {
    "Image": "111122223333.dkr.ecr.us-west-2.amazonaws.com/curltest:latest",
    "Labels": {
        "com.amazonaws.ecs.task-arn": "arn:aws:ecs:us-west-2:111122223333:task/default/e9028f8d5d8e4f258373e7b93ce9a3c3",
        "com.amazonaws.ecs.task-definition-family": "curltest",
        "com.amazonaws.ecs.task-definition-version": "3",
    },
    "LogOptions": {
        "awslogs-group": "/ecs/containerlogs",
        "awslogs-stream": "ecs/curl/cd189a933e5849daa93386466019ab50",
    },
}


@contextmanager
def endpoint(answer: dict[str, Any]) -> Iterator[str]:
    """An HTTP server that answers every GET; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_fargate_tells_task_revision_image_and_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The revision is what a retry of this run starts again, whatever is deployed by then."""
    with endpoint(FARGATE) as uri:
        monkeypatch.setenv("ECS_CONTAINER_METADATA_URI_V4", uri)
        told = task_metadata()

    assert told["task_definition"] == "curltest:3"
    assert told["task_arn"].endswith("/e9028f8d5d8e4f258373e7b93ce9a3c3")
    assert told["log"] == {"group": "/ecs/containerlogs", "stream": "ecs/curl/cd189a933e5849daa93386466019ab50"}


def test_no_revision_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the labels are missing nothing is said, so that no retry starts another revision for this one."""
    with endpoint({"Image": "x"}) as uri:
        monkeypatch.setenv("ECS_CONTAINER_METADATA_URI_V4", uri)

        assert task_metadata()["task_definition"] is None
