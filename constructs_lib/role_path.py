"""The path of every role, for accounts that demand one."""

import aws_cdk as cdk
import jsii
from aws_cdk import aws_iam as iam
from constructs import IConstruct


@jsii.implements(cdk.IAspect)
class RolePath:
    """Puts every role below it under one IAM path, CDK's own roles included."""

    def __init__(self, path: str) -> None:
        self._path = path

    def visit(self, node: IConstruct) -> None:
        """Set the path of `node` if it is a role; CDK makes some roles as plain resources."""
        if isinstance(node, cdk.CfnResource) and node.cfn_resource_type == iam.CfnRole.CFN_RESOURCE_TYPE_NAME:
            node.add_property_override("Path", self._path)
