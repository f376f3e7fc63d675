"""How a finding of cdk-nag or of Checkov is accepted: one at a time, beside its resource, with the reason."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import partial
from weakref import WeakKeyDictionary

import aws_cdk as cdk
from constructs import IConstruct

_CHECKOV = "CKV_"
_NIST = "NIST.800.53.R5-"
# These packs of cdk-nag have many of that one's rules, under the same names.
_PACKS_WITH_RULES_OF_NIST = ("NIST.800.53.R4-", "HIPAA.Security-", "PCI.DSS.321-", "Serverless-")
_UNRESOLVED = "${Token["
_Told = Callable[[], None]

# What CDK is told, by app, when somebody checks. It takes three calls of its Node process for each, and a synth alone checks
# nothing. jsii frees no construct of an app that has gone; what belongs to it is neither told nor gone through again.
_accepted: WeakKeyDictionary[IConstruct, list[_Told]] = WeakKeyDictionary()
_collected: ContextVar[list[_Told] | None] = ContextVar("_collected", default=None)


@contextlib.contextmanager
def accepted_in(app: IConstruct) -> Iterator[None]:
    """
    Keep what is accepted in the block for `tell_checkers(app)`, apart from what other apps of the process accept.

    `app` is the root of the constructs that are defined in the block. Outside of such a block CDK is told at once.
    """
    token = _collected.set(_accepted.setdefault(app, []))
    try:
        yield
    finally:
        _collected.reset(token)


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """
    Accept the findings named by the keys of `reasons`, spelled as their tool does: "AwsSolutions-S1", "CKV_AWS_18".

    Those of cdk-nag are accepted for `construct` and everything below it, those of Checkov for its own resource: it reads them
    from the template, where a reviewer does, too. cdk-nag hears of it from `tell_checkers`. What is accepted of a rule of its
    pack for NIST 800-53 R5 is so of the same rule in its packs for R4, HIPAA, PCI DSS and serverless applications. Raises
    TypeError if `construct` has no resource of its own.
    """
    for_checkov = {finding: reason for finding, reason in reasons.items() if finding.startswith(_CHECKOV)}
    if for_checkov:
        _skip_in_checkov(construct, for_checkov)
    for_nag = {
        f"{name.partition('-')[0]}::{name}": reason
        for finding, reason in reasons.items()
        if finding not in for_checkov
        for name in _names(finding)
    }
    if for_nag:
        _accept(partial(_acknowledge, construct, for_nag))


def _names(finding: str) -> list[str]:
    if not finding.startswith(_NIST):
        return [finding]
    return [finding, *(pack + finding.removeprefix(_NIST) for pack in _PACKS_WITH_RULES_OF_NIST)]


def tell_checkers(app: IConstruct) -> None:
    """Tell CDK of all that was accepted in `app` until now, for the checkers that it runs when an app is synthesized."""
    for tell in _accepted.pop(app, ()):
        tell()


def _accept(tell: _Told) -> None:
    collected = _collected.get()
    if collected is None:
        tell()
    else:
        collected.append(tell)


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
    _accept(partial(_acknowledge_wildcards, construct, dict(reasons_by_resource_arn)))


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
