"""How a finding of cdk-nag is accepted: one at a time, beside its resource, with the reason."""

import json
from collections.abc import Mapping

import aws_cdk as cdk
from constructs import IConstruct


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Accept the AwsSolutions findings named by the keys of `reasons` for `construct` and everything below it."""
    _acknowledge(construct, "AwsSolutions", reasons)


def acknowledge_template_rules(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Accept the findings of CDK's template validator named by the keys of `reasons`, as `acknowledge` does."""
    _acknowledge(construct, "CloudFormation-Validate", reasons)


def _acknowledge(construct: IConstruct, plugin: str, reasons: Mapping[str, str]) -> None:
    cdk.Validations.of(construct).acknowledge(
        *(cdk.Acknowledgment(id=f"{plugin}::{finding}", reason=reason) for finding, reason in reasons.items())
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
