"""Which tests must show no rows, because dbt's `meta` marks what they look at as personal data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.dbt_types import DbtObject

MARKS = ("personal_data", "contains_pii", "pii")
"""Any of these in `meta` of a column, a model, a source or its schema, or above it in dbt_project.yml, unless it is false."""


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
        if any(_is_marked(meta) for meta in _metas(node)):
            return f"{node.name} is marked as personal data"
        for name, column in node.columns.items():
            if any(_is_marked(meta) for meta in (column.meta, getattr(getattr(column, "config", None), "meta", None))):
                return f"column {name} of {node.name} is marked as personal data"
        if getattr(node, "is_ephemeral_model", False):
            waiting += node.depends_on.nodes
    return None


def _metas(node: DbtObject) -> tuple[Any, ...]:
    config = getattr(node, "config", None)
    return getattr(node, "meta", None), getattr(config, "meta", None), getattr(node, "source_meta", None)


def _is_marked(meta: Any) -> bool:  # noqa: ANN401 - whatever the project's files hold
    if not isinstance(meta, Mapping):
        return False
    return any(str(meta.get(mark) or "false").lower() not in {"false", "no", "0"} for mark in MARKS)
