"""Files for Airflow, in one folder of the bucket that Airflow reads its DAGs from."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from aws_cdk import DefaultStackSynthesizer, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from constructs_lib.cdk_functions import BUCKET_DEPLOYMENT, acknowledge_cdk_function
from constructs_lib.encrypted_log_group import encrypted_log_group
from constructs_lib.findings import acknowledge_wildcards
from constructs_lib.grants import allow, grant
from constructs_lib.place import place_of


class AirflowFiles(Construct):
    """
    Defines one folder of Airflow's bucket: kept as `sources` say, and gone when this construct is.

    `siblings` are further such folders by name, beside that one. Nothing outside of them is read or written. The function that
    copies the files is CDK's; its role is ours, because CDK's would get the whole bucket. `encryption_key` encrypts its log.
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
        siblings: Mapping[str, Sequence[s3_deployment.ISource]] | None = None,
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
        role = self._define_role(bucket, [path for path, _ in folders.values()], log_group)

        for name, (path, its_sources) in folders.items():
            deployment = s3_deployment.BucketDeployment(
                self,
                name,
                destination_bucket=bucket,
                destination_key_prefix=f"{path}/",
                sources=list(its_sources),
                # Grants of CDK would add to it: the whole of Airflow's bucket.
                role=role.without_policy_updates(),
                log_group=log_group,
                memory_limit=256,
                prune=True,
                retain_on_delete=False,
            )
            deployment.node.add_dependency(role)
        acknowledge_cdk_function(self, BUCKET_DEPLOYMENT)

    def _define_role(self, bucket: s3.IBucket, folders: Sequence[str], log_group: logs.LogGroup) -> iam.Role:
        role = iam.Role(
            self,
            "Role",
            description=f"Copies DAG files to {folders[0]}/ of Airflow's bucket",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        )
        place = place_of(self)
        # What `cdk deploy` uploads before a stack is deployed, in the bucket of the account's bootstrap stack.
        qualifier = (
            self.node.try_get_context("@aws-cdk/core:bootstrapQualifier") or DefaultStackSynthesizer.DEFAULT_QUALIFIER
        )
        uploads = f"arn:{place.partition}:s3:::cdk-{qualifier}-assets-{place.account}-{place.region}/*"
        bucket_arn = bucket.bucket_arn
        files = [f"{bucket_arn}/{folder}/*" for folder in folders]
        prefixes = [prefix for folder in folders for prefix in (f"{folder}/*", folder)]
        grant(
            role,
            [
                allow("s3:GetObject", uploads),
                allow(["s3:PutObject", "s3:DeleteObject"], *files),
                allow(["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn),
                allow("s3:ListBucket", bucket_arn, conditions={"StringLike": {"s3:prefix": prefixes}}),
            ],
        )
        acknowledge_wildcards(
            role,
            {
                uploads: "What is uploaded is named after its content: a policy for one name would change with every deploy.",
                **dict.fromkeys(files, "This folder is ours, whatever its files are."),
            },
        )
        return role
