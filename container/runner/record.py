"""The run record of one attempt, written to S3 while the run is on by a thread of its own."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import Any

from runner.clock import now
from runner.log import SCRUBBER
from runner.store import ALWAYS_CHECK, JSON, JSON_LINES, AlreadyExists, Store, StoreError

FORMAT_VERSION = 1
SECONDS_BETWEEN_BATCHES = 1.0
"""Requests are money: however many nodes a project has, its events cost at most one PUT a second."""

_LONGEST_PAUSE_SECONDS = 15.0
_LOG = logging.getLogger("runner")
_SCRUBBED_FIELDS = ("message", "headline", "reason")


class AttemptRecord:
    """
    The files of one attempt: start.json, numbered batches of events, end.json.

    `event` only queues, so that a slow S3 never slows dbt. The batches are numbered from 1 without a gap and none is ever
    rewritten with other content: a batch that S3 did not take is sent again as it is before the next one.
    """

    def __init__(self, store: Store, *, run_id: str, attempt: int) -> None:
        self._store = store
        self.run_id = run_id
        self.attempt = attempt
        self.folder = attempt_folder(run_id, attempt)
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._order = threading.Lock()
        self._written = threading.Event()
        self._closing = threading.Event()
        self._give_up_at: float | None = None
        self._thread = threading.Thread(target=self._write_batches, name="run-record", daemon=True)

    def start(self, content: Mapping[str, Any]) -> None:
        """
        Write start.json, once, and begin to write events.

        Raises AlreadyExists if this attempt has a writer already: no attempt ever has two.
        """
        body = _encoded(content)
        try:
            self._store.put(f"{self.folder}start.json", body, cache_control=ALWAYS_CHECK, only_if_absent=True)
        except AlreadyExists:
            # The answer to our own, repeated request looks the same as another writer's file.
            if self._store.get(f"{self.folder}start.json") != body:
                raise
        self._thread.start()

    def event(self, kind: str, **fields: object) -> None:
        """Queue one event; fields that are None are left out, texts for people are scrubbed."""
        with self._order:
            line: dict[str, Any] = {"t": now(), "type": kind}
            line |= {name: value for name, value in fields.items() if value is not None}
            for name in _SCRUBBED_FIELDS:
                if isinstance(line.get(name), str):
                    line[name] = SCRUBBER.scrub(line[name])
            # ASCII: for many readers U+2028 and its like, which a database's message may hold, end a line.
            self._queue.put(json.dumps(line, separators=(",", ":")))

    def end(self, content: Mapping[str, Any], *, within_seconds: float) -> bool:
        """
        Write what is queued and then end.json; return whether S3 took all of it in time.

        It is said in the log, and changes nothing about how the data run ended, if S3 did not.
        """
        self._give_up_at = time.monotonic() + within_seconds
        self._closing.set()
        self._queue.put(None)
        if not self._thread.is_alive() or not self._written.wait(within_seconds):
            _LOG.error("the run record is incomplete: S3 did not take all events within %.0f s", within_seconds)
            return False
        try:
            self._store.put(f"{self.folder}end.json", _encoded(content), content_type=JSON, cache_control=ALWAYS_CHECK)
        except StoreError as error:
            _LOG.error("the run record is incomplete: %s", error)
            return False
        return True

    def _write_batches(self) -> None:
        number = 0
        closing = False
        while not closing:
            lines = [self._queue.get()]
            # What happens in the next second goes into the same batch; the last batch does not wait.
            until = time.monotonic() + SECONDS_BETWEEN_BATCHES
            while lines[-1] is not None:
                try:
                    lines.append(self._queue.get(timeout=max(0.0, until - time.monotonic())))
                except Empty:
                    break
            closing = lines[-1] is None
            texts = [line for line in lines if line is not None]
            if texts:
                number += 1
                body = "".join(f"{text}\n" for text in texts).encode()
                if not self._put(f"{self.folder}events/{number:06d}.jsonl", body):
                    return
        self._written.set()

    def _put(self, key: str, body: bytes) -> bool:
        """Send one batch until S3 takes it, or until it is no use any more."""
        pause = SECONDS_BETWEEN_BATCHES
        while True:
            try:
                self._store.put(key, body, content_type=JSON_LINES, cache_control=ALWAYS_CHECK)
            except StoreError as error:
                _LOG.warning("the run record waits for S3, the run goes on: %s", error)
            else:
                return True
            if self._give_up_at is not None and time.monotonic() + pause > self._give_up_at:
                return False
            if self._closing.is_set():
                time.sleep(pause)
            elif self._closing.wait(pause):
                pause = SECONDS_BETWEEN_BATCHES
                continue
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def attempt_folder(run_id: str, attempt: int) -> str:
    """Return the folder of an attempt, relative to the project's prefix."""
    return f"runs/{run_id}/attempts/{attempt:04d}/"


def _encoded(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode()
