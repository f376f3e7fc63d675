"""How a finding of cdk-nag or of Checkov is accepted: one at a time, beside its resource, with the reason."""

import json
from collections.abc import Mapping

import aws_cdk as cdk
from constructs import IConstruct

_CHECKOV = "CKV_"


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """
    Accept the findings named by the keys of `reasons`, spelled as their tool does: "AwsSolutions-S1", "CKV_AWS_18".

    Those of cdk-nag are accepted for `construct` and everything below it, those of Checkov for its own resource: it reads them
    from the template, where a reviewer does, too. Raises TypeError if `construct` has no resource of its own.
    """
    for finding, reason in reasons.items():
        if finding.startswith(_CHECKOV):
            _skip_in_checkov(construct, finding, reason)
        else:
            _acknowledge(construct, finding.partition("-")[0], {finding: reason})


def _skip_in_checkov(construct: IConstruct, finding: str, reason: str) -> None:
    # https://www.checkov.io/2.Basics/Suppressing%20and%20Skipping%20Policies.html
    resource = construct if isinstance(construct, cdk.CfnResource) else construct.node.default_child
    if not isinstance(resource, cdk.CfnResource):
        raise TypeError(f"{construct.node.path} has no resource of its own, its default child is {resource!r}")
    skipped = (resource.get_metadata("checkov") or {"skip": []})["skip"]
    resource.add_metadata("checkov", {"skip": [*skipped, {"id": finding, "comment": reason}]})


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
