"""What there is to tell of a run that has ended, in the form in which the run task leaves it to the notifier."""

from collections.abc import Mapping
from typing import Any

XCOM_KEY = "notice"

_NODES_AT_MOST = 10
_LINES_AT_MOST = 6
_CHARACTERS_AT_MOST = 600
# dbt's ids of generic tests hold all arguments of the test, thousands of characters in real projects.
_ID_CHARACTERS_AT_MOST = 200


def of_end(end: Mapping[str, Any], links: Mapping[str, str]) -> dict[str, Any]:
    """The notice of a run that finished its record (`end.json`)."""
    bad = {name: node for name, node in end.get("nodes", {}).items() if node["status"] in {"fail", "error"}}
    failed = [_entry(name, node) for name, node in bad.items() if not name.startswith("source.")]
    return {
        "headline": end["headline"],
        "failed": failed[:_NODES_AT_MOST],
        "more_failed": max(0, len(failed) - _NODES_AT_MOST),
        "stale": [_entry(name, node) for name, node in bad.items() if name.startswith("source.")][:_NODES_AT_MOST],
        "links": dict(links),
    }


def of_failure(message: str, links: Mapping[str, str]) -> dict[str, Any]:
    """The notice of a run whose container came to no end of its own."""
    headline, _, rest = message.partition("\n")
    return {
        "headline": headline,
        "details": _shortened(rest),
        "failed": [],
        "more_failed": 0,
        "stale": [],
        "links": dict(links),
    }


def _entry(name: str, node: Mapping[str, Any]) -> dict[str, str]:
    return {
        "unique_id": _cut(name, _ID_CHARACTERS_AT_MOST),
        "status": node["status"],
        "message": _shortened(node.get("message") or "no message"),
    }


def _shortened(text: str) -> str:
    lines = text.strip().splitlines()
    rest = ["…"] if len(lines) > _LINES_AT_MOST else []
    return _cut("\n".join([*lines[:_LINES_AT_MOST], *rest]), _CHARACTERS_AT_MOST)


def _cut(text: str, at_most: int) -> str:
    return text if len(text) <= at_most else f"{text[: at_most - 1]}…"
