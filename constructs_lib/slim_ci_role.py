"""The role with which the pull requests of one repository are tried: its own token instead of a key."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from constructs_lib.ci_access import Pipeline
from constructs_lib.encryption import use_of_key
from constructs_lib.findings import acknowledge_wildcards
from constructs_lib.grants import allow, document
from constructs_lib.place import place_of


class SlimCiRole(Construct):
    """
    Defines a role that the pull requests of `pipeline` may assume with their token, and that `make slim-ci` gets by with.

    It has no right before `let_try`. The account's identity provider is there already, or is made by the environment's CI stack.
    """

    def __init__(self, scope: Construct, construct_id: str, *, role_name: str, pipeline: Pipeline) -> None:
        super().__init__(scope, construct_id)

        place = place_of(self)
        claims = pipeline.url.removeprefix("https://")
        subject = pipeline.pull_request_subject
        self.role = iam.Role(
            self,
            "Resource",
            role_name=role_name,
            description=f"Tries pull requests; assumed by {subject}",
            assumed_by=iam.WebIdentityPrincipal(
                pipeline.provider_arn or f"arn:{place.partition}:iam::{place.account}:oidc-provider/{claims}",
                # StringLike of a subject without wildcard compares to the letter, too.
                {
                    "StringEquals": {f"{claims}:aud": pipeline.audience},
                    "StringLike": {f"{claims}:sub": subject},
                },
            ),
        )

    def let_try(
        self,
        *,
        launch_role_arn: str,
        deployment_file_arn: str,
        bucket_arn: str,
        project_prefix: str,
        encryption_key: kms.IKey | None,
    ) -> None:
        """
        Let it start runs by the launch role, which must trust it, of what it puts below `<project_prefix>slim-ci/` of the bucket of run records.

        `deployment_file_arn`: what Airflow reads of the deployment. Records are read, and runs stopped, by the launch role's rights.
        """
        archives = f"{bucket_arn}/{project_prefix}slim-ci/*"
        statements = [
            allow("sts:AssumeRole", launch_role_arn),
            allow("s3:GetObject", deployment_file_arn),
            allow(["s3:PutObject", "s3:DeleteObject"], archives),
            *use_of_key(self, encryption_key, service="s3", resource_arn=bucket_arn, actions=("kms:GenerateDataKey",)),
        ]
        # Beside the role and not in it: the launch role, which it names, is made after it, for that one trusts it.
        iam.Policy(
            self.role,
            "DefaultPolicy",
            document=iam.PolicyDocument.from_json(document(statements)),
            roles=[self.role],
        )
        acknowledge_wildcards(self.role, {archives: "A folder for each pull request."})
