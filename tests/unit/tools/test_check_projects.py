"""Every dbt project is checked for what `dbt parse` lets through."""

import copy
import sys
from pathlib import Path
from typing import Any

import pytest

from constructs_lib.dbt_graph import dbt_manifest
from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.repository import REPOSITORY
from tools.check_projects import check, projects

pytestmark = pytest.mark.slow

_FILES = {
    "dbt_project.yml": "name: tiny\nprofile: tiny\n",
    "models/staging/stg_orders.sql": "select 1 as order_id from {{ source('shop', 'orders') }}\n",
    "models/staging/_staging.yml": """
models:
  - name: stg_orders
    description: Orders.
    columns:
      - name: order_id
        description: Key of the order.
        data_tests: [unique]
sources:
  - name: shop
    description: The shop.
    config: {freshness: {warn_after: {count: 1, period: day}}, loaded_at_field: at}
    tables:
      - {name: orders, description: Orders.}
""",
    "models/staging/customers.sql": "select 1 as customer_id\n",
    "models/staging/_bad.yml": """
models:
  - name: customers
sources:
  - name: attic
    tables:
      - {name: unused}
""",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model and a source that are as they should be, and one of each that are not."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in _FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def manifest(project: Path) -> dict[str, Any]:
    """What dbt reads in it."""
    return dbt_manifest(DbtProjectFiles(project), "tiny", "check", "check", sys.executable)


class _Reading:
    """Stands for dbt, which takes seconds."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.manifest = manifest
        self.times = 0

    def __call__(self, *_: object) -> dict[str, Any]:
        self.times += 1
        return self.manifest


def test_findings_are_said(
    project: Path,
    manifest: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Descriptions, tests on keys, names, unused sources and sources without freshness, each with what it is about."""
    monkeypatch.setattr("tools.check_projects.dbt_manifest", _Reading(manifest))

    assert not check(project, cache_folder=tmp_path)
    findings = {tuple(line.split(": ")[1:3]) for line in capsys.readouterr().out.splitlines()}
    assert findings == {
        ("model.tiny.customers", "check_model_description_populated"),
        ("model.tiny.customers", "check_model_has_unique_test"),
        ("model.tiny.customers", "check_model_names"),
        ("source.tiny.attic.unused", "check_source_description_populated"),
        ("source.tiny.attic.unused", "check_source_freshness_populated"),
        ("source.tiny.attic.unused", "check_source_not_orphaned"),
    }


def test_project_that_passed_is_not_read_again_until_it_or_its_rules_change(
    project: Path, manifest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project may bring rules of its own."""
    good = copy.deepcopy(manifest)
    del good["nodes"]["model.tiny.customers"]
    del good["sources"]["source.tiny.attic.unused"]
    reading = _Reading(good)
    monkeypatch.setattr("tools.check_projects.dbt_manifest", reading)
    assert check(project, cache_folder=tmp_path)
    assert check(project, cache_folder=tmp_path)
    assert reading.times == 1

    rules = project / "dbt-bouncer.yml"
    rules.write_text("manifest_checks: [{name: check_model_names, model_name_pattern: ^orders}]\n")
    assert not check(project, cache_folder=tmp_path)
    rules.unlink()
    (project / "models/staging/stg_orders.sql").write_text("select 2 as order_id\n")
    assert check(project, cache_folder=tmp_path)
    assert reading.times == 3


def test_projects_are_those_of_the_folder_and_of_the_settings() -> None:
    """A new folder below projects/ needs no entry anywhere to be checked."""
    assert REPOSITORY / "projects/bookshop" in dict(projects())
