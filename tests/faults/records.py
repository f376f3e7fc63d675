"""What a run's record in S3 says, read anew and without the runner's own reading of it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

BUILDING_STEPS = ("seed", "snapshot", "run", "test", "build")
DONE = frozenset({"success", "warn"})
Node = tuple[str, str]
"""A step and a unique id."""


@dataclass(frozen=True, kw_only=True)
class AttemptFiles:
    """The files of one attempt; None or empty for those that are not there."""

    number: int
    start: Mapping[str, Any] | None
    end: Mapping[str, Any] | None
    events: list[Mapping[str, Any]]

    def planned(self, step: str | None = None) -> list[Node]:
        """What the attempt was asked for."""
        return [
            (event["step"], node["unique_id"])
            for event in self.events
            if event["type"] == "planned" and step in {None, event["step"]}
            for node in event["nodes"]
        ]

    def finished(self) -> list[Mapping[str, Any]]:
        """The events that end a node."""
        return [event for event in self.events if event["type"] == "node_finished"]


def attempts_of(objects: Mapping[str, bytes], run_id: str) -> dict[int, AttemptFiles]:
    """The attempts of a run by number, out of the objects below its folder."""
    prefix = f"runs/{run_id}/attempts/"
    numbers = sorted({int(key.removeprefix(prefix).split("/")[0]) for key in objects if key.startswith(prefix)})
    found = {}
    for number in numbers:
        folder = f"{prefix}{number:04d}/"
        batches = sorted(key for key in objects if key.startswith(f"{folder}events/"))
        found[number] = AttemptFiles(
            number=number,
            start=_json(objects.get(f"{folder}start.json")),
            end=_json(objects.get(f"{folder}end.json")),
            events=[json.loads(line) for key in batches for line in objects[key].decode().splitlines()],
        )
    return found


def proven_done(attempts: Mapping[int, AttemptFiles]) -> frozenset[Node]:
    """The nodes whose last word in `attempts`, all of which ran the same code and vars, is that they are done."""
    done: set[Node] = set()
    for _, files in sorted(attempts.items()):
        for event in files.events:
            if event["type"] == "node_started":
                done.discard((event["step"], event["unique_id"]))
            elif event["type"] == "node_finished" and event["step"] in BUILDING_STEPS:
                node = (event["step"], event["unique_id"])
                if event["status"] in DONE:
                    done.add(node)
                else:
                    done.discard(node)
    return frozenset(done)


class Graph:
    """What comes after what in `dbt build`: children of a node, and nodes that its tests hold back."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        nodes = {**manifest["nodes"], **manifest["unit_tests"]}
        self._parents = {unique_id: set(node["depends_on"].get("nodes", [])) for unique_id, node in nodes.items()}
        self._tests = {unique_id for unique_id in nodes if unique_id.startswith("test.")}
        # A unit test runs before its model, though it names it as its parent.
        self._unit_tested = {
            unique_id: parents for unique_id, parents in self._parents.items() if unique_id.startswith("unit_test.")
        }
        self.builds = {
            unique_id: node["alias"]
            for unique_id, node in manifest["nodes"].items()
            if node["resource_type"] in {"model", "seed", "snapshot"} and node["config"]["materialized"] != "ephemeral"
        }
        self.names = {unique_id: str(node["name"]) for unique_id, node in nodes.items()}
        self._ancestors = {unique_id: self._above(unique_id) for unique_id in self._parents}

    def with_all_after(self, again: Iterable[str], *, gates: bool) -> frozenset[str]:
        """`again` and all that comes after any of it; tests hold back what comes after what they test only if `gates`."""
        found = set(again)
        while True:
            more = {
                unique_id
                for unique_id in self._parents
                if unique_id not in found
                and (
                    found & self._parents[unique_id]
                    or any(unique_id in tested for test, tested in self._unit_tested.items() if test in found)
                    or (gates and self._is_held_back(unique_id, found))
                )
            }
            if not more:
                return frozenset(found)
            found |= more

    def _is_held_back(self, unique_id: str, by: set[str]) -> bool:
        return unique_id not in self._tests and any(
            self._parents[test] <= self._ancestors[unique_id] for test in self._tests & by
        )

    def _above(self, unique_id: str) -> set[str]:
        above: set[str] = set()
        waiting = [unique_id]
        while waiting:
            parents = self._parents.get(waiting.pop(), set()) - above
            above |= parents
            waiting += parents
        return above


def _json(body: bytes | None) -> Mapping[str, Any] | None:
    value: Mapping[str, Any] | None = None if body is None else json.loads(body)
    return value
