"""Reads run records (docs/run-record.md) as a person at a terminal wants them: what is done, what failed, where it lies."""

import gzip
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Attempt:
    """One container's part of a run, as far as it is written."""

    prefix: str
    start: dict[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None

    def progress(self) -> str:
        """A few words on how far the attempt is: `build: 12 of 54 done, 1 failed`."""
        planned: set[str] = set()
        done: Counter[str] = Counter()
        step = "starting"
        for event in self.events:
            match event["type"]:
                case "planned":
                    planned.update(node["unique_id"] for node in event["nodes"])
                case "step_started":
                    step = event["step"]
                case "node_finished":
                    done[event["status"]] += 1
        if not planned:
            return step
        failed = done["fail"] + done["error"]
        return f"{step}: {done.total()} of {len(planned)} done" + (f", {failed} failed" if failed else "")


class RunRecords:
    """The run records of one project in one bucket."""

    def __init__(
        self,
        s3: Any,  # noqa: ANN401 - boto3 makes the types of its clients at run time
        *,
        bucket: str,
        project: str,
    ) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._project = project

    def attempt(self, run_id: str, number: int | None = None) -> Attempt | None:
        """What is written of the given (default: the last) attempt of a run; None before the container has begun."""
        attempts = f"{self._project}/runs/{run_id}/attempts/"
        starts = [key for key in self.keys(attempts) if key.endswith("/start.json")]
        if number is not None:
            starts = [key for key in starts if key == f"{attempts}{number:04d}/start.json"]
        if not starts:
            return None
        prefix = max(starts).removesuffix("start.json")
        attempt = Attempt(prefix=prefix, start=self.json(f"{prefix}start.json"))
        keys = set(self.keys(prefix))
        for key in sorted(key for key in keys if key.startswith(f"{prefix}events/")):
            attempt.events += [json.loads(line) for line in self.read(key).decode().splitlines()]
        if f"{prefix}end.json" in keys:
            attempt.end = self.json(f"{prefix}end.json")
        return attempt

    def keys(self, prefix: str = "") -> list[str]:
        """All keys below `prefix`, in order."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def read(self, key: str) -> bytes:
        """The content of an object, decompressed."""
        answer = self._s3.get_object(Bucket=self._bucket, Key=key)
        body: bytes = answer["Body"].read()
        return gzip.decompress(body) if answer.get("ContentEncoding") == "gzip" else body

    def json(self, key: str) -> dict[str, Any]:
        """The JSON object stored under `key`."""
        value: dict[str, Any] = json.loads(self.read(key))
        return value

    def download(self, folder: Path) -> None:
        """Copy everything of the project below `folder`, decompressed, so that it can be opened from disk."""
        for key in self.keys(f"{self._project}/"):
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read(key))
