"""A role of IAM and what it may do, as one resource."""

from collections.abc import Mapping, Sequence

from aws_cdk import aws_iam as iam
from constructs import Construct

from constructs_lib.grants import Statement, document

_POLICY_NAME = "rights"


class Role(Construct):
    """
    Defines a role that has the rights `may` and no others, for the one `principal` of IAM's words, under these `conditions`.

    Its rights are part of it, so that nothing can act as the role before it has them. CDK's own construct keeps the two apart,
    and takes more than twice as many calls of CDK's Node process, which a fleet of projects notices.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        description: str,
        principal: Mapping[str, str | list[str]],
        may: Sequence[Statement],
        conditions: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(scope, construct_id)

        condition = {"Condition": dict(conditions)} if conditions else {}
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": dict(principal), **condition}
        self.resource = iam.CfnRole(
            self,
            "Resource",
            description=description,
            assume_role_policy_document=document([trust]),
            policies=[iam.CfnRole.PolicyProperty(policy_name=_POLICY_NAME, policy_document=document(may))],
        )
        self.arn = self.resource.attr_arn

    def for_cdk(self) -> iam.IRole:
        """Return it as CDK's constructs want it, which may not add grants of their own."""
        return iam.Role.from_role_arn(self, "ForCdk", self.arn, mutable=False)
