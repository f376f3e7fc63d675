"""How a finding of cdk-nag or of Checkov is accepted: one at a time, beside its resource, with the reason."""

import json
from collections.abc import Callable, Mapping
from functools import partial

import aws_cdk as cdk
from constructs import IConstruct

_CHECKOV = "CKV_"
_UNRESOLVED = "${Token["
# What CDK is told when somebody checks. It takes three calls of its Node process for each, and a synth alone checks nothing.
_accepted: list[Callable[[], None]] = []


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """
    Accept the findings named by the keys of `reasons`, spelled as their tool does: "AwsSolutions-S1", "CKV_AWS_18".

    Those of cdk-nag are accepted for `construct` and everything below it, those of Checkov for its own resource: it reads them
    from the template, where a reviewer does, too. cdk-nag hears of it from `tell_checkers`. Raises TypeError if `construct` has
    no resource of its own.
    """
    for_checkov = {finding: reason for finding, reason in reasons.items() if finding.startswith(_CHECKOV)}
    if for_checkov:
        _skip_in_checkov(construct, for_checkov)
    for_nag = {
        f"{finding.partition('-')[0]}::{finding}": reason
        for finding, reason in reasons.items()
        if finding not in for_checkov
    }
    if for_nag:
        _accepted.append(partial(_acknowledge, construct, for_nag))


def tell_checkers() -> None:
    """Tell CDK of all that was accepted until now, for the checkers that it runs when an app is synthesized."""
    while _accepted:
        _accepted.pop(0)()


def _skip_in_checkov(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    # https://www.checkov.io/2.Basics/Suppressing%20and%20Skipping%20Policies.html
    resource = construct if isinstance(construct, cdk.CfnResource) else construct.node.default_child
    if not isinstance(resource, cdk.CfnResource):
        raise TypeError(f"{construct.node.path} has no resource of its own, its default child is {resource!r}")
    skipped = (resource.get_metadata("checkov") or {"skip": []})["skip"]
    new = [{"id": finding, "comment": reason} for finding, reason in reasons.items()]
    resource.add_metadata("checkov", {"skip": [*skipped, *new]})


def acknowledge_template_rules(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Accept the findings of CDK's template validator named by the keys of `reasons`, as `acknowledge` does."""
    _acknowledge(construct, {f"CloudFormation-Validate::{finding}": reason for finding, reason in reasons.items()})


def _acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    cdk.Validations.of(construct).acknowledge(
        *(cdk.Acknowledgment(id=finding, reason=reason) for finding, reason in reasons.items())
    )


def acknowledge_wildcards(construct: IConstruct, reasons_by_resource_arn: Mapping[str, str]) -> None:
    """Accept that policies of `construct` name the keys of `reasons_by_resource_arn` as resources, each with its reason."""
    _accepted.append(partial(_acknowledge_wildcards, construct, dict(reasons_by_resource_arn)))


def _acknowledge_wildcards(construct: IConstruct, reasons_by_resource_arn: Mapping[str, str]) -> None:
    # CDK is asked for what stands for a value of the deployment only.
    unresolved = [arn for arn in reasons_by_resource_arn if _UNRESOLVED in arn]
    resolved = dict(zip(unresolved, cdk.Stack.of(construct).resolve(unresolved), strict=True)) if unresolved else {}
    _acknowledge(
        construct,
        {
            f"AwsSolutions::AwsSolutions-IAM5[Resource::{_as_in_findings(resolved.get(arn, arn))}]": reason
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
