"""What the roles of a template may do."""

from collections.abc import Mapping
from typing import Any


def statements_by_role(resources: Mapping[str, Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The statements of each role, by its logical id: of the policies in the role's resource, and of those beside it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::IAM::Role":
            for policy in properties.get("Policies", []):
                found.setdefault(name, []).extend(policy["PolicyDocument"]["Statement"])
        if resource["Type"] == "AWS::IAM::Policy":
            for role in properties["Roles"]:
                found.setdefault(role["Ref"], []).extend(properties["PolicyDocument"]["Statement"])
    return found


def statements_of(resources: Mapping[str, Mapping[str, Any]], role: str = "") -> list[dict[str, Any]]:
    """The statements of all roles whose logical id begins with `role`."""
    return [
        statement
        for name, statements in statements_by_role(resources).items()
        if name.startswith(role)
        for statement in statements
    ]
