"""graph.json is what dbt says about the project."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from constructs_lib import dbt_graph as module
from constructs_lib.dbt_graph import dbt_graph
from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.settings_error import SettingsError
from tests.unit.conftest import WriteProject

pytestmark = pytest.mark.slow

ReadGraph = Callable[..., dict[str, Any]]

_SHOP = {
    "dbt_project.yml": "name: tiny\nprofile: other\nflags: {send_anonymous_usage_stats: false}\n",
    "models/staging/_sources.yml": """
sources:
  - name: raw
    schema: raw
    tables:
      - name: orders
        columns: [{name: id, data_tests: [not_null]}]
      - name: unused
""",
    "models/staging/stg_orders.sql": "select * from {{ source('raw', 'orders') }}",
    "models/marts/core/int_orders.sql": "{{ config(materialized='ephemeral') }} select * from {{ ref('stg_orders') }}",
    "models/marts/core/orders.sql": "{{ config(materialized='table') }} select * from {{ ref('int_orders') }}",
    "models/marts/core/orders.yml": """
models:
  - name: orders
    columns: [{name: id, data_tests: [unique, {relationships: {arguments: {to: ref('countries'), field: id}}}]}]
""",
    "models/marts/core/regions.yml": "models: [{name: regions, latest_version: 2, versions: [{v: 1}, {v: 2}]}]",
    "models/marts/core/regions_v1.sql": "select 1 as id",
    "models/marts/core/regions_v2.sql": "select 1 as id",
    "models/off.sql": "{{ config(enabled=false) }} select 1",
    "models/only_live.sql": "{{ config(enabled=(target.name == 'live')) }} select '{{ target.schema }}' as s",
    "seeds/countries.csv": "id,name\n1,Chile\n",
    "snapshots/orders_history.yml": """
snapshots:
  - name: orders_history
    relation: ref('stg_orders')
    config: {unique_key: id, strategy: check, check_cols: all}
""",
    "tests/every_order_is_staged.sql": (
        "select 1 from {{ ref('orders') }} join {{ ref('stg_orders') }} using (id) where false"
    ),
}


@pytest.fixture
def graph_of(tmp_path: Path) -> ReadGraph:
    """A function that reads the graph of a project, with a cache of its own."""

    def read(folder: Path, environment: str = "dev") -> dict[str, Any]:
        return dbt_graph(
            DbtProjectFiles(folder),
            project_name="tiny",
            environment_name=environment,
            schema="analytics",
            cache_folder=tmp_path / "cache",
        )

    return read


def test_tells_models_seeds_snapshots_and_used_sources(write_project: WriteProject, graph_of: ReadGraph) -> None:
    """Every node that a run may build or read, with its place, its parents and its tests."""
    graph = graph_of(write_project(_SHOP))

    nodes = {node["unique_id"]: node for node in graph["nodes"]}
    assert {key: graph[key] for key in ("format_version", "project")} == {"format_version": 1, "project": "tiny"}
    assert list(nodes) == [
        "model.tiny.orders",
        "model.tiny.regions.v1",
        "model.tiny.regions.v2",
        "model.tiny.stg_orders",
        "seed.tiny.countries",
        "snapshot.tiny.orders_history",
        "source.tiny.raw.orders",
    ]
    orders = nodes["model.tiny.orders"]
    tests = orders.pop("tests")
    assert orders == {
        "unique_id": "model.tiny.orders",
        "resource_type": "model",
        "name": "orders",
        "package": "tiny",
        "folder": ["marts", "core"],
        "materialized": "table",
        # Through the ephemeral model, which dbt compiles into its dependents.
        "depends_on": ["model.tiny.stg_orders"],
    }
    assert [re.sub(r"__id__ref.*|\.[0-9a-f]{10}$", "", test.split(".", 2)[2]) for test in tests] == [
        "every_order_is_staged",
        "relationships_orders_id",
        "unique_orders_id",
    ]
    assert nodes["model.tiny.regions.v2"]["name"] == "regions.v2"
    assert nodes["snapshot.tiny.orders_history"]["depends_on"] == ["model.tiny.stg_orders"]
    assert len(nodes["source.tiny.raw.orders"]["tests"]) == 1
    assert nodes["source.tiny.raw.orders"]["materialized"] is None


def test_graph_is_that_of_the_environment(write_project: WriteProject, graph_of: ReadGraph) -> None:
    """A model that is enabled in one environment only is in that environment's graph only."""
    folder = write_project(_SHOP)

    def names(environment: str) -> set[str]:
        return {node["name"] for node in graph_of(folder, environment)["nodes"]}

    assert {"only_live"} == names("live") - names("dev")


def test_same_content_is_parsed_once(
    write_project: WriteProject, graph_of: ReadGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second synth of an unchanged project takes no dbt; a changed file does."""
    folder = write_project({"models/answers.sql": "select 42 as answer"})
    first = graph_of(folder)
    parses: list[str] = []

    def parse(*_arguments: object) -> dict[str, Any]:
        parses.append("parse")
        return {}

    monkeypatch.setattr(module, "dbt_manifest", parse)

    assert first == graph_of(folder)
    assert parses == []
    (folder / "models" / "answers.sql").write_text("select 43 as answer")
    with pytest.raises(KeyError):
        graph_of(folder)
    assert parses == ["parse"]


def test_parsing_leaves_the_project_as_it_is(write_project: WriteProject, graph_of: ReadGraph) -> None:
    """No target folder, no log, no personal file appears in the analyst's folder."""
    folder = write_project({"models/answers.sql": "select 42 as answer"})
    before = sorted(folder.rglob("*"))

    graph_of(folder)

    assert before == sorted(folder.rglob("*"))


def test_rejects_project_that_does_not_parse_with_the_words_of_dbt(
    write_project: WriteProject, graph_of: ReadGraph
) -> None:
    """Synth fails with what dbt says, so that no image of it is built."""
    folder = write_project({"models/answers.sql": "select * from {{ ref('questions') }}"})

    with pytest.raises(SettingsError, match=r"dbt cannot parse(.|\n)*depends on a node named 'questions'"):
        graph_of(folder)


def test_rejects_project_without_models(write_project: WriteProject, graph_of: ReadGraph) -> None:
    """A DAG that builds nothing would be green forever."""
    folder = write_project({"models/off.sql": "{{ config(enabled=false) }} select 1"})

    with pytest.raises(SettingsError, match="has no enabled model, seed or snapshot to build"):
        graph_of(folder)


def test_rejects_missing_packages_with_the_command_that_installs_them(
    write_project: WriteProject, graph_of: ReadGraph
) -> None:
    """The way out is in the error."""
    folder = write_project({"packages.yml": "packages: [{package: dbt-labs/dbt_utils, version: 1.3.0}]\n"})

    with pytest.raises(
        SettingsError, match=rf"packages\.yml asks for packages .*; run: dbt deps --project-dir {folder}"
    ):
        graph_of(folder)
