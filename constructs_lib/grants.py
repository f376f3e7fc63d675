"""What a role may do, in IAM's own words."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Statement = Mapping[str, Any]
"""A statement of a policy."""


def allow(
    actions: str | Sequence[str], *resource_arns: str, conditions: Mapping[str, object] | None = None
) -> Statement:
    """A statement that allows `actions` on these resources."""
    condition = {"Condition": dict(conditions)} if conditions else {}
    return {
        "Effect": "Allow",
        "Action": actions if isinstance(actions, str) else _one_or_all(actions),
        "Resource": _one_or_all(resource_arns),
        **condition,
    }


def document(statements: Iterable[Statement]) -> dict[str, object]:
    """A policy that is made of `statements`."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _one_or_all(values: Iterable[str]) -> str | list[str]:
    """As a template says it: a list where there are several."""
    several = list(dict.fromkeys(values))
    return several[0] if len(several) == 1 else several
