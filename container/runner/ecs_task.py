"""What ECS tells a container about itself."""

from __future__ import annotations

import json
import logging
import os
import urllib.parse
import urllib.request
from typing import Any

_LOG = logging.getLogger("runner")


def task_metadata() -> dict[str, Any]:
    """
    Return what ECS tells a container about itself: task_arn, task_definition (`family:revision`), image, and log with group and stream.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html; nothing of it is
    needed, so a run outside ECS, or one whose endpoint does not answer, goes on without.
    """
    uri = os.environ.get("ECS_CONTAINER_METADATA_URI_V4", "")
    if urllib.parse.urlsplit(uri).scheme != "http":
        return {}
    try:
        with urllib.request.urlopen(uri, timeout=2) as answer:  # noqa: S310 - the scheme is checked above
            container = json.load(answer)
    except (OSError, ValueError) as error:
        _LOG.warning("ECS does not tell which task this is: %s", error)
        return {}
    options = container.get("LogOptions") or {}
    log_place = {"group": options.get("awslogs-group"), "stream": options.get("awslogs-stream")}
    labels = container.get("Labels") or {}
    definition = [labels.get(f"com.amazonaws.ecs.task-definition-{part}") for part in ("family", "version")]
    return {
        "task_arn": labels.get("com.amazonaws.ecs.task-arn"),
        "task_definition": ":".join(map(str, definition)) if all(definition) else None,
        "image": container.get("Image"),
        "log": {name: text for name, text in log_place.items() if text},
    }
