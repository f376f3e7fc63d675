"""Goes back to what a project's stack was before its last deployment: `make rollback`. Needs no checkout, no build and no Docker."""

import itertools
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import boto3
from aws_cdk import region_info
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from stacks import names
from stacks.settings import Environment
from tools.deployer import bootstrap_name, deployer

_STATUSES: tuple[Literal["ACTIVE", "INACTIVE"], ...] = ("ACTIVE", "INACTIVE")
_LONGEST_HISTORY = 100
"""So many deployments of another image are looked back to."""


class RollbackError(Exception):
    """Nothing was changed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Version:
    """A template of the stack that `cdk deploy` has uploaded, and the tag of the image that it runs."""

    key: str
    uploaded: datetime
    image_tag: str
    template: dict[str, Any]


def way_back(deployed: Iterable[str]) -> list[str]:
    """
    The image tags that can be gone back to, the current one last, of all that were `deployed`, the oldest first.

    A deployment of one that was there before goes back to it: what came after it is no longer on the way.
    """
    way: list[str] = []
    for tag in deployed:
        if tag in way:
            del way[way.index(tag) + 1 :]
        else:
            way.append(tag)
    return way


class Rollback:
    """
    The deployed versions of one project's stack.

    They are the templates in the bucket of the CDK's bootstrap stack, where `cdk deploy` leaves each with the files that go with
    it, so that task, roles, alarms and DAG go back together. In which order they were deployed is told by the revisions of the
    task definition: a template that is deployed again is not uploaded again. `session` may assume the CDK's deploy role, as who
    deploys.
    """

    def __init__(self, session: boto3.Session, environment: Environment, project: str) -> None:
        self._region = environment.region
        self._bucket = bootstrap_name(environment, "assets")
        self._repository = names.repository(environment.name, project)
        self._family = names.task_family(environment.name, project)
        self.stack_name = names.project_stack(environment.name, project)
        self._own = session
        by_role = deployer(session, environment)
        self._s3, self._cloudformation = by_role.client("s3"), by_role.client("cloudformation")

    def to_previous(self) -> tuple[Version, Version]:
        """Deploy the version before the one that is deployed; returns both. Raises RollbackError."""
        deployed = self._deployed_template()
        # Read one by one, and each once: mostly two are enough.
        newest_first, again = itertools.tee(self._versions(str(deployed["Description"])))
        now = next((version for version in newest_first if version.template == deployed), None)
        if now is None:
            raise RollbackError(
                f"the template of {self.stack_name} is not in bucket {self._bucket}: it was not deployed by the CDK"
            )
        way = way_back(itertools.chain(self._deployed_tags(), [now.image_tag]))
        if len(way) < 2:
            raise RollbackError(f"nothing was deployed before image {now.image_tag}: there is no version to go back to")
        before = next((version for version in again if version.image_tag == way[-2]), None)
        if before is None:
            raise RollbackError(
                f"the template with image {way[-2]} is no longer in bucket {self._bucket}: deploy its commit"
            )
        self._check_image(before)
        self._deploy(before)
        return now, before

    def _deployed_template(self) -> dict[str, Any]:
        try:
            body = self._cloudformation.get_template(StackName=self.stack_name, TemplateStage="Original")
        except ClientError as error:
            raise RollbackError(f"{self.stack_name} cannot be read: {error}") from error
        return _parsed(body["TemplateBody"])

    def _deployed_tags(self) -> list[str]:
        """The image of each revision of the task definition, the oldest first; a replaced one is inactive."""
        ecs = self._own.client("ecs", region_name=self._region)
        arns = [
            arn
            for status in _STATUSES
            for page in ecs.get_paginator("list_task_definitions").paginate(familyPrefix=self._family, status=status)
            for arn in page["taskDefinitionArns"]
            # It is a prefix of other families, too.
            if arn.split("/")[-1].rpartition(":")[0] == self._family
        ]
        newest = sorted(arns, key=lambda arn: int(arn.rpartition(":")[2]))[-_LONGEST_HISTORY:]
        definitions = (ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"] for arn in newest)
        return [definition["containerDefinitions"][0]["image"].rpartition(":")[2] for definition in definitions]

    def _versions(self, description: str) -> Iterator[Version]:
        """The uploaded templates with this description, the newest first."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        found = [
            entry
            for page in pages
            for entry in page.get("Contents", [])
            if re.fullmatch(r"[0-9a-f]{64}\.json", entry["Key"])
        ]
        for entry in sorted(found, key=lambda entry: entry["LastModified"], reverse=True):
            text = self._s3.get_object(Bucket=self._bucket, Key=entry["Key"])["Body"].read()
            template = _parsed(text)
            if template.get("Description") == description:
                yield Version(entry["Key"], entry["LastModified"], _image_tag(template), template)

    def _check_image(self, version: Version) -> None:
        ecr = self._own.client("ecr", region_name=self._region)
        try:
            ecr.describe_images(repositoryName=self._repository, imageIds=[{"imageTag": version.image_tag}])
        except ecr.exceptions.ImageNotFoundException as error:
            raise RollbackError(
                f"image {version.image_tag} is no longer in {self._repository}: deploy its commit, which builds it again"
            ) from error

    def _deploy(self, version: Version) -> None:
        # A change set that failed keeps its name.
        change_set = f"rollback-to-{version.key[:32]}-{time.time_ns()}"
        parameters = version.template.get("Parameters", {})
        self._cloudformation.create_change_set(
            StackName=self.stack_name,
            ChangeSetName=change_set,
            TemplateURL=f"https://s3.{self._region}.{_domain_suffix(self._region)}/{self._bucket}/{version.key}",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": name, "UsePreviousValue": True} for name in parameters],
        )
        try:
            self._cloudformation.get_waiter("change_set_create_complete").wait(
                StackName=self.stack_name, ChangeSetName=change_set, WaiterConfig={"Delay": 2, "MaxAttempts": 150}
            )
            self._cloudformation.execute_change_set(StackName=self.stack_name, ChangeSetName=change_set)
            self._cloudformation.get_waiter("stack_update_complete").wait(
                StackName=self.stack_name, WaiterConfig={"Delay": 3, "MaxAttempts": 600}
            )
        except WaiterError as error:
            raise RollbackError(
                f"{self.stack_name} was not changed, CloudFormation's events say why: {error}"
            ) from error


