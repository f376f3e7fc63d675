"""Findings are accepted where their tool and a reviewer look."""

import aws_cdk as cdk
import pytest
from aws_cdk import aws_logs as logs
from aws_cdk.assertions import Template
from constructs import Construct

from constructs_lib.findings import accepted_in, acknowledge, acknowledge_wildcards, tell_checkers


def test_what_checkov_may_skip_is_in_the_template_with_its_reason(stack: cdk.Stack) -> None:
    """Checkov reads the metadata of the resource; one acceptance does not undo an earlier one."""
    log_group = logs.LogGroup(stack, "Log")

    acknowledge(log_group, {"CKV_AWS_158": "no key", "NIST.800.53.R5-CloudWatchLogGroupEncrypted": "no key"})
    acknowledge(log_group, {"CKV_AWS_338": "kept for a week"})

    (resource,) = Template.from_stack(stack).find_resources("AWS::Logs::LogGroup").values()
    assert resource["Metadata"]["checkov"] == {
        "skip": [{"id": "CKV_AWS_158", "comment": "no key"}, {"id": "CKV_AWS_338", "comment": "kept for a week"}]
    }


def test_reason_for_a_rule_of_nist_holds_for_the_same_rule_of_other_packs(stack: cdk.Stack) -> None:
    """A reason is written once, and a rule of another name needs its own."""
    log_group = logs.LogGroup(stack, "Log")

    acknowledge(log_group, {"NIST.800.53.R5-CloudWatchLogGroupEncrypted": "no key", "Serverless-LambdaTracing": "none"})

    told = " ".join(str(entry.data) for entry in log_group.node.metadata)
    for pack in ("NIST.800.53.R5", "NIST.800.53.R4", "HIPAA.Security", "PCI.DSS.321"):
        assert f"{pack}::{pack}-CloudWatchLogGroupEncrypted" in told
        assert f"{pack}-LambdaTracing" not in told
    assert "Serverless::Serverless-LambdaTracing" in told


def test_rejects_what_has_no_resource_to_say_it_at(stack: cdk.Stack) -> None:
    """A reason that no tool would ever read is a mistake."""
    with pytest.raises(TypeError, match="Test/Group has no resource of its own"):
        acknowledge(Construct(stack, "Group"), {"CKV_AWS_158": "no key"})


def _told(construct: Construct) -> str:
    """What CDK holds about the findings of a construct."""
    return " ".join(text for entry in construct.node.metadata if "AwsSolutions" in (text := str(entry.data)))


def test_checkers_hear_of_an_app_when_it_is_to_be_checked(app: cdk.App) -> None:
    """CDK is told of what this app accepts, when it is asked for, and of nothing that another app accepts."""
    other = cdk.App()
    with accepted_in(app):
        stack = cdk.Stack(app, "Test")
        acknowledge(stack, {"AwsSolutions-S1": "no log of it"})
        with accepted_in(other):
            theirs = cdk.Stack(other, "Theirs")
            acknowledge(theirs, {"AwsSolutions-S1": "no log of it"})
        acknowledge_wildcards(stack, {"*": "it has no resources"})
    before = _told(stack)
    tell_checkers(app)

    assert before == ""
    assert "AwsSolutions::AwsSolutions-S1" in _told(stack)
    assert "AwsSolutions::AwsSolutions-IAM5[Resource::*]" in _told(stack)
    assert _told(theirs) == ""


def test_what_belongs_to_no_app_is_told_at_once(stack: cdk.Stack) -> None:
    """A construct that is defined by itself is checked as well."""
    acknowledge(stack, {"AwsSolutions-S1": "no log of it"})

    assert "AwsSolutions::AwsSolutions-S1" in _told(stack)
