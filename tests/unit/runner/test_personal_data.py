"""Rows of personal data are never read, wherever the mark stands."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from runner.personal_data import personal_data_of


def manifest(
    *,
    column: Any = None,  # noqa: ANN401 - any meta
    model: Any = None,  # noqa: ANN401 - any meta
    source: Any = None,  # noqa: ANN401 - any meta
    schema: Any = None,  # noqa: ANN401 - any meta
    column_tags: Sequence[str] = (),
    model_tags: Sequence[str] = (),
    source_tags: Sequence[str] = (),
) -> Any:  # noqa: ANN401 - stands in for dbt's
    """A test of `orders`, which reads an ephemeral model over the source `people`; with a mark in one place or another."""
    columns = {"email": SimpleNamespace(meta=column or {}, config=SimpleNamespace(meta={}, tags=column_tags))}
    nodes = {
        "test": SimpleNamespace(depends_on=SimpleNamespace(nodes=["orders"])),
        "orders": SimpleNamespace(
            name="orders",
            meta={},
            tags=list(model_tags),
            config=SimpleNamespace(meta=model or {}, tags=list(model_tags)),
            columns=columns,
            depends_on=SimpleNamespace(nodes=["between"]),
            is_ephemeral_model=True,
        ),
        "between": SimpleNamespace(
            name="between",
            meta={},
            config=SimpleNamespace(meta={}),
            columns={},
            depends_on=SimpleNamespace(nodes=["people"]),
            is_ephemeral_model=True,
        ),
    }
    people = SimpleNamespace(
        name="people", meta=source or {}, config=None, columns={}, source_meta=schema or {}, tags=source_tags
    )
    return SimpleNamespace(nodes=nodes, sources={"people": people})


@pytest.mark.parametrize(
    ("marked", "because"),
    [
        ({"column": {"personal_data": True}}, "column email of orders is marked as personal data"),
        ({"column": {"pii": "yes"}}, "column email of orders is marked as personal data"),
        ({"model": {"contains_pii": 1}}, "orders is marked as personal data"),
        ({"source": {"personal_data": True}}, "people is marked as personal data"),
        ({"schema": {"pii": ["email"]}}, "people is marked as personal data"),
        ({"column_tags": ["nightly", "PII"]}, "column email of orders is marked as personal data"),
        ({"model_tags": ["contains_pii"]}, "orders is marked as personal data"),
        ({"source_tags": ["personal_data"]}, "people is marked as personal data"),
    ],
)
def test_a_mark_anywhere_keeps_all_rows(marked: dict[str, Any], because: str) -> None:
    """On a column, a model, a source or its schema, also behind what is ephemeral; the page says which."""
    assert personal_data_of(manifest(**marked), "test") == because


@pytest.mark.parametrize(
    "marked",
    [
        {},
        {"column": {"personal_data": False}},
        {"model": {"pii": "no"}},
        {"source": {"owner": "x"}},
        {"schema": "pii"},
        {"model_tags": ["nightly", "no_pii"]},
    ],
)
def test_what_is_not_marked_is_shown(marked: dict[str, Any]) -> None:
    """A mark that says no is none, and other words of `meta` say nothing."""
    assert personal_data_of(manifest(**marked), "test") is None


def test_a_test_that_dbt_does_not_know_reads_nothing() -> None:
    """A hook, for example."""
    assert personal_data_of(manifest(), "operation.x") is None