def _domain_suffix(region: str) -> str:
    return region_info.RegionInfo.get(region).domain_suffix or "amazonaws.com"


def _parsed(body: Any) -> dict[str, Any]:  # noqa: ANN401 - text, or what boto3 has parsed already
    template: dict[str, Any] = body if isinstance(body, dict) else json.loads(body)
    return template


def _image_tag(template: dict[str, Any]) -> str:
    """The tag of the one image that a project's template names: the hash of its content."""
    tags = set(re.findall(r"/dbt/[a-z0-9_]+:([0-9a-f]{64})", json.dumps(template)))
    if len(tags) != 1:
        raise RollbackError(f"a project's template must name one image, got {len(tags)}")
    return str(tags.pop())


def main(arguments: Sequence[str], environments: Sequence[Environment]) -> int:
    """Roll the project that is named second back in the environment that is named first; returns the exit code."""
    name, project = arguments
    environment = next((found for found in environments if found.name == name), None)
    projects = [found.name for found in environment.projects] if environment else []
    if environment is None or project not in projects:
        allowed = projects if environment else [found.name for found in environments]
        what, got = ("project", project) if environment else ("environment", name)
        print(f"error: {what} must be one of {', '.join(allowed)}, got {got!r}", file=sys.stderr)
        return 1
    try:
        now, before = Rollback(boto3.Session(region_name=environment.region), environment, project).to_previous()
    except RollbackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"error: AWS did not answer as expected: {error}", file=sys.stderr)
        return 1
    print(f"{project} in {name} is back at image {before.image_tag}, deployed {before.uploaded:%Y-%m-%d %H:%M} UTC")
    print(
        f"before: image {now.image_tag}, deployed {now.uploaded:%Y-%m-%d %H:%M} UTC; the next deployment goes forward again"
    )
    return 0


if __name__ == "__main__":
    from stacks.environments import ENVIRONMENTS

    raise SystemExit(main(sys.argv[1:], ENVIRONMENTS))
