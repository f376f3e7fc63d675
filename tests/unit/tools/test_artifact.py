"""What `make ci-build` and `make ci-deploy` refuse; that they work is shown end to end."""

import json
from pathlib import Path

import pytest

from tests.unit.tools.saved_image import saved_image
from tools.artifact import Artifact, ArtifactError, main

_DBT = "Metadata-Version: 2.4\nName: dbt_core\nVersion: 1.11\n"


def _manifest(assembly: Path, source: dict[str, object]) -> None:
    assembly.mkdir(parents=True)
    image = {"source": source, "destinations": {}}
    (assembly / "one.assets.json").write_text(json.dumps({"dockerImages": {"a1b2": image}}))
    nested = {"type": "cdk:cloud-assembly", "properties": {"displayName": "dev"}}
    (assembly / "manifest.json").write_text(json.dumps({"artifacts": {"assembly-dev": nested}}))


def _program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """An artifact to be built, by a CDK CLI that copies a prepared assembly and a Docker that saves a word."""
    artifact = Artifact(folder=tmp_path / "artifact")
    cdk = _program(tmp_path / "cdk", f'cp -r "{tmp_path}/prepared" "{artifact.assembly}"')
    monkeypatch.setattr("tools.artifact._CDK", cdk)
    image = saved_image(
        tmp_path / "image.tar", [{"usr/lib/python3/dist-packages/dbt_core-1.11.dist-info/METADATA": _DBT}]
    )
    docker = f'echo "$@" >> {tmp_path}/calls; if [ "$1" = save ]; then cp {image} "$3"; fi'
    monkeypatch.setenv("CDK_DOCKER", _program(tmp_path / "docker", docker))
    return artifact


def test_images_are_built_as_the_manifest_says_and_loaded_from_files(artifact: Artifact, tmp_path: Path) -> None:
    """With its arguments and its platform; the manifest then names the command that loads it."""
    _manifest(
        tmp_path / "prepared",
        {"directory": ".", "dockerBuildArgs": {"LINEAGE": "openlineage"}, "platform": "linux/arm64"},
    )
    artifact.build("app", commit="c0ffee")

    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0] == "build --tag dbt-on-fargate:a1b2 --build-arg=LINEAGE=openlineage --platform linux/arm64 ."
    (image,) = json.loads((artifact.assembly / "one.assets.json").read_text())["dockerImages"].values()
    assert image["source"] == {
        "executable": [
            "sh",
            "-c",
            'python3 "../images/load.py" a1b2 >&2 && echo dbt-on-fargate:a1b2',
        ]
    }
    assert artifact.check("dev") == "c0ffee"


def test_an_image_that_is_built_in_another_way_is_not_guessed(artifact: Artifact, tmp_path: Path) -> None:
    """A field that is left out would make another image than `cdk deploy` makes."""
    _manifest(tmp_path / "prepared", {"directory": ".", "dockerBuildTarget": "runner"})
    with pytest.raises(ArtifactError, match=r"image a1b2 is built with \['dockerBuildTarget'\], known here are"):
        artifact.build("app", commit="c0ffee")


def test_a_build_that_fails_says_why(artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Docker's own words."""
    _manifest(tmp_path / "prepared", {"directory": "."})
    monkeypatch.setenv("CDK_DOCKER", _program(tmp_path / "docker", "echo no space left; exit 7"))
    with pytest.raises(ArtifactError, match="docker build exited with 7:\nno space left"):
        artifact.build("app", commit="c0ffee")


def test_a_folder_that_is_no_artifact_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    assert main(["deploy", str(tmp_path), "dev"]) == 2
    assert f"error: {tmp_path} is no artifact of `make ci-build`" in capsys.readouterr().err


def test_a_pipeline_deploys_as_the_role_that_the_artifact_names(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Role, audience and region are those of the environment's template; nothing is set up in the pipeline."""
    _manifest(tmp_path / "prepared", {"directory": "."})
    nested = tmp_path / "prepared/assembly-dev"
    nested.mkdir()
    outputs = {"DeployRoleArn": {"Value": "arn:aws:iam::1:role/dev-dbt-deploy"}, "TokenAudience": {"Value": "aud"}}
    (nested / "ci.template.json").write_text(json.dumps({"Outputs": outputs}))
    stack = {
        "type": "aws:cloudformation:stack",
        "environment": "aws://111111111111/eu-west-1",
        "properties": {"stackName": "dev-ci", "templateFile": "ci.template.json"},
    }
    (nested / "manifest.json").write_text(json.dumps({"artifacts": {"assets": {"type": "x"}, "ci": stack}}))
    artifact.build("app", commit="c0ffee")
    (tmp_path / "cdk").write_text(
        f'#!/bin/sh\necho "$AWS_ROLE_ARN $AWS_REGION" > {tmp_path}/deployed\necho "$*" > {tmp_path}/arguments\n'
    )
    monkeypatch.setenv("AWS_ID_TOKEN", "of-gitlab")

    assert artifact.deploy("dev") == 0
    assert (tmp_path / "deployed").read_text() == "arn:aws:iam::1:role/dev-dbt-deploy eu-west-1\n"
    arguments = (tmp_path / "arguments").read_text()
    assert arguments.startswith(f"deploy --app {artifact.assembly} dev/** --require-approval never")
    # The stacks of a fleet do not wait for each other.
    assert "--asset-prebuild=false" in arguments
    assert "--concurrency 4" in arguments


def test_beside_the_images_lies_what_they_are_made_of_and_what_all_comes_from(
    artifact: Artifact, tmp_path: Path
) -> None:
    """Both are part of the artifact: what was changed in them is not deployed."""
    _manifest(tmp_path / "prepared", {"directory": "."})
    artifact.build("app", commit="c0ffee")

    bill = json.loads((artifact.folder / "sbom/a1b2.cdx.json").read_text())
    assert [component["purl"] for component in bill["components"]] == ["pkg:pypi/dbt-core@1.11"]
    statement = json.loads((artifact.folder / "provenance.json").read_text())
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    checksums = json.loads((artifact.folder / "artifact.json").read_text())["sha256"]
    assert subjects == {
        "cdk.out/manifest.json": checksums["cdk.out/manifest.json"],
        "images/a1b2.json": checksums["images/a1b2.json"],
        "dbt-on-fargate:a1b2": bill["metadata"]["component"]["version"].removeprefix("sha256:"),
    }
    assert statement["predicate"]["buildDefinition"]["externalParameters"]["source"]["digest"] == {
        "gitCommit": "c0ffee"
    }

    (artifact.folder / "sbom/a1b2.cdx.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"is not as it was built: sbom/a1b2\.cdx\.json"):
        artifact.deploy("dev")


def test_an_image_that_is_none_stops_the_build(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty bill of materials would say that it holds nothing."""
    _manifest(tmp_path / "prepared", {"directory": "."})
    docker = f'if [ "$1" = save ]; then tar --create --file "$3" --directory {tmp_path} prepared; fi'
    monkeypatch.setenv("CDK_DOCKER", _program(tmp_path / "docker", docker))
    with pytest.raises(ArtifactError, match=r"a1b2.tar is no image that was saved: it has no manifest.json"):
        artifact.build("app", commit="c0ffee")
