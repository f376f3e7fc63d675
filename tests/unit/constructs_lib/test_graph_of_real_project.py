"""graph.json of a real project with 255 sources and 624 tests."""

from pathlib import Path
from typing import Any

from constructs_lib.dbt_graph import graph_of_manifest
from tests.pages import real_project


def test_a_test_of_a_source_is_that_of_the_source_that_it_is_written_under() -> None:
    """Each table has a folder of its own there; some tests read another table, too, and dbt attaches them to none."""
    manifest: dict[str, Any] = real_project.manifest_json()
    graph = graph_of_manifest(manifest, project_name="pudl")
    sources = {node["name"]: node["tests"] for node in graph["nodes"] if node["resource_type"] == "source"}
    of_several = [test for tests in sources.values() for test in tests if len(_read_by(manifest, test)) > 1]

    assert (len(graph["nodes"]), sum(map(len, sources.values()))) == (258, 607)
    assert len(of_several) > 20
    for source, tests in sources.items():
        folders = {Path(manifest["nodes"][test]["original_file_path"]).parent.name for test in tests}
        assert folders <= {source.removeprefix("pudl.")}


def _read_by(manifest: dict[str, Any], test: str) -> list[str]:
    read: list[str] = manifest["nodes"][test]["depends_on"]["nodes"]
    return read
