"""The stack of what all dbt projects of an environment share."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from constructs_lib.alert_topic import AlertTopic
from constructs_lib.artifacts_bucket import ArtifactsBucket
from constructs_lib.bucket_folder import BucketFolder
from constructs_lib.cluster import Cluster
from constructs_lib.encryption import EncryptionKey
from constructs_lib.image_alerts import ImageAlerts
from constructs_lib.image_registry import ImageRegistry
from constructs_lib.pages_hosting import HostedPages
from constructs_lib.place import place_of
from constructs_lib.private_network import PrivateNetwork
from constructs_lib.repository import REPOSITORY
from constructs_lib.run_guard import RunGuard
from constructs_lib.warehouse_credentials import services
from stacks import names
from stacks.airflow_plugin import plugin_files, plugin_folder
from stacks.settings import Environment, ExistingKey, ExistingNetwork, OwnKey, OwnNetwork

_ARTIFACTS_BUCKET_NAME = "ArtifactsBucketName"
_CLUSTER_NAME = "ClusterName"
_ALERT_TOPIC_NAME = "AlertTopicName"
_GUARD_FUNCTION_NAME = "GuardFunctionName"
_DUE_RUNS_QUEUE_NAME = "DueRunsQueueName"
_DEAD_LETTERS_QUEUE_NAME = "DeadLettersQueueName"
_ENCRYPTION_KEY_ID = "EncryptionKeyId"
_VPC_ID = "VpcId"
_SUBNET_ID = "SubnetId"
_PAGES_URL = "PagesUrl"
_FORMAT_VERSION = 1


class EnvironmentStack(cdk.Stack):
    """Defines the key, the registry, the bucket, the cluster, the alert topic, the guard, the network and Airflow's package."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: Environment) -> None:
        super().__init__(
            scope,
            construct_id,
            stack_name=names.environment_stack(settings.name),
            description=f"What the dbt projects of environment {settings.name} share",
            termination_protection=settings.keeps_data_on_destroy,
        )
        self._settings = settings
        self._encryption_key = self._define_encryption_key()
        self._define_registry()
        self._define_network()
        self._artifacts = ArtifactsBucket(
            self,
            "Artifacts",
            expire_after_days=settings.records_retention_days,
            keeps_data_on_destroy=settings.keeps_data_on_destroy,
            encryption_key=self._encryption_key,
        ).bucket
        self._cluster = self._define_cluster()
        self._alert_topic = AlertTopic(
            self, "Alerts", emails=settings.alert_emails, encryption_key=self._encryption_key
        ).topic
        self._guard = RunGuard(
            self,
            "Guard",
            environment_name=settings.name,
            # CloudFormation begins the name of a rule with its stack's, of which a long one may lose its end.
            rule_names=f"{settings.name}-*",
            cluster=self._cluster,
            start_within=cdk.Duration.seconds(settings.start_within.total_seconds()),
            topic=self._alert_topic,
            runbook_url=settings.runbook_url,
            encryption_key=self._encryption_key,
        )
        ImageAlerts(
            self,
            "ImageAlerts",
            environment_name=settings.name,
            repository_prefix=names.repository_prefix(settings.name),
            topic=self._alert_topic,
            dead_letters=self._guard.dead_letters,
            runbook_url=settings.runbook_url,
        )
        self._define_airflow_package()
        self._define_page_files()
        self._define_outputs()
        self._define_pages()

    @property
    def availability_zones(self) -> list[str]:
        """The zones of the settings; CDK would ask AWS for them."""
        return list(self._settings.network.availability_zones)

    def _define_encryption_key(self) -> kms.IKey | None:
        match self._settings.encryption_key:
            case ExistingKey(arn=arn):
                return kms.Key.from_key_arn(self, "EncryptionKey", arn)
            case OwnKey():
                return EncryptionKey(
                    self,
                    "EncryptionKey",
                    environment_name=self._settings.name,
                    keeps_data_on_destroy=self._settings.keeps_data_on_destroy,
                ).key
            case None:
                return None

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
            encryption_key=self._encryption_key if self._encrypts_images() else None,
        )

    def _encrypts_images(self) -> bool:
        setting = self._settings.encryption_key
        return setting is not None and setting.encrypts_images

    def _define_network(self) -> None:
        network = self._settings.network
        self._vpc: ec2.IVpc
        if isinstance(network, ExistingNetwork):
            self._vpc = ec2.Vpc.from_vpc_attributes(
                self, "Network", vpc_id=network.vpc_id, availability_zones=list(network.availability_zones)
            )
            return
        self._vpc = PrivateNetwork(
            self,
            "Network",
            cidr=network.cidr,
            availability_zones=network.availability_zones,
            credentials_services=sorted(
                {service for project in self._settings.projects for service in services(project.credentials)}
            ),
            flow_log_retention=network.flow_log_retention,
            log_removal_policy=self._settings.removal_policy,
            encryption_key=self._encryption_key,
        ).vpc

    def _define_cluster(self) -> ecs.ICluster:
        existing = self._settings.cluster
        if existing is not None:
            return ecs.Cluster.from_cluster_attributes(self, "Cluster", cluster_name=existing.name, vpc=self._vpc)
        return ecs.Cluster(
            self,
            "Cluster",
            vpc=self._vpc,
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
        BucketFolder(
            self,
            "AirflowPackage",
            bucket_name=airflow.dags_bucket,
            folder=airflow.key(names.dag_package(self._settings.name)),
            description=f"Copies DAG files to {airflow.key(names.dag_package(self._settings.name))}/ of Airflow's bucket",
            sources=[package],
            encryption_key=self._encryption_key,
            siblings={
                plugin_folder(names.dag_package(self._settings.name)): [
                    s3_deployment.Source.data(name, content)
                    for name, content in plugin_files(names.dag_package(self._settings.name)).items()
                ]
            },
        )

    def _define_page_files(self) -> None:
        """Write the pages over all runs, and the list of projects that the portal begins with."""
        projects = [
            {
                "name": project.name,
                "schedule": project.schedule,
                "time_zone": project.time_zone,
                "deadline_seconds": int(project.deadline.total_seconds()),
            }
            for project in self._settings.projects
        ]
        listed = {
            "format_version": _FORMAT_VERSION,
            "environment": self._settings.name,
            "records_retention_days": self._settings.records_retention_days,
            "projects": projects,
        }
        BucketFolder(
            self,
            "PageFiles",
            bucket_name=self._artifacts.bucket_name,
            folder=names.PAGES_PREFIX.rstrip("/"),
            description=f"Copies pages to {names.PAGES_PREFIX} of the artifacts bucket",
            sources=[
                s3_deployment.Source.asset(str(REPOSITORY / "pages" / "dist")),
                s3_deployment.Source.json_data("projects.json", listed),
            ],
            encryption_key=self._encryption_key,
            bucket_key=self._encryption_key,
            memory_limit_mib=192,
        )

    def _define_pages(self) -> None:
        hosting = self._settings.pages
        if hosting is None:
            return
        pages = HostedPages(
            self,
            "Pages",
            environment_name=self._settings.name,
            hosting=hosting,
            bucket=self._artifacts,
            topic=self._alert_topic,
            runbook_url=self._settings.runbook_url,
            keeps_data_on_destroy=self._settings.keeps_data_on_destroy,
            encryption_key=self._encryption_key,
        )
        cdk.CfnOutput(self, _PAGES_URL, value=pages.url)

    def _define_outputs(self) -> None:
        cdk.CfnOutput(self, _ARTIFACTS_BUCKET_NAME, value=self._artifacts.bucket_name)
        cdk.CfnOutput(self, _CLUSTER_NAME, value=self._cluster.cluster_name)
        cdk.CfnOutput(self, _ALERT_TOPIC_NAME, value=self._alert_topic.topic_name)
        cdk.CfnOutput(self, _GUARD_FUNCTION_NAME, value=self._guard.function.function_name)
        cdk.CfnOutput(self, _DUE_RUNS_QUEUE_NAME, value=self._guard.due_runs.queue_name)
        cdk.CfnOutput(self, _DEAD_LETTERS_QUEUE_NAME, value=self._guard.dead_letters.queue_name)
        if isinstance(self._settings.encryption_key, OwnKey) and self._encryption_key is not None:
            cdk.CfnOutput(self, _ENCRYPTION_KEY_ID, value=self._encryption_key.key_id)
        if isinstance(self._settings.network, OwnNetwork):
            cdk.CfnOutput(self, _VPC_ID, value=self._vpc.vpc_id)
            for number, subnet in enumerate(self._vpc.isolated_subnets, start=1):
                cdk.CfnOutput(self, f"{_SUBNET_ID}{number}", value=subnet.subnet_id)


class SharedResources(Construct):
    """
    The resources of an environment stack as the environment's other stacks name them; `scope` is in any stack of the environment.

    They are read from the environment stack's outputs by name when the other stack is deployed. Exports would tie the two: none
    of them could be replaced while a project uses it. They are names and ARNs where no construct of CDK is needed: a construct
    would be asked for them through CDK's Node process, by each project.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Environment) -> None:
        super().__init__(scope, construct_id)
        self._stack_name = names.environment_stack(settings.name)
        self.place = place_of(scope)
        network = settings.network

        self.bucket_name = self._output(_ARTIFACTS_BUCKET_NAME)
        self.bucket_arn = f"arn:{self.place.partition}:s3:::{self.bucket_name}"
        self.alert_topic_arn = self.place.arn("sns", self._output(_ALERT_TOPIC_NAME))
        self.encryption_key = self._read_encryption_key(settings)
        self.guard_arn = self.place.arn("lambda", "function", separator=":", name=self._output(_GUARD_FUNCTION_NAME))
        self.due_runs_arn = self.place.arn("sqs", self._output(_DUE_RUNS_QUEUE_NAME))
        self.dead_letters_arn = self.place.arn("sqs", self._output(_DEAD_LETTERS_QUEUE_NAME))
        self.vpc_id = network.vpc_id if isinstance(network, ExistingNetwork) else self._output(_VPC_ID)
        cluster_name = settings.cluster.name if settings.cluster else self._output(_CLUSTER_NAME)
        self.cluster = Cluster(cluster_name, self.place.arn("ecs", "cluster", name=cluster_name))
        self.subnet_ids = (
            list(network.private_subnet_ids)
            if isinstance(network, ExistingNetwork)
            else [self._output(f"{_SUBNET_ID}{number}") for number, _ in enumerate(network.availability_zones, start=1)]
        )

    def _read_encryption_key(self, settings: Environment) -> kms.IKey | None:
        match settings.encryption_key:
            case ExistingKey(arn=arn):
                return kms.Key.from_key_arn(self, "EncryptionKey", arn)
            case OwnKey():
                arn = self.place.arn("kms", "key", name=self._output(_ENCRYPTION_KEY_ID))
                return kms.Key.from_key_arn(self, "EncryptionKey", arn)
            case None:
                return None

    def _output(self, name: str) -> str:
        return cdk.Fn.get_stack_output(self._stack_name, name)
