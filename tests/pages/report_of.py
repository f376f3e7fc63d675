"""`python -m tests.pages.report_of MANIFEST FILE`: the report of a made-up run of a real project, in which one model failed."""

import json
import sys
from pathlib import Path

from runner.outcome import Outcome
from runner.report import report_page
from tests.pages.runs import Shop, data_of, failing, steps_of

_RUN = frozenset({"model", "seed", "snapshot", "test"})


def main(manifest_file: Path, to: Path) -> None:
    """Write the page to `to`."""
    nodes = json.loads(manifest_file.read_text(encoding="utf-8"))["nodes"]
    shop = Shop(4)
    shop.graph = {
        unique_id: (node["resource_type"], node["name"], node["depends_on"].get("nodes", []))
        for unique_id, node in nodes.items()
        if node["resource_type"] in _RUN
    }
    victim = max(unique_id for unique_id, (kind, _, _) in shop.graph.items() if kind == "model")
    results = shop.results(broken={victim: failing(victim)})
    data = data_of("failed", "a model failed", results, graph=shop.graph, endings=steps_of(Outcome.FAILED))
    to.write_bytes(report_page(data))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
