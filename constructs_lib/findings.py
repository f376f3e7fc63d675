"""How a finding of cdk-nag is accepted: one at a time, beside its resource, with the reason."""

from collections.abc import Mapping

import aws_cdk as cdk
from constructs import IConstruct


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Accept the AwsSolutions findings named by the keys of `reasons` for `construct` and everything below it."""
    cdk.Validations.of(construct).acknowledge(
        *(cdk.Acknowledgment(id=f"AwsSolutions::{finding}", reason=reason) for finding, reason in reasons.items())
    )


def logical_id(construct: IConstruct) -> str:
    """The logical id of a construct's resource, as findings about grants spell it."""
    resource = construct.node.default_child
    if not isinstance(resource, cdk.CfnElement):
        raise TypeError(f"{construct.node.path} has no resource of its own")
    resolved: str = cdk.Stack.of(construct).resolve(resource.logical_id)
    return resolved
