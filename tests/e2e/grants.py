"""What each role of the deployment was granted, and what it used, from the emulator's own policies and decisions."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from constructs_lib.rare_grants import RARE_GRANTS

if TYPE_CHECKING:
    from tests.e2e.conftest import Story


@dataclass(frozen=True, order=True, slots=True)
class Grant:
    """One action that one role may do on one resource; both as its policy writes them, with wildcards."""

    role_name: str
    action: str
    resource: str


@dataclass(frozen=True, slots=True)
class Decision:
    """One question to IAM by a role: `answer` is "Allow" or the kind of denial."""

    role_name: str
    action: str
    resource: str
    answer: str


@dataclass(frozen=True, slots=True)
class Role:
    """A role that a stack of the product made, with the reasons that its template gives for rare grants, by action."""

    name: str
    logical_id: str
    grants: tuple[Grant, ...]
    reasons: dict[str, str]


def deployed_roles(story: "Story", environment: str) -> list[Role]:
    """Every role in the stacks of a deployed environment."""
    cloudformation = story.cloud.account.client("cloudformation")
    return [
        _role(story, resource, cloudformation.get_template(StackName=stack["StackName"])["TemplateBody"])
        for stack in cloudformation.describe_stacks()["Stacks"]
        if stack["StackName"].startswith(f"{environment}-")
        for resource in cloudformation.describe_stack_resources(StackName=stack["StackName"])["StackResources"]
        if resource["ResourceType"] == "AWS::IAM::Role"
    ]


AUDIT = "audit"
"""The name of the sessions in which tests try what a role may do; nothing of it counts as use."""


def decisions(story: "Story") -> list[Decision]:
    """Every decision so far about a request that was made as a role, but for those of an audit."""
    found = []
    for line in story.cloud.emulator.iam_log.read_text().splitlines():
        entry = json.loads(line)
        session = re.fullmatch(r"arn:aws:sts::\d+:assumed-role/([^/]+)/(.+)", entry["principal"])
        if session and session[2] != AUDIT:
            found.append(Decision(session[1], entry["action"], entry["resource"], entry["decision"]))
    return found


def unused(grants: Iterable[Grant], made: Iterable[Decision]) -> list[Grant]:
    """The grants by which none of the decisions can have been allowed, in order."""
    allowed = {
        (decision.role_name, decision.action, decision.resource) for decision in made if decision.answer == "Allow"
    }
    return sorted(
        grant
        for grant in set(grants)
        if not any(
            role_name == grant.role_name
            and _matches(grant.action.lower(), action.lower())
            and _matches(grant.resource, resource)
            for role_name, action, resource in allowed
        )
    )


def _role(story: "Story", resource: dict[str, Any], template: dict[str, Any] | str) -> Role:
    parsed = json.loads(template) if isinstance(template, str) else template
    metadata = parsed["Resources"][resource["LogicalResourceId"]].get("Metadata", {})
    name = resource["PhysicalResourceId"]
    return Role(
        name=name,
        logical_id=resource["LogicalResourceId"],
        grants=tuple(_grants(name, _policies(story.cloud.account.client("iam"), name))),
        reasons=metadata.get(RARE_GRANTS, {}),
    )


def _policies(iam: Any, role_name: str) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - boto3 makes the types of its clients at run time
    for policy_name in iam.list_role_policies(RoleName=role_name)["PolicyNames"]:
        yield iam.get_role_policy(RoleName=role_name, PolicyName=policy_name)["PolicyDocument"]
    for attached in iam.list_attached_role_policies(RoleName=role_name)["AttachedPolicies"]:
        arn = attached["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        yield iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def _grants(role_name: str, policies: Iterable[dict[str, Any]]) -> Iterator[Grant]:
    for policy in policies:
        for statement in listed(policy["Statement"]):
            if statement["Effect"] == "Allow":
                for action in listed(statement["Action"]):
                    for resource in listed(statement["Resource"]):
                        yield Grant(role_name, action, resource)


def listed(value: Any) -> list[Any]:  # noqa: ANN401 - policies write one value with or without a list
    """Values of a policy as a list."""
    return value if isinstance(value, list) else [value]


def _matches(pattern: str, value: str) -> bool:
    """As IAM matches: `*` is any characters, `?` is one."""
    expression = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(expression, value, re.DOTALL) is not None
