"""What `make datahub` fetches is what DataHub's own reader of dbt wants."""

from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.faults.machine import PROJECT, Machine
from tests.runner import datahub_library
from tests.runner.attempts import ended, started
from tests.runner.datahub_library import aspects, of_model
from tools.datahub import fetch_for_datahub


@pytest.fixture(scope="module")
def recipe(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe of a run of the fault suite's project."""
    machine.empty_warehouse()
    assert ended(started(machine, "datahub", spec={"steps": ["source_freshness", "build", "docs"]})) == 0
    return fetch_for_datahub(
        PROJECT, tmp_path_factory.mktemp("datahub"), fabric="DEV", bucket=machine.bucket, s3=boto3.client("s3")
    )


@pytest.fixture(scope="module")
def emitted(recipe: Path) -> list[dict[str, Any]]:
    """What DataHub's command emits for the recipe."""
    return datahub_library.emitted(recipe)


def test_models_have_their_columns(emitted: list[dict[str, Any]]) -> None:
    """With the types of the database, which are in the catalog."""
    schema = of_model(aspects(emitted, "schemaMetadata"), "customers")

    assert [field["fieldPath"].rpartition(".")[2] for field in schema["fields"]] == ["id", "name", "orders"]


def test_models_have_their_lineage(emitted: list[dict[str, Any]]) -> None:
    """To the models before them, and through columns."""
    lineage = of_model(aspects(emitted, "upstreamLineage"), "size_names")

    assert [upstream["dataset"].split(",")[1] for upstream in lineage["upstreams"]] == ["warehouse.built.order_sizes"]
    assert lineage["fineGrainedLineages"]


def test_tests_have_their_results(emitted: list[dict[str, Any]]) -> None:
    """Each data test of the run, what the one that warned has found, and the freshness of the source."""
    events = list(aspects(emitted, "assertionRunEvent").values())

    assert len(events) == 10
    assert {event["result"]["type"] for event in events} == {"SUCCESS"}
    assert [event["result"]["nativeResults"].get("failures") for event in events].count("1") == 1
    (source,) = (event for event in events if "fault_arrivals" in event["asserteeUrn"])
    assert source["result"]["nativeResults"]["status"] == "pass"
