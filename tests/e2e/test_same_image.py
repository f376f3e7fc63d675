"""
One artifact is deployed to every environment, and what runs in the last is what was tried in the first.

It comes after all that pushes images of the other environment: podman would look for layers in the registries of these, too,
which that environment's role is denied.
"""

import base64
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud.cdk_cli import REPOSITORY_ROOT
from tests.e2e.conftest import Story
from tests.e2e.grants import decisions
from tests.e2e.two_environments_app import NAMES
from tools.artifact import Artifact, ArtifactError

_APP = "tests.e2e.two_environments_app"
# Docker's command line that refuses to build, and is otherwise the one that it stands before.
_BUILDS_NOTHING = """#!/bin/sh
case "$1" in build|buildx) echo "nothing may be built now" >&2; exit 1;; esac
exec "{docker}" "$@"
"""


@pytest.fixture(scope="module")
def artifact(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Artifact]:
    """The artifact of both environments, built once; the environments are gone after the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in story.cloud.client_environment().items():
            patch.setenv(name, value)
        artifact = Artifact(folder=tmp_path_factory.mktemp("artifact") / "artifact")
        with story.steps.step("make ci-build: one artifact for two environments"):
            artifact.build(f"{sys.executable} -m {_APP} {story.project_path}", commit="0" * 40)
        yield artifact
        with story.steps.step("cdk destroy of the two environments"):
            cdk = story.cloud.cdk(("python", "-m", _APP, str(story.project_path)))
            for name in NAMES:
                cdk.run("destroy", f"{name}/**", "--force")


def _digest(story: Story, environment: str) -> str:
    """Of the one image in the registry of an environment's project."""
    repository = f"{environment}/dbt/{story.choice.settings.project}"
    (image,) = story.cloud.account.client("ecr").describe_images(repositoryName=repository)["imageDetails"]
    return str(image["imageDigest"])


def _token(environment: str) -> str:
    """What GitHub signs for a job of `environment`; the emulator looks at its claims, not at its signature."""
    claims = {
        "iss": "https://token.actions.githubusercontent.com",
        "aud": "sts.amazonaws.com",
        "sub": f"repo:owner/dbt:environment:{environment}",
    }
    parts = (json.dumps(part).encode() for part in ({"alg": "RS256"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "signature"])


def test_both_environments_run_the_same_image_and_nothing_is_built(
    story: Story, artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Deployed one after the other, each from the artifact, by a Docker that cannot build.

    The first time a person lets the pipeline in; from then on its token is enough, and the other environment's is not.
    """
    docker = tmp_path / "docker"
    docker.write_text(_BUILDS_NOTHING.format(docker=os.environ["CDK_DOCKER"]))
    docker.chmod(0o755)
    monkeypatch.setenv("CDK_DOCKER", str(docker))
    first_name, second_name = NAMES
    with story.steps.step(f"Let the pipeline deploy {second_name}"):
        cdk = story.cloud.cdk((str(artifact.assembly),))
        # With the registry's role: the CLI looks for it before all else, and would go on without it.
        by_a_person = (f"{first_name}/Ci", f"{second_name}/Ci", f"{second_name}/Environment")
        cdk.run("deploy", *by_a_person, "--require-approval", "never")
    with story.steps.step(f"make ci-deploy ENV={first_name}, by a person"):
        assert artifact.deploy(first_name) == 0
    with story.steps.step(f"make ci-deploy ENV={second_name}, by a pipeline"):
        monkeypatch.setenv("AWS_ID_TOKEN", _token(first_name))
        assert artifact.deploy(second_name) != 0
        monkeypatch.setenv("AWS_ID_TOKEN", _token(second_name))
        assert artifact.deploy(second_name) == 0
    by_the_pipeline = {made.action for made in decisions(story) if made.role_name == f"{second_name}-dbt-deploy"}
    # Who one is may be asked by everyone.
    assert by_the_pipeline == {"sts:AssumeRole", "sts:GetCallerIdentity"}

    first, second = (_digest(story, name) for name in NAMES)
    assert first == second
    assert len(list((artifact.folder / "images").glob("*.tar"))) == 1


def test_artifact_says_what_its_image_is_made_of(artifact: Artifact) -> None:
    """Of the image that runs: dbt in its locked version, and the distribution's Python."""
    (bill,) = (artifact.folder / "sbom").glob("*.cdx.json")
    purls = [component["purl"] for component in json.loads(bill.read_text())["components"]]
    (locked,) = re.findall(
        r"^dbt-core==(\S+)", (REPOSITORY_ROOT / "container/requirements.txt").read_text(), re.MULTILINE
    )

    assert f"pkg:pypi/dbt-core@{locked}" in purls
    assert any(purl.startswith("pkg:deb/debian/python3@") for purl in purls)


def test_an_artifact_that_was_changed_is_not_deployed(artifact: Artifact) -> None:
    """Not even by one byte; an environment that it does not have is named with those that it has."""
    (image,) = (artifact.folder / "images").glob("*.tar")
    with image.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtifactError, match=f"is not as it was built: images/{image.name}"):
        artifact.deploy(NAMES[0])
    with pytest.raises(ArtifactError, match="environment must be one of first, second, got 'third'"):
        artifact.deploy("third")
