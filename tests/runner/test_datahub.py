"""What `make datahub` fetches is what DataHub's own reader of dbt wants."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from local_cloud.venvs import install_venv
from tests.faults.machine import PROJECT, REPOSITORY, Machine
from tests.runner.attempts import ended, started
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
    """What DataHub's command emits for the recipe, with a file in the place of a server."""
    python = install_venv(
        REPOSITORY / ".local-cloud/venvs/datahub", REPOSITORY / "local_cloud/datahub-requirements.txt"
    )
    content = yaml.safe_load(recipe.read_text())
    assert content["sink"]["config"]["server"] == "${DATAHUB_GMS_URL}"
    file = recipe.parent / "emitted.json"
    # A file can be written only, not be asked for what is in it already, which is what "patch" would do.
    content["source"]["config"]["write_semantics"] = "OVERRIDE"
    content["sink"] = {"type": "file", "config": {"filename": str(file)}}
    to_file = recipe.parent / "to-file.yml"
    to_file.write_text(yaml.safe_dump(content))
    done = subprocess.run(
        [python.parent / "datahub", "ingest", "--strict-warnings", "--config", to_file],
        env={"PATH": os.defpath, "HOME": str(recipe.parent), "DATAHUB_TELEMETRY_ENABLED": "false"},
        cwd=recipe.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(file.read_text())
    return found


def aspects(emitted: list[dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """One aspect of all entities, by the entity's name."""
    found: dict[str, dict[str, Any]] = {}
    for entry in emitted:
        if entry.get("aspectName") == name:
            found[entry["entityUrn"]] = entry["aspect"]["json"]
        for aspect in entry.get("proposedSnapshot", {}).values():
            for part in aspect["aspects"]:
                for kind, value in part.items():
                    if kind.rpartition(".")[2].lower() == name.lower():
                        found[aspect["urn"]] = value
    return found


def of_model(found: dict[str, Any], name: str) -> dict[str, Any]:
    """What was found for a model of dbt."""
    (urn,) = (urn for urn in found if "dataPlatform:dbt," in urn and urn.endswith(f".built.{name},DEV)"))
    value: dict[str, Any] = found[urn]
    return value


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
