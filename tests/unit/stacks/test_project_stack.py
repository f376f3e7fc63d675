"""What is deployed for one dbt project."""

import json
import re
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from constructs_lib.notifications import SlackChannel, SnsTopic
from stacks.platform import DbtPlatform
from stacks.settings import Environment, ExistingNetwork, OwnNetwork, WarehouseEgress
from tests.unit.rights import statements_of
from tests.unit.stacks.settings_of_a_stranger import NETWORK, environment, project


def _template(app: cdk.App, settings: Environment) -> Template:
    return Template.from_stack(DbtPlatform(app, settings=settings).project_stacks["tiny"])


def _dag_files(app: cdk.App, settings: Environment) -> tuple[dict[str, Any], dict[str, Any]]:
    """`deployment.json` and `graph.json` as the assets of the synthesized app hold them."""
    DbtPlatform(app, settings=settings)
    assembly = app.synth()
    found = {
        # The function that copies the files puts quoted values in the markers' places.
        file.name: json.loads(re.sub(r"<<marker:[^>]*>>", '"<<marker>>"', file.read_text()))
        for file in Path(assembly.directory).glob("asset.*/*.json")
    }
    return found["deployment.json"], found["graph.json"]


def test_dag_learns_the_deployment_from_the_same_settings(app: cdk.App, tiny_project: Path) -> None:
    """deployment.json holds the settings, and markers for what is known when it is deployed."""
    settings = environment(
        tiny_project,
        projects=(project(tiny_project, schedule="0 5 * * *", time_zone="Europe/Berlin", render="run"),),
    )

    deployment, _ = _dag_files(app, settings)

    resolved_later = {key for key, value in deployment.items() if "<<marker" in json.dumps(value)}
    assert resolved_later == {
        "bucket_name",
        "cluster_arn",
        "launch_role_arn",
        "log_group_name",
        "security_group_ids",
        "task_definition_arn",
    }
    assert {key: value for key, value in deployment.items() if key not in resolved_later} == {
        "format_version": 1,
        "environment": "try",
        "project": "tiny",
        "dag_id": "dbt_try_tiny",
        "account": "333333333333",
        "region": "eu-west-1",
        "schedule": "0 5 * * *",
        "time_zone": "Europe/Berlin",
        "package": "dbt_on_fargate_try",
        "task_definition_family": "try-dbt-tiny",
        "container_name": "dbt",
        "subnet_ids": list(NETWORK["private_subnet_ids"]),
        "assign_public_ip": False,
        "log_stream_prefix": "dbt",
        "project_prefix": "tiny/",
        "deadline_seconds": 7200,
        "stop_timeout_seconds": 120,
        "render": "run",
        "updates_assets": True,
        "notify": [],
        "capacity": "fargate",
        "task_tags": [{"key": "dbt-task-family", "value": "try-dbt-tiny"}],
    }
    assert len(deployment["security_group_ids"]) == 1


def test_dag_tells_those_whom_the_settings_name(app: cdk.App, tiny_project: Path) -> None:
    """Slack by a connection that Airflow has, topics by their ARN; the launch role may publish to these topics and no other."""
    other = "arn:aws:sns:eu-west-1:333333333333:data-team"
    recipients = (SlackChannel(connection_id="team_slack", channel="#data"), SnsTopic(), SnsTopic(topic_arn=other))
    settings = environment(tiny_project, projects=(project(tiny_project, notify=recipients),))

    deployment, _ = _dag_files(app, settings)

    slack, own_topic, other_topic = deployment["notify"]
    assert slack == {"kind": "slack", "connection_id": "team_slack", "channel": "#data"}
    assert own_topic["topic_arn"].startswith("<<marker")
    assert other_topic == {"kind": "sns", "topic_arn": other}
    template = Template.from_stack(
        next(found for found in app.node.find_all() if isinstance(found, cdk.Stack) and found.node.id == "tiny")
    )
    (published,) = [
        statement["Resource"]
        for statement in statements_of(template.to_json()["Resources"])
        if statement["Action"] == "sns:Publish"
    ]
    assert len(published) == 2
    assert other in published


def test_dag_shows_the_models_of_the_project(app: cdk.App, tiny_project: Path) -> None:
    """graph.json is dbt's own graph, read during synth."""
    _, graph = _dag_files(app, environment(tiny_project))

    assert [node["unique_id"] for node in graph["nodes"]] == ["model.tiny.answers"]


def test_dag_files_go_into_a_folder_of_their_own(app: cdk.App, tiny_project: Path) -> None:
    """Files are pruned and removed with the project, in its folder of Airflow's bucket and nowhere else."""
    _template(app, environment(tiny_project)).has_resource_properties(
        "Custom::CDKBucketDeployment",
        {
            "DestinationBucketName": "try-airflow",
            "DestinationBucketKeyPrefix": "dags/dbt_on_fargate_try_tiny/",
            "Prune": True,
            "RetainOnDelete": False,
        },
    )


def test_project_without_airflow_has_no_dag_and_no_launch_role(app: cdk.App, tiny_project: Path) -> None:
    """An environment without Airflow deploys the task alone."""
    settings = environment(tiny_project, airflow=None, projects=(project(tiny_project, scheduler="none"),))

    template = _template(app, settings)

    template.resource_count_is("Custom::CDKBucketDeployment", 0)
    template.resource_count_is("AWS::ECS::TaskDefinition", 1)
    template.resource_count_is("AWS::Lambda::Function", 0)
    # The two of the task, and the one that calls the guard.
    assert len(template.find_resources("AWS::IAM::Role")) == 3


