"""The stack of what all dbt projects of an environment share."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from constructs_lib.airflow_files import AirflowFiles
from constructs_lib.alert_topic import AlertTopic
from constructs_lib.artifacts_bucket import ArtifactsBucket
from constructs_lib.image_registry import ImageRegistry
from constructs_lib.private_network import PrivateNetwork
from constructs_lib.repository import REPOSITORY
from constructs_lib.warehouse_credentials import services
from stacks import names
from stacks.settings import Environment, ExistingNetwork


class EnvironmentStack(cdk.Stack):
    """Defines the registry, the bucket, the cluster, the alert topic, the network and Airflow's package of an environment."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: Environment) -> None:
        super().__init__(
            scope,
            construct_id,
            stack_name=names.environment_stack(settings.name),
            description=f"What the dbt projects of environment {settings.name} share",
            termination_protection=settings.keeps_data_on_destroy,
        )
        self._settings = settings
        self._define_registry()
        self._define_network()
        self.artifacts = ArtifactsBucket(
            self,
            "Artifacts",
            expire_after_days=settings.records_retention_days,
            keeps_data_on_destroy=settings.keeps_data_on_destroy,
        ).bucket
        self.cluster = self._define_cluster()
        self.alert_topic = AlertTopic(self, "Alerts", emails=settings.alert_emails).topic
        self._define_airflow_package()
        cdk.CfnOutput(self, "ArtifactsBucketName", value=self.artifacts.bucket_name)
        cdk.CfnOutput(self, "AlertTopicArn", value=self.alert_topic.topic_arn)

    def _define_registry(self) -> None:
        environment = self._settings.name
        ImageRegistry(
            self,
            "Registry",
            repository_names={
                names.construct_id(project.name): names.repository(environment, project.name)
                for project in self._settings.projects
            },
            publishing_role_name=names.publishing_role(environment),
            images_kept=self._settings.images_kept,
            keeps_data_on_destroy=self._settings.keeps_data_on_destroy,
        )

    def _define_network(self) -> None:
        network = self._settings.network
        self.vpc: ec2.IVpc
        if isinstance(network, ExistingNetwork):
            self.vpc = ec2.Vpc.from_vpc_attributes(
                self,
                "Network",
                vpc_id=network.vpc_id,
                availability_zones=list(network.availability_zones),
                private_subnet_ids=list(network.private_subnet_ids),
            )
            self.subnet_ids = list(network.private_subnet_ids)
            self.security_group_ids = list(network.security_group_ids)
            return
        self.vpc = PrivateNetwork(
            self,
            "Network",
            cidr=network.cidr,
            availability_zones=network.availability_zones,
            credentials_services=sorted(
                {service for project in self._settings.projects for service in services(project.credentials)}
            ),
            flow_log_retention=network.flow_log_retention,
            log_removal_policy=self._settings.removal_policy,
        ).vpc
        self.subnet_ids = [subnet.subnet_id for subnet in self.vpc.isolated_subnets]
        self.security_group_ids = []

    def _define_cluster(self) -> ecs.ICluster:
        existing = self._settings.cluster
        if existing is not None:
            return ecs.Cluster.from_cluster_attributes(self, "Cluster", cluster_name=existing.name, vpc=self.vpc)
        return ecs.Cluster(
            self,
            "Cluster",
            vpc=self.vpc,
            container_insights_v2=ecs.ContainerInsights.ENABLED,
            enable_fargate_capacity_providers=any(
                project.capacity == "fargate_spot" for project in self._settings.projects
            ),
        )

    def _define_airflow_package(self) -> None:
        airflow = self._settings.airflow
        if airflow is None:
            return
        package = s3_deployment.Source.asset(
            str(REPOSITORY / "dags" / "dbt_on_fargate"),
            exclude=["**/__pycache__", "**/*.pyc", "**/.mypy_cache", "**/.ruff_cache"],
            ignore_mode=cdk.IgnoreMode.GIT,
        )
        AirflowFiles(
            self,
            "AirflowPackage",
            bucket_name=airflow.dags_bucket,
            folder=airflow.key(names.dag_package(self._settings.name)),
            sources=[package],
        )
