"""What a change of a dbt project takes away from those who read it, from the manifests before and after."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_Manifest = Mapping[str, Any]
_READ = frozenset({"model", "seed", "snapshot"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Removed:
    """A documented column that is gone, with what needs it."""

    node: str
    column: str
    needed_by: tuple[str, ...]


def removed_columns(before: _Manifest, after: _Manifest) -> list[Removed]:
    """
    The columns that the manifest `before` documents and `after` does not, of which an exposure or a contract needs one.

    An exposure needs every column of what it depends on, since it does not name them; a contract needs those that it has: the
    node's own, which promised them, and those of its direct children that have a column of the name. A node that is gone has
    lost all of its columns.
    """
    gone = (
        (unique_id, node, name)
        for unique_id, node in before["nodes"].items()
        if node["resource_type"] in _READ
        for name in node.get("columns", {})
        if name.lower() not in _columns(after["nodes"].get(unique_id, {}))
    )
    found = (
        Removed(node=node["name"], column=name, needed_by=tuple(_needing(unique_id, name.lower(), before, after)))
        for unique_id, node, name in gone
    )
    return [removed for removed in found if removed.needed_by]


def _needing(unique_id: str, column: str, before: _Manifest, after: _Manifest) -> Iterator[str]:
    if _has_contract(before["nodes"][unique_id]):
        yield "its own contract"
    for other_id, other in {**before["nodes"], **after["nodes"]}.items():
        # One that goes with the change needs nothing any more.
        still_there = other_id in after["nodes"]
        if still_there and _depends(other, unique_id) and _has_contract(other) and column in _columns(other):
            yield f"the contract of {other['name']}"
    for exposure_id, exposure in after["exposures"].items():
        # One that is changed in the same way is known by its state before.
        if _depends(exposure, unique_id) or _depends(before["exposures"].get(exposure_id, {}), unique_id):
            owner = exposure.get("owner") or {}
            who = owner.get("name") or owner.get("email")
            yield f"exposure {exposure['name']}" + (f" of {who}" if who else "")


def _depends(node: Mapping[str, Any], unique_id: str) -> bool:
    return unique_id in (node.get("depends_on") or {}).get("nodes", [])


def _has_contract(node: Mapping[str, Any]) -> bool:
    return bool(((node.get("config") or {}).get("contract") or {}).get("enforced"))


def _columns(node: Mapping[str, Any]) -> set[str]:
    return {name.lower() for name in node.get("columns", {})}
