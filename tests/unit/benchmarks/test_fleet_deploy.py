"""What a deployment has moved and touched, from what the account held before and after."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks import fleet_deploy
from benchmarks.fleet_deploy import Account, Deployment, blobs_of, use_image
from benchmarks.fleet_deploy_app import environment, own_model

BEFORE = Account(
    stacks={"fleet-dbt": "2026-11-23 08:00", "fleet-dbt-one": "2026-11-23 08:01", "fleet-dbt-two": "2026-11-23 08:01"},
    blobs={("fleet/dbt/one", "sha256:base"): 900, ("fleet/dbt/two", "sha256:base"): 900},
    assets={"old.json": 70},
)


@pytest.fixture
def deployment() -> Deployment:
    """A deployment of an image that shares a layer with the one before it."""
    after = Account(
        stacks={**BEFORE.stacks, "fleet-dbt-two": "2026-11-23 09:00"},
        blobs={**BEFORE.blobs, ("fleet/dbt/two", "sha256:new"): 12, ("fleet/dbt/two", "sha256:manifest"): 3},
        assets={**BEFORE.assets, "template.json": 40, "graph.zip": 5},
    )
    return Deployment(wall_seconds=9.0, cpu_seconds=7.0, before=BEFORE, after=after)


def test_counts_what_is_new_alone(deployment: Deployment) -> None:
    """A layer that the repository has is not pushed again, and a stack that was left as it is was not touched."""
    assert (deployment.stacks, deployment.registry_bytes, deployment.asset_bytes) == (1, 15, 45)


def test_layer_that_another_repository_has_counts(deployment: Deployment) -> None:
    """Each repository keeps its own."""
    blobs = {**BEFORE.blobs, ("fleet/dbt/three", "sha256:base"): 900}
    moved = dataclasses.replace(deployment, after=dataclasses.replace(BEFORE, blobs=blobs))

    assert (moved.stacks, moved.registry_bytes) == (0, 900)


def test_gives_every_figure_that_it_names(deployment: Deployment) -> None:
    """Each name that `make bench ONLY=…` takes has a value, beside that of an environment of one project."""
    slower = dataclasses.replace(deployment, wall_seconds=18.0)
    found = list(fleet_deploy.results([slower], [deployment]))

    assert [result.name for result in found] == fleet_deploy.names()
    assert {result.other_name for result in found} == {fleet_deploy.ONE_PROJECT}
    assert [result.ratio for result in found] == [2.0, 1.0, 1.0, 1.0, 1.0]


def test_image_is_its_layers_and_its_configuration() -> None:
    """What a manifest names is what a push must bring, each with its compressed size."""
    manifest = {
        "schemaVersion": 2,
        "config": {"digest": "sha256:c", "size": 2},
        "layers": [{"digest": "sha256:a", "size": 30}, {"digest": "sha256:b", "size": 4}],
    }

    assert blobs_of(json.dumps(manifest)) == {"sha256:a": 30, "sha256:b": 4, "sha256:c": 2}


def test_projects_are_the_same_files_until_one_is_changed(tmp_path: Path) -> None:
    """One image serves the first deployment of them all; what was changed stays changed in later deployments."""
    first = environment(tmp_path, name="fleet", projects=2)
    texts = [own_model(tmp_path, number).read_text() for number in range(2)]
    own_model(tmp_path, 1).write_text("select 1 as changed\n")
    again = environment(tmp_path, name="fleet", projects=2)

    assert texts[0] == texts[1]
    assert again == first
    assert [own_model(tmp_path, number).read_text() for number in range(2)] == [texts[0], "select 1 as changed\n"]


def test_first_deployment_builds_one_image(tmp_path: Path) -> None:
    """The first assembly is built as it is; what it builds takes the place of all builds in the second."""

    def assembly(name: str, *asset_ids: str) -> Path:
        folder = tmp_path / name / "assembly-fleet"
        folder.mkdir(parents=True)
        for asset_id in asset_ids:
            images = {"dockerImages": {asset_id: {"source": {"directory": "."}, "destinations": {"d": {}}}}}
            (folder / f"{asset_id}.assets.json").write_text(json.dumps(images))
        (folder / "Environment.assets.json").write_text(json.dumps({"files": {}}))
        return tmp_path / name

    small, large = assembly("small", "a1"), assembly("large", "b1", "b2")
    image = use_image(small, None)

    assert image == use_image(large, image) == "cdkasset-a1"
    assert {file.name: file.read_text() for file in (small / "assembly-fleet").iterdir()} == {
        "a1.assets.json": json.dumps(
            {"dockerImages": {"a1": {"source": {"directory": "."}, "destinations": {"d": {}}}}}
        ),
        "Environment.assets.json": json.dumps({"files": {}}),
    }
    for asset_id in ("b1", "b2"):
        (asset,) = json.loads((large / f"assembly-fleet/{asset_id}.assets.json").read_text())["dockerImages"].values()
        assert asset == {"source": {"executable": ["echo", "cdkasset-a1"]}, "destinations": {"d": {}}}


def test_rejects_an_assembly_without_an_image(tmp_path: Path) -> None:
    """There would be nothing to deploy."""
    with pytest.raises(ValueError, match="must have an image"):
        use_image(tmp_path, None)
