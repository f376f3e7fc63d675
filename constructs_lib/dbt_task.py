"""The task that runs a dbt project."""

from typing import Any

from aws_cdk import CfnDeletionPolicy, Duration, RemovalPolicy, Stack
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from constructs_lib.encrypted_log_group import encrypted_log_group
from constructs_lib.encryption import use_of_key
from constructs_lib.findings import acknowledge, acknowledge_wildcards
from constructs_lib.grants import Statement, allow, grant
from constructs_lib.openlineage import OpenLineage
from constructs_lib.place import Place, place_of
from constructs_lib.task_size import TaskSize
from constructs_lib.warehouse_credentials import WarehouseCredentials, reads, wildcards

CONTAINER_NAME = "dbt"
LOG_STREAM_PREFIX = "dbt"
# The most that Fargate grants: an interrupted run cancels its queries and finishes its record in this time.
STOP_TIMEOUT = Duration.seconds(120)
_SCRATCH_VOLUME = "scratch"
_SCRATCH_PATH = "/scratch"


class DbtTask(Construct):
    """
    Defines the task definition, its log group, and the roles of the ECS agent and of dbt.

    `family` is a physical name: Airflow's launch role, rules and alarms say it before a revision exists.
    `keeps_replaced_revisions`: a revision that a deploy replaced can still be run, by an Airflow that has not yet seen the new
    one and to go back to.
    `project_prefix` (ends with "/") is the part of `artifacts` that dbt may read and write. `encryption_key` encrypts `artifacts`
    and the log.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        family: str,
        image: ecr_assets.DockerImageAsset,
        size: TaskSize,
        cpu_architecture: ecs.CpuArchitecture,
        deployment: dict[str, Any],
        credentials: WarehouseCredentials,
        lineage: OpenLineage | None,
        artifacts: s3.IBucket,
        project_prefix: str,
        log_retention: logs.RetentionDays,
        log_removal_policy: RemovalPolicy,
        keeps_replaced_revisions: bool,
        encryption_key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        place = place_of(stack)

        self.log_group = encrypted_log_group(
            self,
            "LogGroup",
            retention=log_retention,
            removal_policy=log_removal_policy,
            encryption_key=encryption_key,
        )
        self.execution_role = self._define_role(
            "ExecutionRole", place, "Starts the container: pulls its image, writes its log"
        )
        self.task_role = self._define_role("TaskRole", place, "What dbt runs as")
        self.task_definition = ecs.FargateTaskDefinition(
            self,
            "TaskDefinition",
            family=family,
            cpu=size.cpu_units,
            memory_limit_mib=size.memory_mib,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=cpu_architecture, operating_system_family=ecs.OperatingSystemFamily.LINUX
            ),
            execution_role=self.execution_role,
            task_role=self.task_role,
            volumes=[ecs.Volume(name=_SCRATCH_VOLUME)],
        )
        container = self.task_definition.add_container(
            CONTAINER_NAME,
            image=ecs.ContainerImage.from_docker_image_asset(image),
            environment={"RUNNER_DEPLOYMENT": stack.to_json_string(deployment)},
            logging=ecs.LogDrivers.aws_logs(stream_prefix=LOG_STREAM_PREFIX, log_group=self.log_group),
            readonly_root_filesystem=True,
            stop_timeout=STOP_TIMEOUT,
        )
        container.add_mount_points(
            ecs.MountPoint(container_path=_SCRATCH_PATH, source_volume=_SCRATCH_VOLUME, read_only=False)
        )
        acknowledge(
            self.task_definition,
            {
                "AwsSolutions-ECS2": "The one variable says where credentials are, never what they are; the rest is public."
            },
        )
        acknowledge_wildcards(
            self.execution_role, {"*": "ecr:GetAuthorizationToken cannot be restricted to a repository."}
        )
        if keeps_replaced_revisions:
            resource = self.task_definition.node.default_child
            if not isinstance(resource, ecs.CfnTaskDefinition):
                raise TypeError(f"the task definition's resource is a {type(resource).__name__}")
            resource.cfn_options.update_replace_policy = CfnDeletionPolicy.RETAIN
            resource.cfn_options.deletion_policy = CfnDeletionPolicy.DELETE
        self.role_arns = [self.task_role.role_arn, self.execution_role.role_arn]
        what_it_reads = [*reads(credentials, place), *(lineage.reads if lineage else [])]
        self._grant(what_it_reads, wildcards(credentials, place), artifacts, project_prefix, encryption_key)

    def _define_role(self, role_id: str, place: Place, description: str) -> iam.Role:
        return iam.Role(
            self,
            role_id,
            description=description,
            # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html: against the confused deputy.
            assumed_by=iam.ServicePrincipal(
                "ecs-tasks.amazonaws.com",
                conditions={
                    "StringEquals": {"aws:SourceAccount": place.account},
                    "ArnLike": {"aws:SourceArn": place.arn("ecs", "*")},
                },
            ),
        )

    def _grant(
        self,
        what_it_reads: list[Statement],
        wildcards_in_it: dict[str, str],
        artifacts: s3.IBucket,
        project_prefix: str,
        encryption_key: kms.IKey | None,
    ) -> None:
        bucket_arn = artifacts.bucket_arn
        # Bucket.grant_read_write() would add deletion and the listing of other projects' prefixes.
        objects = f"{bucket_arn}/{project_prefix}*"
        grant(
            self.task_role,
            [
                *what_it_reads,
                allow(["s3:GetObject", "s3:PutObject"], objects),
                allow("s3:ListBucket", bucket_arn, conditions={"StringLike": {"s3:prefix": f"{project_prefix}*"}}),
                *use_of_key(self, encryption_key, service="s3", resource_arn=bucket_arn),
            ],
        )
        acknowledge_wildcards(
            self.task_role,
            {
                **wildcards_in_it,
                objects: "The project's own part of the bucket; run ids are made at run time.",
            },
        )
