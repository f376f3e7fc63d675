"""
Destroys an environment, or one project of it, and says what is kept: `make destroy`.

It needs no checkout of what was deployed, so a project that has gone from the settings can be destroyed, too.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from stacks import names
from stacks.settings import Environment
from tools.deployer import deployer

_KEEPING = frozenset({"Retain", "RetainExceptOnCreate", "Snapshot"})


class DestroyError(Exception):
    """The message says which stack is still there, and why."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A resource that outlives its stack."""

    resource_type: str
    physical_id: str


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """A stack that is there, with what it will leave behind."""

    name: str
    is_protected: bool
    kept: tuple[Kept, ...]


class Destruction:
    """The stacks of an environment that are deployed, as `session` sees them; they are deleted as the CDK's deploy role."""

    def __init__(self, session: boto3.Session, environment: Environment) -> None:
        self._environment = environment
        self._cloudformation = session.client("cloudformation", region_name=environment.region)
        self._ecs = session.client("ecs", region_name=environment.region)
        self._deleting = deployer(session, environment).client("cloudformation")

    def stacks(self, project: str | None) -> list[DeployedStack]:
        """What is to be deleted, in this order: the stack of `project`, or all projects' and then what they share."""
        if project is not None:
            wanted = [names.project_stack(self._environment.name, project)]
        else:
            shared = names.environment_stack(self._environment.name)
            # Another environment's name may begin as this one's does: `live` and `live-dbt-eu`.
            ending = f" in environment {self._environment.name}"
            of_projects = sorted(
                name
                for name in self._names()
                if name.startswith(f"{shared}-") and str(self._template(name).get("Description")).endswith(ending)
            )
            wanted = [*of_projects, shared, names.ci_stack(self._environment.name)]
        return [stack for name in wanted if (stack := self._stack(name)) is not None]

    def delete(self, stack: DeployedStack) -> tuple[Kept, ...]:
        """Delete `stack`; returns what it has left behind. Raises DestroyError."""
        self._deleting.delete_stack(StackName=stack.name)
        try:
            self._cloudformation.get_waiter("stack_delete_complete").wait(
                StackName=stack.name, WaiterConfig={"Delay": 3, "MaxAttempts": 1200}
            )
        except WaiterError as error:
            raise DestroyError(f"{stack.name} is not deleted, CloudFormation's events say why: {error}") from error
        return (*stack.kept, *self._task_definitions(stack.name))

    def _names(self) -> Iterator[str]:
        for page in self._cloudformation.get_paginator("describe_stacks").paginate():
            yield from (stack["StackName"] for stack in page["Stacks"] if stack["StackStatus"] != "DELETE_COMPLETE")

    def _template(self, name: str) -> dict[str, Any]:
        body: Any = self._cloudformation.get_template(StackName=name, TemplateStage="Original")["TemplateBody"]
        template: dict[str, Any] = body if isinstance(body, dict) else json.loads(body)
        return template

    def _stack(self, name: str) -> DeployedStack | None:
        try:
            (stack,) = self._cloudformation.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        if stack["StackStatus"] == "DELETE_COMPLETE":
            return None
        return DeployedStack(name, bool(stack.get("EnableTerminationProtection")), tuple(self._kept(name)))

    def _kept(self, name: str) -> Iterator[Kept]:
        resources = self._template(name)["Resources"]
        for page in self._cloudformation.get_paginator("list_stack_resources").paginate(StackName=name):
            for deployed in page["StackResourceSummaries"]:
                resource = resources.get(deployed["LogicalResourceId"], {})
                if resource.get("DeletionPolicy") in _KEEPING:
                    yield Kept(deployed["ResourceType"], deployed.get("PhysicalResourceId", "?"))

    def _task_definitions(self, family: str) -> Iterator[Kept]:
        """What earlier deployments have left so that containers of theirs could start again; it costs nothing."""
        pages = self._ecs.get_paginator("list_task_definitions").paginate(familyPrefix=family, status="ACTIVE")
        for page in pages:
            for arn in page["taskDefinitionArns"]:
                revision = arn.rpartition("/")[2]
                if revision.rpartition(":")[0] == family:
                    yield Kept("AWS::ECS::TaskDefinition", revision)


def destroy(destruction: Destruction, *, environment: str, project: str | None, is_sure: bool) -> int:
    """Delete what is deployed after the person has typed its name, unless `is_sure`; returns the exit code."""
    stacks = destruction.stacks(project)
    if not stacks:
        print(f"nothing of {project or environment} is deployed in {environment}")
        return 0
    protected = [stack.name for stack in stacks if stack.is_protected]
    if protected:
        commands = "\n".join(
            f"  aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name {name}"
            for name in protected
        )
        raise DestroyError(
            f"nothing was deleted: {', '.join(protected)} is protected against it. To take that off:\n{commands}"
        )
    print("to be deleted: " + ", ".join(stack.name for stack in stacks))
    if not is_sure and input(f"type {project or environment} to delete: ") != (project or environment):
        raise DestroyError("nothing was deleted: another name was typed")
    kept: list[Kept] = []
    for stack in stacks:
        kept += destruction.delete(stack)
        print(f"deleted  {stack.name}", flush=True)
    for resource in kept:
        print(f"kept     {resource.resource_type} {resource.physical_id}")
    print(f"\n{len(kept)} resources are kept" if kept else "\nnothing is kept")
    return 0


def main(arguments: Sequence[str], environments: Sequence[Environment]) -> int:
    """Destroy what the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make destroy", description=__doc__)
    parser.add_argument("environment", choices=[environment.name for environment in environments])
    parser.add_argument("project", nargs="?", help="one project, also one that the settings no longer have")
    parser.add_argument("--yes", action="store_true", help="ask nobody")
    chosen = parser.parse_args(arguments)
    environment = next(found for found in environments if found.name == chosen.environment)
    try:
        destruction = Destruction(boto3.Session(region_name=environment.region), environment)
        return destroy(destruction, environment=chosen.environment, project=chosen.project, is_sure=chosen.yes)
    except DestroyError as error:
        print(f"error: {error}", file=sys.stderr)
    except (BotoCoreError, ClientError) as error:
        print(f"error: AWS did not answer as expected: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    from stacks.environments import ENVIRONMENTS

    raise SystemExit(main(sys.argv[1:], ENVIRONMENTS))
