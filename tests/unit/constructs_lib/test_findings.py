"""Findings are accepted where their tool and a reviewer look."""

import aws_cdk as cdk
import pytest
from aws_cdk import aws_logs as logs
from aws_cdk.assertions import Template
from constructs import Construct

from constructs_lib.findings import acknowledge


def test_what_checkov_may_skip_is_in_the_template_with_its_reason(stack: cdk.Stack) -> None:
    """Checkov reads the metadata of the resource; one acceptance does not undo an earlier one."""
    log_group = logs.LogGroup(stack, "Log")

    acknowledge(log_group, {"CKV_AWS_158": "no key", "NIST.800.53.R5-CloudWatchLogGroupEncrypted": "no key"})
    acknowledge(log_group, {"CKV_AWS_338": "kept for a week"})

    (resource,) = Template.from_stack(stack).find_resources("AWS::Logs::LogGroup").values()
    assert resource["Metadata"]["checkov"] == {
        "skip": [{"id": "CKV_AWS_158", "comment": "no key"}, {"id": "CKV_AWS_338", "comment": "kept for a week"}]
    }


def test_rejects_what_has_no_resource_to_say_it_at(stack: cdk.Stack) -> None:
    """A reason that no tool would ever read is a mistake."""
    with pytest.raises(TypeError, match="Test/Group has no resource of its own"):
        acknowledge(Construct(stack, "Group"), {"CKV_AWS_158": "no key"})
