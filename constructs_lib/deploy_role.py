"""The role that a pipeline deploys with: its own token instead of a key, and the CDK's roles instead of rights."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from constructs import Construct

from constructs_lib.ci_access import Pipeline


class DeployRole(Construct):
    """
    Defines a role that one pipeline may assume with its token, and that may assume the roles `assumed_role_arns`, nothing else.

    The account's identity provider for `pipeline` is made unless it names one.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        role_name: str,
        pipeline: Pipeline,
        assumed_role_arns: Sequence[str],
    ) -> None:
        super().__init__(scope, construct_id)

        claims = pipeline.url.removeprefix("https://")
        self.role = iam.Role(
            self,
            "Role",
            role_name=role_name,
            description=f"Deploys; assumed by {pipeline.subject}",
            assumed_by=iam.WebIdentityPrincipal(
                pipeline.provider_arn or self._define_provider(pipeline),
                {"StringEquals": {f"{claims}:aud": pipeline.audience, f"{claims}:sub": pipeline.subject}},
            ),
        )
        self.role.add_to_policy(iam.PolicyStatement(actions=["sts:AssumeRole"], resources=list(assumed_role_arns)))

    def _define_provider(self, pipeline: Pipeline) -> str:
        # No thumbprint: IAM checks the provider's certificate against authorities, or fetches the thumbprint itself.
        provider = iam.OidcProviderNative(self, "Provider", url=pipeline.url, client_ids=[pipeline.audience])
        return provider.open_id_connect_provider_arn
