"""
The parse cache of dbt (`partial_parse.msgpack`), kept in S3 by what it is valid for.

dbt takes a cache only for the same version, vars, profile, target and connection (host, port, user, database, schema and
all else but the password), and for good reasons: all of these may be read by Jinja while parsing. Host, user and database come
from the credentials when the run starts, so a cache that is baked into the image can never be valid in the container; baking
one would cost megabytes in the layer that each commit moves, and gain nothing. So the first run of an image on a warehouse
parses in full and leaves the cache in S3; each later run of the same image takes it from there. A key never changes its
content, so two runs may write it at the same time.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from runner.store import NEVER_CHANGES, Store, StoreError

_LOG = logging.getLogger("runner")
_FILE = "partial_parse.msgpack"


class ParseCache:
    """The cache for one fingerprint of code, connection and vars."""

    def __init__(self, store: Store, key: str, target_folder: Path) -> None:
        self._store = store
        self._key = f"cache/{key}.msgpack.gz"
        self._file = target_folder / _FILE
        self.found = False

    def fetch(self) -> None:
        """Put the cache, if there is one, where dbt looks for it."""
        try:
            body = self._store.get(self._key)
        except StoreError as error:
            _LOG.warning("the parse cache is not used: %s", error)
            return
        if body is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_bytes(body)
            self.found = True

    def keep(self) -> None:
        """Send the cache that dbt has written, unless this run has taken it from there; dbt does not wait for it."""
        if not self.found and self._file.exists():
            body = self._file.read_bytes()
            threading.Thread(target=self._send, args=(body,), name="parse-cache", daemon=True).start()

    def _send(self, body: bytes) -> None:
        try:
            self._store.put_compressed(self._key, body, content_type="application/msgpack", cache_control=NEVER_CHANGES)
        except StoreError as error:
            _LOG.warning("the parse cache is not kept: %s", error)
