"""Buckets, registries, topics, alerts and DAG files as they are deployed."""

import json
import string
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_deployment as s3_deployment
from aws_cdk.assertions import Match, Template

from constructs_lib.alert_topic import AlertTopic
from constructs_lib.artifacts_bucket import ArtifactsBucket
from constructs_lib.bucket_folder import BucketFolder
from constructs_lib.image_registry import ImageRegistry
from constructs_lib.private_network import PrivateNetwork
from constructs_lib.run_alerts import RunAlerts
from tests.unit.rights import statements_of


def _artifacts(stack: cdk.Stack, expire_after_days: int = 400) -> dict[str, Any]:
    ArtifactsBucket(
        stack, "Artifacts", expire_after_days=expire_after_days, keeps_data_on_destroy=True, encryption_key=None
    )
    buckets = Template.from_stack(stack).find_resources("AWS::S3::Bucket")
    (artifacts,) = (bucket["Properties"] for name, bucket in buckets.items() if "AccessLogs" not in name)
    properties: dict[str, Any] = artifacts
    return properties


def test_records_are_encrypted_versioned_logged_and_closed(stack: cdk.Stack) -> None:
    """Nothing public, nothing unencrypted, every access on record, an overwritten file kept for a while."""
    artifacts = _artifacts(stack)

    assert set(artifacts["PublicAccessBlockConfiguration"].values()) == {True}
    assert artifacts["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "AES256"
    }
    assert artifacts["VersioningConfiguration"] == {"Status": "Enabled"}
    assert "AccessLogs" in artifacts["LoggingConfiguration"]["DestinationBucketName"]["Ref"]


def test_both_buckets_refuse_requests_without_tls(stack: cdk.Stack) -> None:
    """The bucket policy denies what is not encrypted on its way."""
    _artifacts(stack)

    policies = Template.from_stack(stack).find_resources("AWS::S3::BucketPolicy").values()
    for policy in policies:
        denied = [
            statement
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        ]
        assert len(denied) == 1
    assert len(policies) == 2


@pytest.mark.parametrize(("days", "transitions"), [(400, 1), (90, 1), (89, 0), (7, 0)])
def test_records_go_when_their_time_is_over(stack: cdk.Stack, days: int, transitions: int) -> None:
    """Kept as set, in cheaper storage first where that saves money, then gone."""
    rules = _artifacts(stack, days)["LifecycleConfiguration"]["Rules"]
    expiring = [rule for rule in rules if "ExpirationInDays" in rule]

    assert {(rule["ExpirationInDays"], len(rule.get("Transitions", []))) for rule in expiring} == {(days, transitions)}
    # Whatever a project is called; but what a deployment writes once, below "_pages/", stays.
    assert [rule.get("Prefix") for rule in expiring] == list(string.ascii_lowercase)


def test_publishing_role_pushes_into_its_registries_only(stack: cdk.Stack) -> None:
    """The CDK CLI's role reaches no other repository of the account."""
    ImageRegistry(
        stack,
        "Registry",
        repository_names={"Shop": "dev/dbt/shop"},
        publishing_role_name="dev-dbt-image-publishing",
        images_kept=5,
        keeps_data_on_destroy=False,
        encryption_key=None,
    )

    push, token = statements_of(Template.from_stack(stack).to_json()["Resources"], "RegistryPublishingRole")
    assert "ecr:PutImage" in push["Action"]
    assert push["Resource"]["Fn::GetAtt"][0].startswith("RegistryShop")
    assert (token["Action"], token["Resource"]) == ("ecr:GetAuthorizationToken", "*")


def test_alarms_of_this_account_and_rules_publish_alerts(stack: cdk.Stack) -> None:
    """Of alarms only this account's; EventBridge's statement has no condition, because with one nothing of it would arrive."""
    AlertTopic(stack, "Alerts", emails=[], encryption_key=None)

    (policy,) = Template.from_stack(stack).find_resources("AWS::SNS::TopicPolicy").values()
    conditions = {
        statement["Principal"]["Service"]: statement.get("Condition")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    }
    assert conditions == {
        "cloudwatch.amazonaws.com": {"StringEquals": {"aws:SourceAccount": "111111111111"}},
        "events.amazonaws.com": None,
    }


