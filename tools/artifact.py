"""
One artifact for all environments: `make ci-build` makes it, `make ci-deploy` deploys from it and builds nothing.

It is the cloud assembly of `cdk synth` with each image built once and lying beside it; the manifests of assets, which say how an
image comes about, say how it is loaded instead.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from constructs_lib.repository import REPOSITORY
from stacks import names
from tools import saved_images
from tools.bill_of_materials import ImageError, bill_of_materials, image_id
from tools.pipeline_token import PipelineRole, TokenError, credentials
from tools.provenance import provenance

_FORMAT_VERSION = 1
_DESCRIPTION = "artifact.json"
_ASSEMBLY = "cdk.out"
_IMAGES = "images"
_LOADER = "load.py"
_BILLS = "sbom"
_PROVENANCE = "provenance.json"
_CDK = "node_modules/.bin/cdk"
_STACKS_AT_A_TIME = "4"
_UNDERSTOOD = frozenset({"directory", "dockerBuildArgs", "platform"})
_NAME = re.compile(r"[a-z](-?[a-z0-9])*")


class ArtifactError(Exception):
    """The artifact cannot be made or deployed, and nothing was deployed; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """
    A folder with `cdk.out`, `images/<asset id>.json` and `artifact.json`, which tells commit, environments and checksums.

    The images' layers are in `images/blobs`, where those of several images lie once: a fleet's differ in the last one only.
    Beside them lie `sbom/<asset id>.cdx.json`, what each image is made of, and `provenance.json`, what all comes from.
    """

    folder: Path

    @property
    def assembly(self) -> Path:
        """What `cdk --app` takes."""
        return self.folder / _ASSEMBLY

    def build(self, app: str, *, commit: str) -> None:
        """
        Make it anew of `app`, the command that synthesizes; `commit` is noted.

        Images are built by the program that CDK_DOCKER names (docker), each once, however many environments have it.
        Raises ArtifactError if synth or a build fails, or an image is to be built in a way that is not known here.
        """
        started = datetime.now(UTC)
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in (_IMAGES, _BILLS):
            (self.folder / name).mkdir(parents=True)
        shutil.copyfile(saved_images.__file__, self.folder / _IMAGES / _LOADER)
        command = [str(REPOSITORY / _CDK), "synth", "--quiet", "--app", app, "--output", str(self.assembly), "**"]
        _run(command, folder=REPOSITORY)
        image_ids: dict[str, str] = {}
        for manifest in self._asset_manifests():
            content = json.loads(manifest.read_text(encoding="utf-8"))
            for asset_id, image in content.get("dockerImages", {}).items():
                if asset_id not in image_ids:
                    image_ids[asset_id] = self._build_image(asset_id, image["source"], manifest.parent)
                image["source"] = {"executable": self._loading(asset_id, manifest.parent)}
            manifest.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        self._write_provenance(image_ids, commit, started)
        description = {
            "format_version": _FORMAT_VERSION,
            "commit": commit,
            "environments": self._environments(),
            "sha256": {
                path.relative_to(self.folder).as_posix(): _sha256(path)
                for path in sorted(self.folder.rglob("*"))
                if path.is_file()
            },
        }
        (self.folder / _DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")

    def check(self, environment: str) -> str:
        """Return its commit; raises ArtifactError if it is not whole, or does not have the environment."""
        try:
            description: dict[str, Any] = json.loads((self.folder / _DESCRIPTION).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{self.folder} is no artifact of `make ci-build`: {error}") from error
        if description.get("format_version") != _FORMAT_VERSION:
            raise ArtifactError(
                f"{self.folder} has format {description.get('format_version')!r}, this version deploys {_FORMAT_VERSION}"
            )
        environments: list[str] = description["environments"]
        if environment not in environments:
            raise ArtifactError(f"environment must be one of {', '.join(environments)}, got {environment!r}")
        changed = [
            name
            for name, checksum in description["sha256"].items()
            if not (self.folder / name).is_file() or _sha256(self.folder / name) != checksum
        ]
        if changed:
            raise ArtifactError(f"{self.folder} is not as it was built: {', '.join(changed[:3])}")
        return str(description["commit"])

    def deploy(self, environment: str) -> int:
        """
        Deploy one environment with the CDK CLI, its words as they come; returns its exit code.

        In a pipeline that hands out tokens that is done as the environment's deploy role. Raises ArtifactError.
        """
        self.check(environment)
        command = [str(REPOSITORY / _CDK), "deploy", "--app", str(self.assembly), f"{environment}/**"]
        # Who reviews is asked before this runs; without the second flag the first deploy looks for registries too early.
        options = ["--require-approval", "never", "--asset-prebuild=false", "--progress", "events"]
        # Projects wait for the environment's stack, and not for each other.
        options += ["--concurrency", _STACKS_AT_A_TIME]
        try:
            with credentials(self._deploy_role(environment)) as variables:
                return subprocess.run([*command, *options], cwd=self.folder, env=variables, check=False).returncode
        except TokenError as error:
            raise ArtifactError(str(error)) from error

    def _deploy_role(self, environment: str) -> PipelineRole | None:
        for manifest in sorted(self.assembly.glob("assembly-*/manifest.json")):
            for artifact in json.loads(manifest.read_text(encoding="utf-8"))["artifacts"].values():
                stack = artifact.get("properties", {})
                if stack.get("stackName") == names.ci_stack(environment):
                    template = json.loads((manifest.parent / stack["templateFile"]).read_text(encoding="utf-8"))
                    return PipelineRole(
                        arn=template["Outputs"][names.DEPLOY_ROLE_OUTPUT]["Value"],
                        audience=template["Outputs"][names.AUDIENCE_OUTPUT]["Value"],
                        # Spelled aws:// account / region.
                        region=artifact["environment"].rpartition("/")[2],
                    )
        return None

    def _asset_manifests(self) -> Iterator[Path]:
        yield from sorted(self.assembly.rglob("*.assets.json"))

    def _environments(self) -> list[str]:
        manifest = json.loads((self.assembly / "manifest.json").read_text(encoding="utf-8"))
        return sorted(
            artifact["properties"]["displayName"]
            for artifact in manifest["artifacts"].values()
            if artifact["type"] == "cdk:cloud-assembly"
        )

    def _build_image(self, asset_id: str, source: dict[str, Any], manifest_folder: Path) -> str:
        """Build, describe and keep it; returns its id, the digest of its configuration."""
        unknown = sorted(set(source) - _UNDERSTOOD)
        if unknown or "directory" not in source:
            raise ArtifactError(
                f"image {asset_id} is built with {unknown or sorted(source)}, known here are {sorted(_UNDERSTOOD)}"
            )
        arguments = [f"--build-arg={name}={value}" for name, value in source.get("dockerBuildArgs", {}).items()]
        platform = ["--platform", source["platform"]] if "platform" in source else []
        folder = manifest_folder / source["directory"]
        _run([_docker(), "build", "--tag", _tag(asset_id), *arguments, *platform, "."], folder=folder)
        with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
            archive = Path(temporary) / f"{asset_id}.tar"
            _run([_docker(), "save", "--output", str(archive), _tag(asset_id)], folder=folder)
            try:
                bill = bill_of_materials(archive, name=_tag(asset_id))
                id_ = image_id(archive)
                saved_images.keep(archive, self.folder / _IMAGES, asset_id)
            except (ImageError, ValueError) as error:
                raise ArtifactError(str(error)) from error
        (self.folder / _BILLS / f"{asset_id}.cdx.json").write_text(bill, encoding="utf-8")
        return id_

    def _write_provenance(self, image_ids: Mapping[str, str], commit: str, started: datetime) -> None:
        files = [self.assembly / "manifest.json", *(self._image_file(asset_id) for asset_id in image_ids)]
        subjects = {
            **{_tag(asset_id): id_ for asset_id, id_ in image_ids.items()},
            **{file.relative_to(self.folder).as_posix(): _sha256(file) for file in files},
        }
        text = provenance(subjects, commit=commit, started=started, finished=datetime.now(UTC))
        (self.folder / _PROVENANCE).write_text(text, encoding="utf-8")

    def _image_file(self, asset_id: str) -> Path:
        return self.folder / _IMAGES / f"{asset_id}.json"

    def _loading(self, asset_id: str, manifest_folder: Path) -> list[str]:
        """The command that the CLI runs in the manifest's folder, and that must print the name of a local image."""
        loader = os.path.relpath(self.folder / _IMAGES / _LOADER, manifest_folder)
        return ["sh", "-c", f'python3 "{loader}" {asset_id} >&2 && echo {_tag(asset_id)}']


def _docker() -> str:
    return os.environ.get("CDK_DOCKER", "docker")


def _tag(asset_id: str) -> str:
    return f"dbt-on-fargate:{asset_id}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _run(command: Sequence[str], *, folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    if done.returncode != 0:
        raise ArtifactError(
            f"{Path(command[0]).name} {command[1]} exited with {done.returncode}:\n{done.stdout[-4000:]}"
        )


def _commit() -> str:
    """The commit that is checked out; raises ArtifactError where files differ from it, for then it is not what is built."""
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=REPOSITORY, check=False, capture_output=True, text=True
    )
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, check=False, capture_output=True, text=True)
    if status.returncode or head.returncode:
        raise ArtifactError(f"this is no git checkout: {(status.stderr or head.stderr).strip()}")
    if status.stdout.strip():
        raise ArtifactError(f"an artifact is of one commit, but these files differ from it:\n{status.stdout[:2000]}")
    return head.stdout.strip()


def main(arguments: Sequence[str]) -> int:
    """`build FOLDER`, or `deploy FOLDER ENVIRONMENT`; returns the exit code."""
    action, folder, *rest = arguments
    artifact = Artifact(folder=Path(folder).absolute())
    try:
        if action == "build":
            artifact.build(f"{sys.executable} app.py", commit=_commit())
            size_mb = sum(path.stat().st_size for path in artifact.folder.rglob("*") if path.is_file()) / 1e6
            print(f"{folder} is made: {size_mb:.0f} MB")
            return 0
        return artifact.deploy(rest[0])
    except ArtifactError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
