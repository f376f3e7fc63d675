"""The task that runs a dbt project."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from constructs_lib.dbt_image import DbtImage
from constructs_lib.encrypted_log_group import encrypted_log_group
from constructs_lib.encryption import use_of_key
from constructs_lib.findings import acknowledge, acknowledge_wildcards
from constructs_lib.grants import Statement, allow
from constructs_lib.json_text import json_text
from constructs_lib.openlineage import OpenLineage
from constructs_lib.place import Place, place_of
from constructs_lib.role import Role
from constructs_lib.task_size import CpuArchitecture, TaskSize
from constructs_lib.warehouse_credentials import WarehouseCredentials, reads, wildcards

CONTAINER_NAME = "dbt"
CONTAINER_USER = "10001:10001"
"""Whom container/Dockerfile makes for it; said here as well, so that no image runs as root."""
LOG_STREAM_PREFIX = "dbt"
# The most that Fargate grants: an interrupted run cancels its queries and finishes its record in this time.
STOP_TIMEOUT_SECONDS = 120
_SCRATCH_VOLUME = "scratch"
_SCRATCH_PATH = "/scratch"


class DbtTask(Construct):
    """
    Defines the task definition, its log group, and the roles of the ECS agent and of dbt.

    `family` is a physical name: Airflow's launch role, rules and alarms say it before a revision exists.
    `keeps_replaced_revisions`: a revision that a deploy replaced can still be run, by an Airflow that has not yet seen the new
    one and to go back to.
    `project_prefix` (ends with "/") is the part of the bucket of run records that dbt may read and write. `encryption_key` encrypts
    that bucket and the log.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        family: str,
        image: DbtImage,
        size: TaskSize,
        cpu_architecture: CpuArchitecture,
        deployment: dict[str, Any],
        credentials: WarehouseCredentials,
        lineage: OpenLineage | None,
        bucket_arn: str,
        project_prefix: str,
        log_retention: logs.RetentionDays,
        log_removal_policy: RemovalPolicy,
        keeps_replaced_revisions: bool,
        encryption_key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)
        place = place_of(scope)

        self.log_group = encrypted_log_group(
            self,
            "LogGroup",
            retention=log_retention,
            removal_policy=log_removal_policy,
            encryption_key=encryption_key,
        )
        self.log_group_name = self.log_group.log_group_name
        self.execution_role = self._define_execution_role(place, image.repository_name)
        self.task_role = self._define_task_role(
            place,
            what_it_reads=[*reads(credentials, place), *(lineage.reads if lineage else [])],
            wildcards_in_it=wildcards(credentials, place),
            bucket_arn=bucket_arn,
            project_prefix=project_prefix,
            encryption_key=encryption_key,
        )
        self.role_arns = [self.task_role.arn, self.execution_role.arn]
        self.task_definition = self._define_task_definition(
            family=family,
            image=image,
            size=size,
            cpu_architecture=cpu_architecture,
            environment={"RUNNER_DEPLOYMENT": json_text(deployment)},
            region=place.region,
        )
        if keeps_replaced_revisions:
            self.task_definition.add_override("UpdateReplacePolicy", "Retain")
            self.task_definition.add_override("DeletionPolicy", "Delete")

    def _define_task_definition(
        self,
        *,
        family: str,
        image: DbtImage,
        size: TaskSize,
        cpu_architecture: CpuArchitecture,
        environment: Mapping[str, str],
        region: str,
    ) -> ecs.CfnTaskDefinition:
        # The L2 constructs of task definition, container, log driver and volume take ten calls of CDK's Node process to say the same.
        task_definition = ecs.CfnTaskDefinition(
            Construct(self, "TaskDefinition"),
            "Resource",
            family=family,
            cpu=str(size.cpu_units),
            memory=str(size.memory_mib),
            runtime_platform=ecs.CfnTaskDefinition.RuntimePlatformProperty(
                cpu_architecture=cpu_architecture.upper(), operating_system_family="LINUX"
            ),
            network_mode="awsvpc",
            requires_compatibilities=["FARGATE"],
            execution_role_arn=self.execution_role.arn,
            task_role_arn=self.task_role.arn,
            volumes=[ecs.CfnTaskDefinition.VolumeProperty(name=_SCRATCH_VOLUME)],
            container_definitions=[
                ecs.CfnTaskDefinition.ContainerDefinitionProperty(
                    name=CONTAINER_NAME,
                    image=image.uri,
                    essential=True,
                    environment=[
                        ecs.CfnTaskDefinition.KeyValuePairProperty(name=name, value=value)
                        for name, value in environment.items()
                    ],
                    log_configuration=ecs.CfnTaskDefinition.LogConfigurationProperty(
                        log_driver="awslogs",
                        options={
                            "awslogs-group": self.log_group_name,
                            "awslogs-region": region,
                            "awslogs-stream-prefix": LOG_STREAM_PREFIX,
                            # Else the account's `defaultLogDriverMode` says whether a run stands still while CloudWatch takes no lines.
                            "mode": "non-blocking",
                            # What waits meanwhile; a line without room is lost, and a run of a hundred nodes writes 60 kB.
                            "max-buffer-size": "25m",
                        },
                    ),
                    mount_points=[
                        ecs.CfnTaskDefinition.MountPointProperty(
                            container_path=_SCRATCH_PATH, source_volume=_SCRATCH_VOLUME, read_only=False
                        )
                    ],
                    user=CONTAINER_USER,
                    readonly_root_filesystem=True,
                    stop_timeout=STOP_TIMEOUT_SECONDS,
                )
            ],
        )
        acknowledge(
            task_definition,
            {
                "AwsSolutions-ECS2": "The one variable says where credentials are, never what they are; the rest is public."
            },
        )
        return task_definition

    def _define_execution_role(self, place: Place, repository_name: str) -> Role:
        pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        role = self._define_role(
            "ExecutionRole",
            place,
            "Starts the container: pulls its image, writes its log",
            [
                allow(pull, place.arn("ecr", "repository", name=repository_name)),
                allow("ecr:GetAuthorizationToken", "*"),
                allow(["logs:CreateLogStream", "logs:PutLogEvents"], self.log_group.log_group_arn),
            ],
        )
        acknowledge_wildcards(role, {"*": "ecr:GetAuthorizationToken cannot be restricted to a repository."})
        return role

    def _define_task_role(
        self,
        place: Place,
        *,
        what_it_reads: list[Statement],
        wildcards_in_it: dict[str, str],
        bucket_arn: str,
        project_prefix: str,
        encryption_key: kms.IKey | None,
    ) -> Role:
        # Bucket.grant_read_write() would add deletion and the listing of other projects' prefixes.
        objects = f"{bucket_arn}/{project_prefix}*"
        role = self._define_role(
            "TaskRole",
            place,
            "What dbt runs as",
            [
                *what_it_reads,
                allow(["s3:GetObject", "s3:PutObject"], objects),
                allow("s3:ListBucket", bucket_arn, conditions={"StringLike": {"s3:prefix": f"{project_prefix}*"}}),
                *use_of_key(self, encryption_key, service="s3", resource_arn=bucket_arn),
            ],
        )
        acknowledge_wildcards(
            role,
            {
                **wildcards_in_it,
                objects: "The project's own part of the bucket; run ids are made at run time.",
            },
        )
        return role

    def _define_role(self, role_id: str, place: Place, description: str, may: Sequence[Statement]) -> Role:
        return Role(
            self,
            role_id,
            description=description,
            principal={"Service": "ecs-tasks.amazonaws.com"},
            # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html: against the confused deputy.
            conditions={
                "StringEquals": {"aws:SourceAccount": place.account},
                "ArnLike": {"aws:SourceArn": place.arn("ecs", "*")},
            },
            may=may,
        )