@pytest.fixture
def alert_rules(stack: cdk.Stack) -> list[dict[str, Any]]:
    """The rules of one project's alerts."""
    RunAlerts(
        stack,
        "Alerts",
        run_name="dbt project shop in dev",
        family="dev-dbt-shop",
        cluster_arn="arn:aws:ecs:eu-central-1:111111111111:cluster/shared",
        log_group_name="the-log-group",
        topic_arn="arn:aws:sns:eu-central-1:111111111111:alerts",
        dead_letters_arn="arn:aws:sqs:eu-central-1:111111111111:dead-letters",
        runbook_url="https://example.com/runbook",
    )
    rules = Template.from_stack(stack).find_resources("AWS::Events::Rule").values()
    return [rule["Properties"] for rule in rules]


def test_container_that_ends_with_an_error_is_told(alert_rules: list[dict[str, Any]]) -> None:
    """Any exit code but 0 of our container, of this family on this cluster only, and of no pull request's trial."""
    details = [rule["EventPattern"]["detail"] for rule in alert_rules]

    assert {
        "clusterArn": ["arn:aws:ecs:eu-central-1:111111111111:cluster/shared"],
        # Not by its group, which whoever starts a task may choose.
        "taskDefinitionArn": [{"prefix": "arn:aws:ecs:eu-central-1:111111111111:task-definition/dev-dbt-shop:"}],
        "lastStatus": ["STOPPED"],
        "$or": [
            {"startedBy": [{"exists": False}]},
            {"startedBy": [{"anything-but": {"prefix": "slim-ci-"}}]},
        ],
        "containers": {"name": ["dbt"], "exitCode": [{"anything-but": [0]}]},
    } in details


def test_container_that_was_killed_for_memory_is_told(alert_rules: list[dict[str, Any]]) -> None:
    """ECS gives no code for it, only words at the container."""
    details = [rule["EventPattern"]["detail"] for rule in alert_rules]

    assert {"name": ["dbt"], "reason": [{"prefix": "OutOfMemoryError"}]} in [
        detail.get("containers") for detail in details
    ]


def test_container_that_does_not_start_is_told(alert_rules: list[dict[str, Any]]) -> None:
    """A container that never ran has no exit code, only a stop code."""
    details = [rule["EventPattern"]["detail"] for rule in alert_rules]

    assert ["TaskFailedToStart"] in [detail.get("stopCode") for detail in details]


def test_alert_is_a_sentence_with_the_way_on(alert_rules: list[dict[str, Any]]) -> None:
    """A person reads which run, why, and which section of the runbook helps, not JSON."""
    for rule in alert_rules:
        (target,) = rule["Targets"]
        text = target["InputTransformer"]["InputTemplate"]
        assert text.startswith('"The run of dbt project shop in dev ')
        assert "What to do: https://example.com/runbook#" in text
        assert json.loads(text.replace("<", "").replace(">", ""))


def test_airflow_files_touch_one_folder_only(stack: cdk.Stack) -> None:
    """The function that copies DAG files reads what was uploaded and writes its own folder of Airflow's bucket."""
    BucketFolder(
        stack,
        "Files",
        bucket_name="airflow",
        folder="dags/ours",
        description="Copies DAG files",
        sources=[s3_deployment.Source.data("dag.py", "pass")],
        encryption_key=None,
    )

    template = Template.from_stack(stack)
    statements = statements_of(template.to_json()["Resources"])
    on_airflow = {
        (str(statement["Action"]), statement["Resource"]): statement.get("Condition")
        for statement in statements
        if "arn:aws:s3:::airflow" in str(statement["Resource"])
    }
    assert on_airflow == {
        ("['s3:PutObject', 's3:DeleteObject']", "arn:aws:s3:::airflow/dags/ours/*"): None,
        ("s3:ListBucket", "arn:aws:s3:::airflow"): {"StringLike": {"s3:prefix": ["dags/ours/*"]}},
    }
    # Its own log group, which goes with it; one that Lambda makes would stay for ever.
    template.has_resource_properties("AWS::Lambda::Function", {"LoggingConfig": {"LogGroup": Match.any_value()}})


def test_own_network_records_its_traffic_for_as_long_as_set(stack: cdk.Stack) -> None:
    """Flow logs go to a log group that has an end."""
    PrivateNetwork(
        stack,
        "Network",
        cidr="10.0.0.0/16",
        availability_zones=["eu-central-1a"],
        credentials_services=["glue"],
        flow_log_retention=logs.RetentionDays.ONE_MONTH,
        log_removal_policy=cdk.RemovalPolicy.DESTROY,
        encryption_key=None,
    )

    template = Template.from_stack(stack)
    template.has_resource_properties("AWS::EC2::FlowLog", {"TrafficType": "ALL"})
    template.has_resource_properties("AWS::Logs::LogGroup", {"RetentionInDays": 30})
