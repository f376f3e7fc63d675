"""A project that was not made up for tests, and a run of it; where it comes from is in tests/examples/pudl."""

import gzip
import json
from pathlib import Path
from typing import Any

from dbt.contracts.graph.manifest import Manifest

from runner.dbt_session import attached_node
from runner.nodes import NodeResult
from runner.outcome import NodeStatus
from tests.pages.runs import iso

_FILE = Path(__file__).parents[1] / "examples/pudl/manifest.json.gz"
LONGEST_ID = 3683
"""Characters in the unique id of the first test that fails."""
_OF_TWO_SOURCES = "test.pudl_dbt.source_expect_nuclear_units_are_generators"


def manifest_json() -> dict[str, Any]:
    """As much of manifest.json as is kept."""
    found: dict[str, Any] = json.loads(gzip.decompress(_FILE.read_bytes()))
    return found


def manifest() -> Manifest:
    """The same as dbt holds it in memory."""
    content = manifest_json()
    return Manifest.from_dict({kind: content[kind] for kind in ("nodes", "sources")})


def results(read: Manifest) -> list[NodeResult]:
    """A night in which two tests of sources found rows: the one with the longest unique id, and one that reads another source, too."""
    tests = [unique_id for unique_id in read.nodes if unique_id.startswith("test.")]
    longest = max(tests, key=len)
    of_two = next(unique_id for unique_id in tests if unique_id.startswith(_OF_TWO_SOURCES))
    found: list[NodeResult] = []
    for number, (unique_id, node) in enumerate(read.nodes.items()):
        failures = {longest: 3, of_two: 12}.get(unique_id)
        found.append(
            NodeResult(
                unique_id=unique_id,
                resource_type=str(node.resource_type),
                name=node.name,
                step="build",
                status=NodeStatus.FAIL if failures else NodeStatus.SUCCESS,
                message=f"Got {failures} results, configured to fail if != 0" if failures else None,
                failures=failures,
                compiled_code=node.raw_code,
                attached_node=attached_node(node),
                seconds=1.5,
                thread=f"Thread-{number % 4 + 1} (worker)",
                ended_at=iso(4 + 1.5 * (number // 4 + 1)),
            )
        )
    return found
