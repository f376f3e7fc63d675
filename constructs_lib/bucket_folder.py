"""Files that a deployment keeps in one folder of a bucket: DAGs for Airflow, pages for people."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from aws_cdk import RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from constructs_lib.cdk_functions import acknowledge_cdk_function, bucket_deployment
from constructs_lib.encrypted_log_group import encrypted_log_group
from constructs_lib.encryption import use_of_key
from constructs_lib.findings import acknowledge_wildcards
from constructs_lib.grants import allow
from constructs_lib.place import Place, place_of
from constructs_lib.rare_grants import explain_rare_grants
from constructs_lib.role import Role


class BucketFolder(Construct):
    """
    Defines one folder of a bucket: kept as `sources` say, and gone when this construct is.

    `siblings` are further such folders by name, beside that one. Nothing outside of them is read or written. The function that
    copies the files is CDK's; its role is ours, because CDK's would get the whole bucket. `encryption_key` encrypts its log, and
    `bucket_key` the bucket. CDK makes one function, with the first one's role, for all that have the same `memory_limit_mib` in
    a stack: two of these in one stack need two limits.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket_name: str,
        folder: str,
        sources: Sequence[s3_deployment.ISource],
        encryption_key: kms.IKey | None,
        description: str,
        siblings: Mapping[str, Sequence[s3_deployment.ISource]] | None = None,
        bucket_key: kms.IKey | None = None,
        memory_limit_mib: int = 256,
    ) -> None:
        super().__init__(scope, construct_id)
        bucket = s3.Bucket.from_bucket_name(self, "Bucket", bucket_name)
        log_group = encrypted_log_group(
            self,
            "LogGroup",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
            encryption_key=encryption_key,
        )
        folders = {"Resource": (folder, sources)}
        for name, its_sources in (siblings or {}).items():
            folders[name] = (str(PurePosixPath(folder).with_name(name)), its_sources)
        role = self._define_role(
            place_of(scope),
            description=description,
            bucket_name=bucket_name,
            folders=[path for path, _ in folders.values()],
            log_group=log_group,
            bucket_key=bucket_key,
        ).for_cdk()

        for name, (path, its_sources) in folders.items():
            s3_deployment.BucketDeployment(
                self,
                name,
                destination_bucket=bucket,
                destination_key_prefix=f"{path}/",
                sources=list(its_sources),
                # Grants of CDK would add to it: the whole bucket.
                role=role,
                log_group=log_group,
                memory_limit=memory_limit_mib,
                prune=True,
                retain_on_delete=False,
            )
        acknowledge_cdk_function(scope, bucket_deployment(memory_limit_mib))

    def _define_role(
        self,
        place: Place,
        *,
        description: str,
        bucket_name: str,
        folders: Sequence[str],
        log_group: logs.LogGroup,
        bucket_key: kms.IKey | None,
    ) -> Role:
        uploads = f"{place.uploads_arn}/*"
        bucket_arn = f"arn:{place.partition}:s3:::{bucket_name}"
        files = [f"{bucket_arn}/{folder}/*" for folder in folders]
        # With its slash: what begins alike is another project's, and all that CDK's function lists begins so.
        prefixes = [f"{folder}/*" for folder in folders]
        role = Role(
            self,
            "Role",
            description=description,
            principal={"Service": "lambda.amazonaws.com"},
            conditions={"StringEquals": {"aws:SourceAccount": place.account}},
            may=[
                allow("s3:GetObject", uploads),
                allow(["s3:PutObject", "s3:DeleteObject"], *files),
                allow(["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn),
                allow("s3:ListBucket", bucket_arn, conditions={"StringLike": {"s3:prefix": prefixes}}),
                *use_of_key(self, bucket_key, service="s3", resource_arn=bucket_arn),
            ],
        )
        acknowledge_wildcards(
            role,
            {
                uploads: "What is uploaded is named after its content: a policy for one name would change with every deploy.",
                **dict.fromkeys(files, "This folder is ours, whatever its files are."),
            },
        )
        explain_rare_grants(
            role, {"s3:DeleteObject": "A file that a deployment no longer has goes, and all of them with their stack."}
        )
        return role
