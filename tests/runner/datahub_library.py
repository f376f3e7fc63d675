"""DataHub's own reader of dbt, with a file in the place of its server."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from local_cloud.venvs import install_venv
from tests.faults.machine import REPOSITORY


def emitted(recipe: Path) -> list[dict[str, Any]]:
    """What DataHub's command emits for a recipe; a warning of it is an error."""
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
    """What was found for a model of dbt, in whichever schema."""
    (urn,) = (urn for urn in found if "dataPlatform:dbt," in urn and urn.endswith(f".{name},DEV)"))
    value: dict[str, Any] = found[urn]
    return value
