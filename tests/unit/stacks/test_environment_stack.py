"""What the projects of an environment share."""

from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from constructs_lib.warehouse_credentials import GlueConnection, RedshiftIam, SecretsManagerSecret
from stacks.environments import LIVE
from stacks.platform import DbtPlatform
from stacks.settings import Environment, ExistingCluster, OwnNetwork
from tests.unit.stacks.settings_of_a_stranger import environment, project

_OWN_NETWORK = OwnNetwork(cidr="10.0.0.0/16", availability_zones=("eu-west-1a", "eu-west-1b"))


def _template(app: cdk.App, settings: Environment) -> Template:
    return Template.from_stack(DbtPlatform(app, settings=settings).environment_stack)


def test_logical_ids_of_what_holds_data_stay(app: cdk.App) -> None:
    """A changed logical id makes CloudFormation replace the resource and lose its data."""
    template = _template(app, LIVE)

    assert set(template.find_resources("AWS::S3::Bucket")) == {
        "Artifacts80C0BB10",
        "ArtifactsAccessLogs4D97777C",
        "PagesAccessLogsCAFA4551",
    }
    assert set(template.find_resources("AWS::ECR::Repository")) == {"RegistryBookshopA7D53B69"}
    assert set(template.find_resources("AWS::SNS::Topic")) == {"AlertsE664E991"}
    assert set(template.find_resources("AWS::KMS::Key")) == {"EncryptionKeyE3E26CE7"}


@pytest.mark.parametrize(("keeps_data", "policy"), [(True, "Retain"), (False, "Delete")])
def test_data_outlives_the_stack_where_the_settings_say_so(
    app: cdk.App, tiny_project: Path, keeps_data: bool, policy: str
) -> None:
    """`cdk destroy` keeps buckets and images in production, and leaves nothing behind elsewhere."""
    platform = DbtPlatform(app, settings=environment(tiny_project, keeps_data_on_destroy=keeps_data))

    template = Template.from_stack(platform.environment_stack)
    for resource_type in ("AWS::S3::Bucket", "AWS::ECR::Repository"):
        for resource in template.find_resources(resource_type).values():
            assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == (policy, policy)
    assert platform.environment_stack.termination_protection is keeps_data
    template.resource_count_is("Custom::S3AutoDeleteObjects", 0 if keeps_data else 2)


def test_emptying_buckets_is_for_functions_of_this_account_only(app: cdk.App, tiny_project: Path) -> None:
    """Of all roles that Lambda may take, CDK's own for deleting objects is no exception: each names the account."""
    platform = DbtPlatform(app, settings=environment(tiny_project, keeps_data_on_destroy=False))

    roles = Template.from_stack(platform.environment_stack).find_resources("AWS::IAM::Role")
    trusts = {
        logical_id: statement
        for logical_id, role in roles.items()
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    }
    assert any(logical_id.startswith("CustomS3AutoDeleteObjects") for logical_id in trusts)
    for trust in trusts.values():
        assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": platform.environment_stack.account}}


def test_every_project_has_a_registry_of_its_own(app: cdk.App, tiny_project: Path) -> None:
    """What is kept of one project's images does not depend on how often another is deployed."""
    settings = environment(
        tiny_project, images_kept=7, projects=(project(tiny_project), project(tiny_project, name="second_one"))
    )

    template = _template(app, settings)

    for name in ("try/dbt/tiny", "try/dbt/second_one"):
        template.has_resource_properties(
            "AWS::ECR::Repository",
            {
                "RepositoryName": name,
                "ImageTagMutability": "IMMUTABLE",
                "ImageScanningConfiguration": {"ScanOnPush": True},
                "LifecyclePolicy": {"LifecyclePolicyText": Match.string_like_regexp('"countNumber":7')},
            },
        )


def test_own_network_has_no_way_to_the_internet(app: cdk.App, tiny_project: Path) -> None:
    """Private subnets without NAT, gateway or public address; AWS is reached by endpoints."""
    template = _template(app, environment(tiny_project, network=_OWN_NETWORK))

    template.resource_count_is("AWS::EC2::Subnet", 2)
    for resource_type in ("AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::EIP"):
        template.resource_count_is(resource_type, 0)
    template.all_resources_properties("AWS::EC2::Subnet", {"MapPublicIpOnLaunch": False})


