"""What is handed to CDK is what jsii would hand over."""

from datetime import UTC, datetime
from typing import cast

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from jsii import _kernel
from jsii.errors import JSIIError

from constructs_lib import fast_structs

_STRUCTS = [
    ecs.CfnTaskDefinition.ContainerDefinitionProperty(
        name="dbt",
        image="image:1",
        essential=True,
        stop_timeout=120,
        environment=[ecs.CfnTaskDefinition.KeyValuePairProperty(name="A", value="1")],
        log_configuration=ecs.CfnTaskDefinition.LogConfigurationProperty(log_driver="awslogs", options={"a": "b"}),
    ),
    cloudwatch.CfnAlarmProps(comparison_operator="GreaterThanThreshold", evaluation_periods=1, threshold=0.5),
    iam.CfnRole.PolicyProperty(policy_name="rights", policy_document={"Statement": [{"Action": ["a", "b"]}]}),
    s3.LifecycleRule(expiration_date=datetime(2030, 1, 1, tzinfo=UTC), enabled=False),
]


_stock = _kernel._make_reference_for_native


def test_installed_jsii_is_the_one_that_it_was_written_for() -> None:
    """Another version fails here: somebody looks whether this still fits; until then a synth is only slower."""
    with fast_structs.structs_handed_over_at_once() as is_used:
        meanwhile = _kernel._make_reference_for_native

    assert is_used
    assert meanwhile is not _stock
    assert _kernel._make_reference_for_native is _stock


@pytest.mark.parametrize(("name", "value"), [("_KNOWN", "another"), ("_stock", None)])
def test_other_code_is_left_alone(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    """What would not fit changes nothing, also where jsii has no such function any more."""
    monkeypatch.setattr(fast_structs, name, value)

    with fast_structs.structs_handed_over_at_once() as is_used:
        assert _kernel._make_reference_for_native is _stock
    assert not is_used


@pytest.mark.parametrize("value", [*_STRUCTS, _STRUCTS, {"in a map": _STRUCTS}, 1, 1.5, True, None, "text"])
def test_every_value_is_handed_over_as_jsii_does(value: object) -> None:
    """Structs in lists, maps and structs; numbers, words and times; and what is not set."""
    with fast_structs.structs_handed_over_at_once():
        handed_over = _serialized(value)

    assert handed_over == _serialized(value)


def test_constructs_enums_and_functions_are_left_to_jsii() -> None:
    """A function is refused, in jsii's words."""
    stack = cdk.Stack(cdk.App(), "Stack")
    with fast_structs.structs_handed_over_at_once():
        assert _serialized(stack) is stack
        assert _serialized(cdk.RemovalPolicy.RETAIN) == {"$jsii.enum": "aws-cdk-lib.RemovalPolicy/RETAIN"}
        with pytest.raises(JSIIError, match="Cannot pass function"):
            _serialized({"a": [lambda: 1]})


def _serialized(value: object) -> object:
    return _kernel._make_reference_for_native(cast("_kernel.Kernel", None), value)
