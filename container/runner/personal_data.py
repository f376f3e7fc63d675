"""Which tests must show no rows, because `meta` or a tag marks what they look at as personal data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.dbt_types import DbtObject

MARKS = ("personal_data", "contains_pii", "pii")
"""Any of these in `meta`, unless it is false, or as a tag; of a column, a model, a source or its schema, or in dbt_project.yml."""


def personal_data_of(manifest: DbtObject, unique_id: str) -> str | None:
    """
    Return what is marked among all that the test `unique_id` reads, None if nothing is.

    A test's SQL may give a column any name, so one marked column of a table that it reads is enough to show none of its rows.
    What is ephemeral holds no rows of its own, so what lies before it counts.
    """
    test = manifest.nodes.get(unique_id)
    waiting = list(test.depends_on.nodes) if test is not None else []
    seen: set[str] = set()
    while waiting:
        found = waiting.pop()
        if found in seen:
            continue
        seen.add(found)
        node = manifest.nodes.get(found) or manifest.sources.get(found)
        if node is None:
            continue
        if _is_marked(node):
            return f"{node.name} is marked as personal data"
        for name, column in node.columns.items():
            if _is_marked(column):
                return f"column {name} of {node.name} is marked as personal data"
        if getattr(node, "is_ephemeral_model", False):
            waiting += node.depends_on.nodes
    return None


def _is_marked(found: DbtObject) -> bool:
    """Tell of a node or a column; what they hold is whatever the project's files do."""
    config = getattr(found, "config", None)
    metas = (getattr(found, "meta", None), getattr(config, "meta", None), getattr(found, "source_meta", None))
    if any(_says_so(meta) for meta in metas if isinstance(meta, Mapping)):
        return True
    tags = (*(getattr(found, "tags", None) or ()), *(getattr(config, "tags", None) or ()))
    return any(str(tag).lower() in MARKS for tag in tags)


def _says_so(meta: Mapping[str, Any]) -> bool:
    return any(str(meta.get(mark) or "false").lower() not in {"false", "no", "0"} for mark in MARKS)
