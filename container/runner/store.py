"""The project's prefix of the bucket, as a small set of verbs."""

from __future__ import annotations

import gzip
import mimetypes
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from runner.outcome import RunnerError

JSON = "application/json"
JSON_LINES = "application/x-ndjson"
HTML = "text/html; charset=utf-8"
NEVER_CHANGES = "private, max-age=31536000, immutable"
ALWAYS_CHECK = "private, no-cache"
PARALLEL_UPLOADS = 8
_COMPRESS_FROM_BYTES = 64 * 1024


class StoreError(RunnerError):
    """S3 refused, or could not be reached, after its client's retries."""


class AlreadyExists(StoreError):  # noqa: N818 - a state, not a fault
    """The key exists, and was to be made only if it did not."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """One file on its way to the store; large texts are sent compressed, and served as such."""

    key: str
    source: Path | bytes
    content_type: str | None = None
    cache_control: str = NEVER_CHANGES


class Store:
    """Reads and writes below `s3://<bucket>/<prefix>`; its methods may be called from several threads."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = prefix
        # A slow S3 is the record writer's concern, not a reason to hang: short time-outs, and several tries.
        self._client: Any = boto3.client(
            "s3",
            config=Config(
                connect_timeout=5,
                read_timeout=20,
                retries={"mode": "standard", "total_max_attempts": 4},
                max_pool_connections=PARALLEL_UPLOADS + 2,
            ),
        )

    def put(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str = JSON,
        cache_control: str = ALWAYS_CHECK,
        encoding: str | None = None,
        only_if_absent: bool = False,
    ) -> None:
        """Write one object; raises AlreadyExists if it was to be absent and is not, StoreError for all else."""
        arguments: dict[str, Any] = {"ContentType": content_type, "CacheControl": cache_control}
        if encoding:
            arguments["ContentEncoding"] = encoding
        if only_if_absent:
            arguments["IfNoneMatch"] = "*"
        try:
            self._client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=body, **arguments)
        except ClientError as error:
            # 409: two writers at the same moment, of which S3 lets one through.
            if error.response["ResponseMetadata"].get("HTTPStatusCode") in {409, 412}:
                raise AlreadyExists(f"{self.uri(key)} exists already") from error
            raise self._refused("s3:PutObject", key, error) from error
        except BotoCoreError as error:
            raise self._refused("s3:PutObject", key, error) from error

    def put_compressed(self, key: str, body: bytes, *, content_type: str, cache_control: str) -> None:
        """Write one object compressed, and served as such."""
        packed = gzip.compress(body, compresslevel=6, mtime=0)
        self.put(key, packed, content_type=content_type, cache_control=cache_control, encoding="gzip")

    def get(self, key: str) -> bytes | None:
        """Return an object's content, None if there is none."""
        try:
            answer = self._client.get_object(Bucket=self.bucket, Key=self.prefix + key)
            body: bytes = answer["Body"].read()
        except ClientError as error:
            if error.response["Error"].get("Code") in {"NoSuchKey", "404"}:
                return None
            raise self._refused("s3:GetObject", key, error) from error
        except BotoCoreError as error:
            raise self._refused("s3:GetObject", key, error) from error
        return gzip.decompress(body) if answer.get("ContentEncoding") == "gzip" else body

    def keys(self, below: str) -> Iterator[str]:
        """Yield the keys below `below`, sorted, relative to the store's prefix."""
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + below
            )
            for page in pages:
                for entry in page.get("Contents", []):
                    yield entry["Key"].removeprefix(self.prefix)
        except (ClientError, BotoCoreError) as error:
            raise self._refused("s3:ListBucket", below, error) from error

    def folders(self, below: str) -> list[str]:
        """Return the names of the folders directly below `below`, sorted."""
        names: list[str] = []
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + below, Delimiter="/"
            )
            for page in pages:
                names += [
                    entry["Prefix"].removeprefix(self.prefix + below).rstrip("/")
                    for entry in page.get("CommonPrefixes", [])
                ]
        except (ClientError, BotoCoreError) as error:
            raise self._refused("s3:ListBucket", below, error) from error
        return sorted(names)

    def upload(
        self, uploads: list[Upload], *, scrub: Callable[[bytes], bytes], within_seconds: float
    ) -> list[StoreError]:
        """Send `uploads` in parallel, `scrub` applied to each one's bytes; return what failed, and raise nothing."""

        def send(upload: Upload) -> StoreError | None:
            data = scrub(upload.source if isinstance(upload.source, bytes) else upload.source.read_bytes())
            kind = upload.content_type or content_type(upload.key)
            large_text = len(data) >= _COMPRESS_FROM_BYTES and kind.startswith(("text/", JSON))
            put = self.put_compressed if large_text else self.put
            try:
                put(upload.key, data, content_type=kind, cache_control=upload.cache_control)
            except StoreError as error:
                return error
            return None

        pool = ThreadPoolExecutor(max_workers=PARALLEL_UPLOADS, thread_name_prefix="upload")
        running = [pool.submit(send, upload) for upload in uploads]
        finished, late = wait(running, timeout=within_seconds)
        pool.shutdown(wait=False, cancel_futures=True)
        errors = [error for error in (future.result() for future in running if future in finished) if error is not None]
        if late:
            errors.append(
                StoreError(f"{len(late)} of {len(uploads)} uploads were not done within {within_seconds:.0f} s")
            )
        return errors

    def uri(self, key: str) -> str:
        """Return the s3:// address of `key`."""
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def _refused(self, action: str, key: str, error: Exception) -> StoreError:
        return StoreError(f"{action} on {self.uri(key)} failed: {error}")


def content_type(name: str) -> str:
    """Return the content type for a file's name."""
    if name.endswith(".html"):
        return HTML
    if name.endswith(".sql"):
        return "text/plain; charset=utf-8"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
