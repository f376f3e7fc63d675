"""The functions that CDK puts into a stack for its own work, and gives no access to."""

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from constructs import IConstruct

from constructs_lib.findings import acknowledge

AUTO_DELETE_OBJECTS = "Custom::S3AutoDeleteObjectsCustomResourceProvider"
"""Empties the buckets that go with their stack."""

_FAILED_CALLS = "CloudFormation calls it and waits for its answer: no failed call goes unnoticed."
_RUNTIME = "CDK chooses its function's runtime."
_CONCURRENCY = "CloudFormation calls it during a deployment only."
_VPC = "It works on buckets of S3 alone, during a deployment."


def bucket_deployment(memory_limit_mib: int) -> str:
    """Return the id of what copies files; one for all deployments of files of a stack that give it as much memory."""
    return f"Custom::CDKBucketDeployment8693BB64968944B69AAFB0CC9EB8756C{memory_limit_mib}MiB"


def acknowledge_cdk_function(construct: IConstruct, function_id: str) -> None:
    """Accept what the checkers say about the function of CDK that `construct` has added to its stack, if it is none itself."""
    stack = construct if isinstance(construct, cdk.Stack) else cdk.Stack.of(construct)
    function = stack.node.try_find_child(function_id)
    if function is not None:
        _acknowledge(function)


def limit_trust_of_auto_delete(construct: IConstruct, account: str) -> None:
    """Let Lambda take the role of `AUTO_DELETE_OBJECTS` for functions of `account` alone, if the stack of `construct` has it."""
    provider = cdk.Stack.of(construct).node.try_find_child(AUTO_DELETE_OBJECTS)
    if provider is None:
        return
    role = provider.node.find_child("Role")
    if not isinstance(role, cdk.CfnResource):
        raise TypeError(f"{role.node.path} is no role that CDK is known to define")
    # CDK's provider of functions knows no condition for who may take its role.
    role.add_property_override(
        "AssumeRolePolicyDocument.Statement.0.Condition", {"StringEquals": {"aws:SourceAccount": account}}
    )


def _acknowledge(construct: IConstruct) -> None:
    node = construct.node
    handler = node.default_child or node.try_find_child("Handler")
    if not isinstance(handler, cdk.CfnResource):
        raise TypeError(f"{node.path} has no function that CDK is known to define")
    for_checkov = {"CKV_AWS_116": _FAILED_CALLS, "CKV_AWS_115": _CONCURRENCY, "CKV_AWS_117": _VPC}
    # cdk-nag sees those functions alone that are of CDK's class for them; the other has no variables.
    if isinstance(handler, lambda_.CfnFunction):
        for_checkov["CKV_AWS_173"] = "Its variables are public: the path of a file of AWS's certificates."
        acknowledge(
            construct,
            {
                "AwsSolutions-L1": _RUNTIME,
                "Serverless-LambdaLatestVersion": _RUNTIME,
                "Serverless-LambdaTracing": "It calls one service after the other; its log has what and when.",
                "NIST.800.53.R5-LambdaDLQ": _FAILED_CALLS,
                "NIST.800.53.R5-LambdaConcurrency": _CONCURRENCY,
                "NIST.800.53.R5-LambdaInsideVPC": _VPC,
            },
        )
    acknowledge(handler, for_checkov)