@pytest.mark.parametrize(
    ("egress", "expected"),
    [
        (WarehouseEgress(), {"CidrIp": "0.0.0.0/0", "FromPort": 5439, "ToPort": 5439}),
        (WarehouseEgress(port=5440, cidr="10.1.0.0/16"), {"CidrIp": "10.1.0.0/16", "FromPort": 5440, "ToPort": 5440}),
    ],
    ids=["default", "narrow"],
)
def test_tasks_reach_the_warehouse_and_aws_and_nothing_reaches_them(
    app: cdk.App, tiny_project: Path, egress: WarehouseEgress, expected: dict[str, object]
) -> None:
    """The security group lets out to the warehouse's port and to TLS, and nothing in."""
    settings = environment(tiny_project, projects=(project(tiny_project, warehouse_egress=egress),))

    template = _template(app, settings)

    (group,) = template.find_resources("AWS::EC2::SecurityGroup").values()
    rules = [{key: rule[key] for key in expected} for rule in group["Properties"]["SecurityGroupEgress"]]
    assert sorted(rules, key=str) == sorted(
        [expected, {"CidrIp": "0.0.0.0/0", "FromPort": 443, "ToPort": 443}], key=str
    )
    assert "SecurityGroupIngress" not in group["Properties"]


def test_warehouse_may_be_named_by_its_security_group(app: cdk.App, tiny_project: Path) -> None:
    """Where the warehouse is in the same VPC, its group is the narrowest name for it."""
    egress = WarehouseEgress(security_group_id="sg-0123456789abcdef0")
    settings = environment(tiny_project, projects=(project(tiny_project, warehouse_egress=egress),))

    _template(app, settings).has_resource_properties(
        "AWS::EC2::SecurityGroup",
        {
            "SecurityGroupEgress": Match.array_with(
                [Match.object_like({"DestinationSecurityGroupId": "sg-0123456789abcdef0", "FromPort": 5439})]
            )
        },
    )


def test_given_security_groups_are_used_as_they_are(app: cdk.App, tiny_project: Path) -> None:
    """A network team's groups are not added to."""
    network = ExistingNetwork(**NETWORK, security_group_ids=("sg-0123456789abcdef0",))
    settings = environment(tiny_project, network=network)

    deployment, _ = _dag_files(app, settings)

    assert deployment["security_group_ids"] == ["sg-0123456789abcdef0"]


def test_own_network_gives_its_subnets_to_the_dag(app: cdk.App, tiny_project: Path) -> None:
    """One subnet for each zone, known when the environment stack is deployed."""
    network = OwnNetwork(cidr="10.0.0.0/16", availability_zones=("eu-west-1a", "eu-west-1b"))

    deployment, _ = _dag_files(app, environment(tiny_project, network=network))

    assert len(deployment["subnet_ids"]) == 2
    assert all("<<marker" in subnet_id for subnet_id in deployment["subnet_ids"])


def test_container_is_told_where_credentials_are_never_what_they_are(app: cdk.App, tiny_project: Path) -> None:
    """RUNNER_DEPLOYMENT is the container's only variable and has no secret in it."""
    template = _template(app, environment(tiny_project))

    (task,) = template.find_resources("AWS::ECS::TaskDefinition").values()
    (container,) = task["Properties"]["ContainerDefinitions"]
    (variable,) = container["Environment"]
    parts = variable["Value"]["Fn::Join"][1]
    text = "".join(part if isinstance(part, str) else "the-bucket" for part in parts)
    assert json.loads(text) == {
        "format_version": 1,
        "environment": "try",
        "project": "tiny",
        "bucket": "the-bucket",
        "schema": "analytics",
        "credentials": {"kind": "glue_connection", "connection_name": "warehouse"},
        "stop_timeout_seconds": 120,
        "spec": {
            "steps": [
                {"name": "source_freshness", "policy": "report_only"},
                {"name": "build", "policy": "must_pass"},
                {"name": "docs", "policy": "report_only"},
            ],
            "threads": 4,
            "deadline_seconds": 7200,
        },
    }
    assert "Secrets" not in container


def test_no_stack_exports_a_value(app: cdk.App, tiny_project: Path) -> None:
    """Stacks are tied by outputs only, so that no shared resource is locked by a project that uses it."""
    platform = DbtPlatform(app, settings=environment(tiny_project))

    for stack in (platform.environment_stack, *platform.project_stacks.values()):
        outputs = Template.from_stack(stack).to_json().get("Outputs", {})
        assert [name for name, output in outputs.items() if "Export" in output] == []


@pytest.mark.parametrize(("keeps_data", "policy"), [(True, "Retain"), (False, None)])
def test_replaced_revisions_can_still_be_run_in_production(
    app: cdk.App, tiny_project: Path, keeps_data: bool, policy: str | None
) -> None:
    """For a moment after a deploy, Airflow still names the old revision; a deregistered one would be refused."""
    template = _template(app, environment(tiny_project, keeps_data_on_destroy=keeps_data))

    (task,) = template.find_resources("AWS::ECS::TaskDefinition").values()
    assert task.get("UpdateReplacePolicy") == policy
