"""
Fetches what DataHub reads of a project, with a recipe for its ingestion: `make datahub`.

DataHub's own reader of S3 takes a compressed manifest for text, and the recipe would have to change with each run; so the
artifacts that `latest.json` names are copied, and the recipe names the copies.
"""

import gzip
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import boto3
import yaml
from botocore.exceptions import ClientError

from stacks import names
from stacks.settings import Environment
from tools.fabric import Fabric, fabric_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

RECIPE = "recipe.yml"
_NEEDED = ("manifest.json", "catalog.json")
_WANTED = ("run_results.json", "sources.json")


class DatahubError(Exception):
    """There is nothing to ingest; the message says why and what to do."""


def fetch_for_datahub(project: str, to: Path, *, fabric: Fabric, bucket: str, s3: "S3Client") -> Path:
    """
    Put the published artifacts of a project into `to`, with a recipe that names them, and return the recipe's path.

    All are of one run, the last that made docs. Where DataHub is and its token stand in the recipe as the environment
    variables DATAHUB_GMS_URL and DATAHUB_GMS_TOKEN. Raises DatahubError if no run has published docs yet.
    """
    latest = _read(s3, bucket, f"{project}/latest.json")
    prefix = json.loads(latest).get("docs_prefix") if latest else None
    if not prefix:
        raise DatahubError(f"no run of project {project!r} has published docs in bucket {bucket!r} yet")
    found = {name: _read(s3, bucket, f"{prefix}{name}") for name in (*_NEEDED, *_WANTED)}
    missing = [name for name in _NEEDED if found[name] is None]
    if missing:
        raise DatahubError(f"s3://{bucket}/{prefix} lacks {', '.join(missing)}")
    folder = to.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in found.items():
        # What an earlier call has left here is of an earlier run.
        (folder / name).unlink(missing_ok=True)
        if body is not None:
            (folder / name).write_bytes(body)
    recipe = folder / RECIPE
    recipe.write_text(yaml.safe_dump(_recipe(folder, fabric=fabric), sort_keys=False), encoding="utf-8")
    return recipe


def _recipe(folder: Path, *, fabric: Fabric) -> Mapping[str, Any]:
    """https://docs.datahub.com/docs/generated/ingestion/sources/dbt."""
    config: dict[str, Any] = {
        "manifest_path": str(folder / "manifest.json"),
        "catalog_path": str(folder / "catalog.json"),
        "target_platform": "redshift",
        "env": fabric,
        # Redshift names are lower-case, and those that its own ingestion makes are, too.
        "convert_urns_to_lowercase": True,
    }
    if (folder / "run_results.json").exists():
        config["run_results_paths"] = [str(folder / "run_results.json")]
    if (folder / "sources.json").exists():
        config["sources_path"] = str(folder / "sources.json")
    return {
        "source": {"type": "dbt", "config": config},
        "sink": {
            "type": "datahub-rest",
            "config": {"server": "${DATAHUB_GMS_URL}", "token": "${DATAHUB_GMS_TOKEN:-}"},
        },
    }


def _read(s3: "S3Client", bucket: str, key: str) -> bytes | None:
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"].get("Code") in {"NoSuchKey", "404"}:
            return None
        raise DatahubError(f"s3://{bucket}/{key} cannot be read: {error}") from error
    body = answer["Body"].read()
    return gzip.decompress(body) if answer.get("ContentEncoding") == "gzip" else body


def main(arguments: Sequence[str], environments: Sequence[Environment]) -> int:
    """Fetch environment, project, folder and optionally DataHub's name for the environment; returns the exit code."""
    name, project, to, *given = arguments
    environment = next((found for found in environments if found.name == name), None)
    if environment is None:
        return _refused("environment", [found.name for found in environments], name)
    projects = [found.name for found in environment.projects]
    if project not in projects:
        return _refused(f"project of {name}", projects, project)
    fabric = fabric_of(given[0] if given else name)
    if fabric is None:
        return _refused("FABRIC, DataHub's name for the environment,", get_args(Fabric), given[0] if given else name)
    session = boto3.session.Session(region_name=environment.region)
    try:
        bucket = _artifacts_bucket(session, names.environment_stack(name))
        recipe = fetch_for_datahub(project, Path(to), fabric=fabric, bucket=bucket, s3=session.client("s3"))
    except DatahubError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"datahub ingest --config {recipe}")
    return 0


def _refused(what: str, allowed: Sequence[str], got: str) -> int:
    print(f"error: {what} must be one of {', '.join(allowed)}, got {got!r}", file=sys.stderr)
    return 1


def _artifacts_bucket(session: boto3.session.Session, stack_name: str) -> str:
    try:
        (stack,) = session.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"]
    except ClientError as error:
        raise DatahubError(f"stack {stack_name!r} cannot be read: {error}") from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    return str(outputs["ArtifactsBucketName"])


if __name__ == "__main__":
    from stacks.environments import ENVIRONMENTS

    raise SystemExit(main(sys.argv[1:], ENVIRONMENTS))
