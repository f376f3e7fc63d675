"""From an image name in a task definition to an image that the container engine can run."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_cloud.emulator.patches.stock import docker_errors, ecr, responses

SECRETS_REFUSED = (
    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
)

_ECR_IMAGE = re.compile(
    r"^(?P<host>\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com)/(?P<repository>[^:@]+)(?P<version>[:@].+)?$"
)


class CannotPullContainerError(Exception):
    """The image is not there, or cannot be read; the message is ECS's."""


@dataclass(frozen=True)
class Image:
    """An image that the engine has, by the name under which it runs, with the paths that its Dockerfile declares volumes."""

    reference: str
    digest: str
    volumes: frozenset[str]


@dataclass(frozen=True)
class Permission:
    """One thing that the ECS agent needs to be allowed before it starts a container."""

    action: str
    resource: str

    def refusal(self, denied: str) -> str:
        """ECS's words for a task that did not start because `denied`."""
        if self.action == "ecr:GetAuthorizationToken":
            return f"{SECRETS_REFUSED}unable to retrieve ecr registry auth: service call has been retried 3 time(s): {denied}"
        if self.action.startswith("ecr:"):
            return f"CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref: {denied}"
        if self.action.startswith("secretsmanager:"):
            return (
                f"{SECRETS_REFUSED}unable to retrieve secret from asm: service call has been retried 1 time(s): "
                f"failed to fetch secret {self.resource} from secrets manager: {denied}"
            )
        return (
            f"{SECRETS_REFUSED}unable to retrieve secrets from ssm: service call has been retried 1 time(s): {denied}"
        )


def needed_permissions(image: str) -> list[Permission]:
    """What the execution role needs so that `image` can be pulled; nothing for an image of a public registry."""
    found = _ECR_IMAGE.match(image)
    if found is None:
        return []
    account, region = found["host"].split(".")[0], found["host"].split(".")[3]
    repository = f"arn:aws:ecr:{region}:{account}:repository/{found['repository']}"
    on_repository = ("ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage")
    return [Permission("ecr:GetAuthorizationToken", "*"), *(Permission(action, repository) for action in on_repository)]


def secret_permission(value_from: str) -> Permission:
    """What the execution role needs so that ECS can inject this secret or parameter."""
    if ":secretsmanager:" in value_from:
        # ECS allows json-key, version-stage and version-id behind the ARN's seven parts.
        return Permission("secretsmanager:GetSecretValue", ":".join(value_from.split(":")[:7]))
    if value_from.startswith("arn:"):
        return Permission("ssm:GetParameters", value_from)
    prefix = f"arn:aws:ssm:{responses.get_region()}:{responses.get_account_id()}:parameter"
    return Permission("ssm:GetParameters", f"{prefix}/{value_from.lstrip('/')}")


def pull(engine: Any, name: str) -> Image:  # noqa: ANN401 -- the Docker library has no types
    """Make sure that the engine has the image `name`; raises CannotPullContainerError if it is nowhere to be had."""
    found = _ECR_IMAGE.match(name)
    if found is None:
        return _describe(engine, _present(engine, name) or _pulled(engine, name), digest="")
    repository, version = found["repository"], found["version"] or ":latest"
    digest, manifest, _ = ecr._resolve_manifest(repository, version[1:])
    if digest is None:
        raise CannotPullContainerError(
            "CannotPullContainerError: pull image manifest has been retried 5 time(s): "
            f"failed to resolve ref {name}: {name}: not found"
        )
    # What was built here is here: an image's id is the digest of its configuration, in any registry. Pulling it through
    # loopback would bring the same bytes.
    image_id = _config_digest(repository, manifest)
    address = f"127.0.0.1:{os.environ['GATEWAY_PORT']}/{repository}@{digest}"
    return _describe(engine, _present(engine, image_id) or _pulled(engine, address), digest=digest)


def _config_digest(repository: str, manifest: bytes) -> str:
    document = json.loads(manifest)
    if "manifests" in document:
        _, chosen, _ = ecr._resolve_manifest(repository, document["manifests"][0]["digest"])
        document = json.loads(chosen)
    digest: str = document["config"]["digest"]
    return digest


def _present(engine: Any, reference: str) -> Any:  # noqa: ANN401 -- the Docker library has no types
    try:
        return engine.images.get(reference)
    except docker_errors.ImageNotFound:
        return None


def _pulled(engine: Any, reference: str) -> Any:  # noqa: ANN401 -- the Docker library has no types
    try:
        return engine.images.pull(reference)
    except docker_errors.APIError as error:
        raise CannotPullContainerError(
            f"CannotPullContainerError: pull image manifest has been retried 5 time(s): "
            f"failed to resolve ref {reference}: {error.explanation}"
        ) from error


def _describe(engine: Any, image: Any, *, digest: str) -> Image:  # noqa: ANN401 -- the Docker library has no types
    details: Mapping[str, Any] = engine.api.inspect_image(image.id)
    volumes = (details.get("Config") or {}).get("Volumes") or {}
    return Image(image.id, digest, frozenset(path.rstrip("/") for path in volumes))
