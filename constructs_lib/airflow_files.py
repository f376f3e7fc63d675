"""Files for Airflow, in one folder of the bucket that Airflow reads its DAGs from."""

from collections.abc import Sequence

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct


class AirflowFiles(Construct):
    """
    Defines one folder of Airflow's bucket: kept as `sources` say, and gone when this construct is.

    Nothing outside of `folder` is read or written. The function that copies the files is CDK's; its role is ours, because
    CDK's would get the whole bucket.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket_name: str,
        folder: str,
        sources: Sequence[s3_deployment.ISource],
    ) -> None:
        super().__init__(scope, construct_id)
        bucket = s3.Bucket.from_bucket_name(self, "Bucket", bucket_name)
        log_group = logs.LogGroup(
            self, "LogGroup", retention=logs.RetentionDays.ONE_MONTH, removal_policy=RemovalPolicy.DESTROY
        )
        role = self._define_role(bucket, folder, log_group)

        deployment = s3_deployment.BucketDeployment(
            self,
            "Resource",
            destination_bucket=bucket,
            destination_key_prefix=f"{folder}/",
            sources=list(sources),
            # Grants of CDK would add to it: the whole of Airflow's bucket.
            role=role.without_policy_updates(),
            log_group=log_group,
            memory_limit=256,
            prune=True,
            retain_on_delete=False,
        )
        deployment.node.add_dependency(role)

    def _define_role(self, bucket: s3.IBucket, folder: str, log_group: logs.LogGroup) -> iam.Role:
        role = iam.Role(
            self,
            "Role",
            description=f"Copies DAG files to {folder}/ of Airflow's bucket",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        )
        stack = Stack.of(self)
        # What `cdk deploy` uploads before a stack is deployed, in the bucket of the account's bootstrap stack.
        uploads = f"cdk-{stack.synthesizer.bootstrap_qualifier or 'hnb659fds'}-assets-{stack.account}-{stack.region}"
        uploads_bucket = s3.Bucket.from_bucket_name(self, "Uploads", uploads)
        for actions, resource_arn in (
            (["s3:GetObject"], uploads_bucket.arn_for_objects("*")),
            (["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], bucket.arn_for_objects(f"{folder}/*")),
            (["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn),
        ):
            role.add_to_policy(iam.PolicyStatement(actions=actions, resources=[resource_arn]))
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["s3:ListBucket"],
                resources=[bucket.bucket_arn],
                conditions={"StringLike": {"s3:prefix": [f"{folder}/*", folder]}},
            )
        )
        return role
