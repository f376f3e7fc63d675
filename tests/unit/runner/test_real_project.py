"""What the runner leaves of a real project with 255 sources and 624 tests."""

import json
from pathlib import Path

import pytest
from dbt.contracts.graph.manifest import Manifest

from runner.dbt_session import attached_node
from runner.headline import headline
from runner.history import History, Past
from runner.nodes import compiled_path, sample_path
from runner.outcome import NodeStatus, Outcome
from runner.page_data import graph_of, origins_of
from runner.report import report_page
from tests.pages import real_project
from tests.pages.runs import NoStore, data_of, start_of

NUCLEAR = "pudl.core_eia923__monthly_generation_fuel_nuclear"


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    """The project as dbt holds it in memory."""
    return real_project.manifest()


def test_a_test_belongs_to_the_source_that_it_is_written_under(manifest: Manifest) -> None:
    """Each table has a folder of its own there; some tests read another table, too."""
    tests = [node for unique_id, node in manifest.nodes.items() if unique_id.startswith("test.pudl_dbt.source_")]
    tests += [node for unique_id, node in manifest.nodes.items() if "_source_" in unique_id.split(".")[2]]
    of_several = [node for node in tests if len(node.depends_on_nodes) > 1]

    assert len(of_several) > 20
    for node in tests:
        folder = Path(node.original_file_path).parent.name
        assert str(attached_node(node)) == f"source.pudl_dbt.pudl.{folder}", node.name[:100]


def test_what_is_kept_of_a_node_has_a_name_that_s3_and_disks_take(manifest: Manifest) -> None:
    """At most 255 bytes each, and no two nodes share one."""
    nodes = list(manifest.nodes)
    for path_of in (compiled_path, sample_path):
        paths = [path_of("build", unique_id) for unique_id in nodes]
        assert max(len(Path(path).name.encode()) for path in paths) <= 255
        assert len(set(paths)) == len(nodes)
    assert max(map(len, nodes)) == real_project.LONGEST_ID


@pytest.mark.parametrize("unique_id", ["model.shop.orders", "test.shop.ü" + "é" * 114])
def test_what_is_short_is_kept_under_its_unique_id(unique_id: str) -> None:
    """As anybody would look for it; bytes count."""
    assert compiled_path("build", unique_id) == f"compiled/build/{unique_id}.sql"


def test_a_cut_name_never_ends_within_a_character() -> None:
    """What is not ASCII takes several bytes of a name."""
    path = compiled_path("build", "test.shop." + "é" * 500)

    assert len(Path(path).name.encode()) <= 255
    assert path.startswith("compiled/build/test.shop.éé")


def test_the_report_holds_the_whole_project(manifest: Manifest) -> None:
    """Each node once, with the failed tests at their tables, and the database's words in the headline."""
    results = real_project.results(manifest)
    told = headline(Outcome.FAILED, None, results, "pudl")
    data = data_of("failed", told, results, graph=graph_of(manifest), origins=origins_of(manifest, results))
    rows = data["nodes"]
    failed = [row for row in rows if row[4] == NodeStatus.FAIL]

    assert told.endswith("… failed: Got 3 results, configured to fail if != 0 (and 1 more)")
    assert len(told) < 200
    assert len({row[0] for row in rows if row[4]}) == len(results) == 627
    assert sum(row[1] == "source" for row in rows) == 255
    assert [rows[row[12]][2] for row in failed] == ["pudl.out_eia__yearly_boilers", NUCLEAR]
    (boilers,) = (detail for detail in data["details"].values() if "boilers" in detail["file"])
    assert boilers["about"].startswith("Excluded mercury control strategies are very infrequently used")
    assert len(report_page(data)) < 1_000_000


def test_the_search_of_the_portal_knows_every_column(manifest: Manifest) -> None:
    """Of 255 sources, two models and a seed."""
    history = History(NoStore(), start=start_of())  # type: ignore[arg-type]
    run = {"run_id": "r", "attempt": 1, "outcome": "failed", "ended_at": "2026-11-22T05:00:00Z"}
    uploads = history.uploads(
        Past(),
        run=run,
        results=real_project.results(manifest),
        docs_prefix=None,
        manifest=manifest,
    )
    (models,) = (json.loads(upload.source) for upload in uploads if upload.key.endswith("models.json"))  # type: ignore[arg-type]

    assert len(models["models"]) == 258
    assert sum(len(model[4]) for model in models["models"] if model[1] == "source") == 4261
