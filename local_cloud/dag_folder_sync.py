"""Mirrors the DAG files of a bucket into a folder, as MWAA does: `python dag_folder_sync.py BUCKET PREFIX FOLDER STATE_FILE`."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

_POLL_SECONDS = 1.0


class DagFolderSync:
    """
    Keeps `folder` equal to what lies below `prefix` of `bucket`, whatever was in the folder before.

    `client` is a boto3 client of S3.
    """

    def __init__(
        self,
        *,
        client: Any,  # noqa: ANN401 -- boto3 makes the methods of its clients at run time
        bucket: str,
        prefix: str,
        folder: Path,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._folder = folder
        self._etags: dict[Path, str] = {}

    def sync(self) -> int:
        """Bring the folder up to date once; returns how many files were written or deleted."""
        remote = self._remote_files()
        changes = 0
        for path, (key, etag) in remote.items():
            if self._etags.get(path) != etag or not path.is_file():
                self._download(key, path)
                self._etags[path] = etag
                changes += 1
        for path in [path for path in self._folder.rglob("*") if path.is_file() and not _is_bytecode(path)]:
            if path not in remote:
                path.unlink()
                self._etags.pop(path, None)
                changes += 1
        self._remove_empty_folders()
        if changes:
            # Airflow parses a file anew when the file itself changes, and what a DAG is made of lies beside it.
            for source in self._folder.rglob("*.py"):
                source.touch()
        return changes

    def _remote_files(self) -> dict[Path, tuple[str, str]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        return {
            self._folder / item["Key"].removeprefix(self._prefix): (item["Key"], item["ETag"])
            for page in pages
            for item in page.get("Contents", [])
            # A key that ends in a slash is how the console shows a folder.
            if not item["Key"].endswith("/")
        }

    def _download(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Airflow must never parse half a file.
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read())
        partial.replace(path)

    def _remove_empty_folders(self) -> None:
        for folder in sorted((path for path in self._folder.rglob("*") if path.is_dir()), reverse=True):
            for bytecode in [path for path in folder.iterdir() if _is_bytecode(path)]:
                source = folder.parent / f"{bytecode.name.partition('.')[0]}.py"
                if not source.is_file():
                    bytecode.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()


def _is_bytecode(path: Path) -> bool:
    return path.parent.name == "__pycache__"


def main(arguments: list[str]) -> None:
    """
    Mirror for ever.

    `STATE_FILE` says when the last whole pass began and when something changed last, both in seconds since the epoch.
    """
    bucket, prefix, folder, state_file = arguments
    sync = DagFolderSync(client=boto3.client("s3"), bucket=bucket, prefix=prefix, folder=Path(folder))
    changed_at = 0.0
    while True:
        began_at = time.time()
        try:
            changes = sync.sync()
        except (BotoCoreError, ClientError) as error:
            # The bucket may be made, or S3 come back, later.
            print(f"could not read s3://{bucket}/{prefix}: {error}", flush=True)
        else:
            if changes:
                changed_at = time.time()
                print(f"{changes} DAG files changed", flush=True)
            _write_whole(Path(state_file), json.dumps({"began_at": began_at, "changed_at": changed_at}))
        time.sleep(_POLL_SECONDS)


def _write_whole(file: Path, text: str) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(file)


if __name__ == "__main__":
    main(sys.argv[1:])