@pytest.mark.parametrize(
    ("credentials", "services"),
    [
        (GlueConnection("warehouse"), {"glue"}),
        (
            GlueConnection(
                "warehouse",
                secret_arn="arn:aws:secretsmanager:eu-west-1:333333333333:secret:dbt-a1B2c3",
                kms_key_arn="arn:aws:kms:eu-west-1:333333333333:key/01234567-89ab-cdef-0123-456789abcdef",
            ),
            {"glue", "kms", "secretsmanager"},
        ),
        (
            SecretsManagerSecret(secret_arn="arn:aws:secretsmanager:eu-west-1:333333333333:secret:dbt-a1B2c3"),
            {"secretsmanager"},
        ),
        (RedshiftIam(host="h", database="d", cluster_identifier="c"), {"redshift"}),
        (
            RedshiftIam(
                host="h",
                database="d",
                workgroup_name="wg1",
                workgroup_id="01234567-89ab-cdef-0123-456789abcdef",
            ),
            {"redshift-serverless"},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_own_network_has_the_endpoints_that_the_tasks_need(
    app: cdk.App, tiny_project: Path, credentials: GlueConnection, services: set[str]
) -> None:
    """Image, log, records and credentials are reached; an endpoint that no project needs is not paid for."""
    settings = environment(
        tiny_project, network=_OWN_NETWORK, projects=(project(tiny_project, credentials=credentials),)
    )

    endpoints = _template(app, settings).find_resources("AWS::EC2::VPCEndpoint").values()

    names = {
        name.rpartition("eu-west-1.")[2]
        for endpoint in endpoints
        if isinstance(name := endpoint["Properties"]["ServiceName"], str)
    }
    assert names == {"ecr.api", "ecr.dkr", "logs"} | services
    # Its gateway is spelt with the region as a reference.
    assert [endpoint["Properties"]["VpcEndpointType"] for endpoint in endpoints].count("Gateway") == 1


def test_existing_network_and_cluster_are_left_alone(app: cdk.App, tiny_project: Path) -> None:
    """Nothing of the network and no cluster is made where there is one."""
    settings = environment(tiny_project, cluster=ExistingCluster(name="shared"))

    template = _template(app, settings)

    resources = template.to_json()["Resources"].values()
    assert [resource["Type"] for resource in resources if resource["Type"].startswith("AWS::EC2::")] == []
    template.resource_count_is("AWS::ECS::Cluster", 0)


def test_spot_is_offered_where_a_project_asks_for_it(app: cdk.App, tiny_project: Path) -> None:
    """A cluster of our own has Spot only if it is used."""
    settings = environment(tiny_project, projects=(project(tiny_project, capacity="fargate_spot"),))

    _template(app, settings).has_resource_properties(
        "AWS::ECS::ClusterCapacityProviderAssociations", {"CapacityProviders": ["FARGATE", "FARGATE_SPOT"]}
    )


def test_environment_without_airflow_gets_no_airflow_files(app: cdk.App, tiny_project: Path) -> None:
    """No Airflow, no package for it; the pages are written in any case."""
    settings = environment(tiny_project, airflow=None, projects=(project(tiny_project, scheduler="none"),))

    (deployment,) = _template(app, settings).find_resources("Custom::CDKBucketDeployment").values()
    assert deployment["Properties"]["DestinationBucketKeyPrefix"] == "_pages/"


def test_alerts_reach_every_address(app: cdk.App, tiny_project: Path) -> None:
    """Each address subscribes to the environment's topic."""
    settings = environment(tiny_project, alert_emails=("a@example.com", "b@example.com"))

    subscriptions = _template(app, settings).find_resources("AWS::SNS::Subscription").values()

    endpoints = {(entry["Properties"]["Protocol"], entry["Properties"]["Endpoint"]) for entry in subscriptions}
    assert endpoints == {("email", "a@example.com"), ("email", "b@example.com")}


def test_every_role_has_the_boundary_and_the_path_that_the_account_demands(app: cdk.App, tiny_project: Path) -> None:
    """An account that refuses other roles takes all of ours, those of CDK's own functions included."""
    boundary = "arn:aws:iam::333333333333:policy/boundary"
    platform = DbtPlatform(
        app, settings=environment(tiny_project, permissions_boundary_arn=boundary, role_path="/data/")
    )

    for stack in (platform.environment_stack, *platform.project_stacks.values()):
        roles = Template.from_stack(stack).find_resources("AWS::IAM::Role").values()
        assert {(role["Properties"]["PermissionsBoundary"], role["Properties"]["Path"]) for role in roles} == {
            (boundary, "/data/")
        }
