"""A run in one sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from runner.nodes import NodeResult
from runner.outcome import DONE, NodeStatus, Outcome

_LONGEST_NAME = 100
"""dbt names a generic test after all its arguments, and of thousands of characters nobody would read on to what went wrong."""
_KIND_OF_ERROR = re.compile(r"[A-Z][a-z]+ Error(?: in .*)?$")


def headline(outcome: Outcome, reason: str | None, results: Sequence[NodeResult], project: str) -> str:
    """Return the run in one sentence: what failed first, in the database's words, or how much was done."""
    number = len({result.unique_id for result in results})
    done = len({result.unique_id for result in results if result.status in DONE})
    if outcome is Outcome.SUCCESS:
        warned = sum(result.status is NodeStatus.WARN for result in results)
        reported = sum(result.status not in DONE for result in results)
        parts = [f"{project} is done: {done} of {number} nodes"]
        parts += [f"{warned} with a warning"] if warned else []
        parts += [f"{reported} not in order, which is only reported"] if reported else []
        return ", ".join(parts)
    broken = [result for result in results if result.status in {NodeStatus.ERROR, NodeStatus.FAIL}]
    if outcome is Outcome.FAILED and broken:
        # Freshness only reports by default, so what failed in a later step says more.
        first = next((result for result in broken if result.step != "source_freshness"), broken[0])
        words = _first_line(first.message)
        others = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        name = first.name if len(first.name) <= _LONGEST_NAME else f"{first.name[:_LONGEST_NAME]}…"
        return f"{first.resource_type.replace('_', ' ')} {name} failed: {words}{others}"
    if outcome is Outcome.INTERRUPTED:
        reached = f"after {done} of {number} nodes" if number else "before its first node"
        return f"the run was stopped {reached}: {reason}"
    return _first_line(reason)


def _first_line(message: str | None) -> str:
    """Return the line that says most: dbt begins with "Database Error in model x (path)", and the words come after it."""
    lines = [line.strip() for line in (message or "no message").splitlines() if line.strip()]
    for kind, said in pairwise(lines):
        if _KIND_OF_ERROR.search(kind):
            return _KIND_OF_ERROR.sub("", kind) + said
        break
    return lines[0]
