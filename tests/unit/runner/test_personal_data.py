"""Rows of personal data are never read, wherever the mark stands."""

from types import SimpleNamespace
from typing import Any

import pytest

from runner.personal_data import personal_data_of


def manifest(*, column: Any = None, model: Any = None, source: Any = None, schema: Any = None) -> Any:  # noqa: ANN401 - any meta
    """A test of `orders`, which reads an ephemeral model over the source `people`; with `meta` in one place or another."""
    columns = {"email": SimpleNamespace(meta=column or {}, config=SimpleNamespace(meta={}))}
    nodes = {
        "test": SimpleNamespace(depends_on=SimpleNamespace(nodes=["orders"])),
        "orders": SimpleNamespace(
            name="orders",
            meta={},
            config=SimpleNamespace(meta=model or {}),
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
    people = SimpleNamespace(name="people", meta=source or {}, config=None, columns={}, source_meta=schema or {})
    return SimpleNamespace(nodes=nodes, sources={"people": people})


@pytest.mark.parametrize(
    ("marked", "because"),
    [
        ({"column": {"personal_data": True}}, "column email of orders is marked as personal data"),
        ({"column": {"pii": "yes"}}, "column email of orders is marked as personal data"),
        ({"model": {"contains_pii": 1}}, "orders is marked as personal data"),
        ({"source": {"personal_data": True}}, "people is marked as personal data"),
        ({"schema": {"pii": ["email"]}}, "people is marked as personal data"),
    ],
)
def test_a_mark_anywhere_keeps_all_rows(marked: dict[str, Any], because: str) -> None:
    """On a column, a model, a source or its schema, also behind what is ephemeral; the page says which."""
    assert personal_data_of(manifest(**marked), "test") == because


@pytest.mark.parametrize(
    "marked",
    [{}, {"column": {"personal_data": False}}, {"model": {"pii": "no"}}, {"source": {"owner": "x"}}, {"schema": "pii"}],
)
def test_what_is_not_marked_is_shown(marked: dict[str, Any]) -> None:
    """A mark that says no is none, and other words of `meta` say nothing."""
    assert personal_data_of(manifest(**marked), "test") is None


def test_a_test_that_dbt_does_not_know_reads_nothing() -> None:
    """A hook, for example."""
    assert personal_data_of(manifest(), "operation.x") is None
