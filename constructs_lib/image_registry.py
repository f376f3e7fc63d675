"""The registry of each project's images, and the role that the CDK CLI pushes them with."""

from collections.abc import Mapping

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from constructs_lib.encryption import acknowledge_keys_of_aws
from constructs_lib.findings import acknowledge_wildcards
from constructs_lib.place import place_of
from constructs_lib.rare_grants import explain_rare_grants

_PUSH_ACTIONS = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:DescribeImages",
    "ecr:DescribeRepositories",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
)


class ImageRegistry(Construct):
    """
    Defines one repository for each name, with immutable tags, and one role that may push into exactly those.

    `repository_names` maps a construct id to the repository's name. Names are physical: the stack that pushes an image says
    them to the CDK CLI before anything is deployed. The same holds for `publishing_role_name`.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        repository_names: Mapping[str, str],
        publishing_role_name: str,
        images_kept: int,
        keeps_data_on_destroy: bool,
        encryption_key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)

        encryption = ecr.RepositoryEncryption.KMS if encryption_key else ecr.RepositoryEncryption.AES_256
        self.repositories = [
            ecr.Repository(
                self,
                repository_id,
                repository_name=repository_name,
                encryption=encryption,
                encryption_key=encryption_key,
                image_scan_on_push=True,
                image_tag_mutability=ecr.TagMutability.IMMUTABLE,
                lifecycle_rules=[
                    ecr.LifecycleRule(
                        description="what a deploy may still be rolled back to",
                        max_image_count=images_kept,
                        tag_status=ecr.TagStatus.ANY,
                    )
                ],
                removal_policy=RemovalPolicy.RETAIN if keeps_data_on_destroy else RemovalPolicy.DESTROY,
                empty_on_delete=not keeps_data_on_destroy,
            )
            for repository_id, repository_name in repository_names.items()
        ]
        for repository in self.repositories:
            acknowledge_keys_of_aws(repository, encryption_key, "CKV_AWS_136")
        self._define_publishing_role(publishing_role_name)

    def _define_publishing_role(self, role_name: str) -> None:
        role = iam.Role(
            self,
            "PublishingRole",
            role_name=role_name,
            description="Pushes the images of dbt projects; assumed by the CDK CLI",
            # As the bootstrap stack's roles: whoever in this account is allowed to assume it.
            assumed_by=iam.AccountPrincipal(place_of(self).account),
        )
        # Repository.grant_push() lacks DescribeImages and DescribeRepositories, by which the CLI finds what is there already.
        role.add_to_policy(
            iam.PolicyStatement(
                actions=list(_PUSH_ACTIONS), resources=[repository.repository_arn for repository in self.repositories]
            )
        )
        ecr.AuthorizationToken.grant_read(role)
        acknowledge_wildcards(role, {"*": "ecr:GetAuthorizationToken cannot be restricted to a repository."})
        explain_rare_grants(
            role, {"ecr:BatchGetImage": "Docker asks for an image's manifest before it pushes it; podman does not."}
        )
