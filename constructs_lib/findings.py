"""How a finding of cdk-nag is accepted: one at a time, beside its resource, with the reason."""

import json
from collections.abc import Mapping

import aws_cdk as cdk
from constructs import IConstruct


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Accept the AwsSolutions findings named by the keys of `reasons` for `construct` and everything below it."""
    cdk.Validations.of(construct).acknowledge(
        *(cdk.Acknowledgment(id=f"AwsSolutions::{finding}", reason=reason) for finding, reason in reasons.items())
    )


def acknowledge_wildcards(construct: IConstruct, reasons_by_resource_arn: Mapping[str, str]) -> None:
    """Accept that policies of `construct` name the keys of `reasons_by_resource_arn` as resources, each with its reason."""
    stack = cdk.Stack.of(construct)
    acknowledge(
        construct,
        {
            f"AwsSolutions-IAM5[Resource::{_as_in_findings(stack.resolve(arn))}]": reason
            for arn, reason in reasons_by_resource_arn.items()
        },
    )


def _as_in_findings(value: object) -> str:
    """How cdk-nag spells a resolved value: joins joined, references as `<LogicalId.Attribute>`, the rest as JSON."""
    match value:
        case str():
            return value
        case {"Fn::Join": ["", [*parts]]}:
            return "".join(_as_in_findings(part) for part in parts)
        case {"Ref": str(name)}:
            return f"<{name}>"
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"<{name}.{attribute}>"
        case _:
            return json.dumps(value, separators=(",", ":"))
