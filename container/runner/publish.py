"""What is published of a run: each step's results, the docs, and the pointer to the latest ones."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.clock import now
from runner.log import SCRUBBER
from runner.outcome import Outcome
from runner.pipeline import StepEnding
from runner.run_spec import StepName
from runner.store import ALWAYS_CHECK, Store, StoreError, Upload

_LOG = logging.getLogger("runner")
_FORMAT_VERSION = 1


def step_uploads(results_folder: Path, attempt_folder: str) -> list[Upload]:
    """Return the uploads of every step's results, except for the docs page, which has a place of its own."""
    return [
        Upload(key=f"{attempt_folder}steps/{path.relative_to(results_folder).as_posix()}", source=path)
        for path in sorted(results_folder.rglob("*"))
        if path.is_file() and path.suffix == ".json"
    ]


def docs_uploads(results_folder: Path, endings: Sequence[StepEnding], prefix: str) -> list[Upload]:
    """
    Return the uploads of the docs under `prefix`: the page, what it was made of, the results of the last build, the sources.

    Empty unless the docs step has made a page in this attempt.
    """
    docs = _ending(endings, {StepName.DOCS})
    if docs is None or docs.outcome is not Outcome.SUCCESS:
        return []
    folder = results_folder / docs.folder
    uploads = [
        Upload(key=f"{prefix}index.html", source=folder / "static_index.html"),
        Upload(key=f"{prefix}manifest.json", source=folder / "manifest.json"),
        Upload(key=f"{prefix}catalog.json", source=folder / "catalog.json"),
    ]
    for names, artifact in (
        ({StepName.BUILD, StepName.RUN}, "run_results.json"),
        ({StepName.SOURCE_FRESHNESS}, "sources.json"),
    ):
        ending = _ending(endings, names)
        results = results_folder / ending.folder / artifact if ending else None
        if results is not None and results.exists():
            uploads.append(Upload(key=f"{prefix}{artifact}", source=results))
    return uploads


def docs_of_report(own_prefix: str | None, last_prefix: str | None) -> dict[str, Any] | None:
    """Return where a report links to the docs: those of its own attempt, or the last ones before it, None if there are none."""
    prefix = own_prefix or last_prefix
    if not prefix:
        return None
    folder = prefix.rstrip("/").rpartition("/")[2]
    return {"href": f"../../../../docs/{folder}/index.html", "from": None if own_prefix else folder}


def switch_latest(
    store: Store, *, run_id: str, attempt: int, outcome: str, docs_prefix: str | None
) -> StoreError | None:
    """
    Point `latest.json` to this attempt, by one PUT; readers never see half of one run and half of another.

    Where this attempt made no docs, the pointer keeps those of the last one that did.
    """
    try:
        if docs_prefix is None:
            docs_prefix = _latest(store).get("docs_prefix")
        pointer = {
            "format_version": _FORMAT_VERSION,
            "run_id": run_id,
            "attempt": attempt,
            "outcome": outcome,
            "ended_at": now(),
            "docs_prefix": docs_prefix,
        }
        store.put("latest.json", json.dumps(pointer, indent=1).encode(), cache_control=ALWAYS_CHECK)
    except StoreError as error:
        return error
    return None


def upload_all(store: Store, uploads: list[Upload], *, within_seconds: float) -> bool:
    """Send `uploads`; say what S3 did not take, and return whether it took everything."""
    errors = store.upload(uploads, scrub=SCRUBBER.scrub_bytes, within_seconds=within_seconds)
    for error in errors:
        _LOG.error("not published: %s", error)
    return not errors


def _latest(store: Store) -> Mapping[str, Any]:
    body = store.get("latest.json")
    value: Mapping[str, Any] = json.loads(body) if body else {}
    return value


def _ending(endings: Sequence[StepEnding], names: set[StepName]) -> StepEnding | None:
    return next((ending for ending in reversed(endings) if ending.step.name in names), None)
