"""Everything that an account holds in one region, and IAM's things, which are of no region."""

from collections.abc import Callable
from typing import Any

_Client = Callable[[str], Any]

_LISTED = {
    ("cloudwatch", "describe_alarms", "MetricAlarms"): "AlarmArn",
    ("cloudwatch", "list_dashboards", "DashboardEntries"): "DashboardName",
    ("ec2", "describe_flow_logs", "FlowLogs"): "FlowLogId",
    ("ec2", "describe_route_tables", "RouteTables"): "RouteTableId",
    ("ec2", "describe_security_groups", "SecurityGroups"): "GroupId",
    ("ec2", "describe_subnets", "Subnets"): "SubnetId",
    ("ec2", "describe_vpc_endpoints", "VpcEndpoints"): "VpcEndpointId",
    ("ec2", "describe_vpcs", "Vpcs"): "VpcId",
    ("ecr", "describe_repositories", "repositories"): "repositoryName",
    ("events", "list_rules", "Rules"): "Name",
    ("iam", "list_open_id_connect_providers", "OpenIDConnectProviderList"): "Arn",
    ("iam", "list_roles", "Roles"): "Arn",
    ("lambda", "list_functions", "Functions"): "FunctionName",
    ("logs", "describe_log_groups", "logGroups"): "logGroupName",
    ("s3", "list_buckets", "Buckets"): "Name",
    ("scheduler", "list_schedules", "Schedules"): "Name",
    ("sns", "list_topics", "Topics"): "TopicArn",
}


def inventory(client: _Client) -> dict[str, set[str]]:
    """
    What there is, by the operation that lists it; `client` makes a client of a service.

    Stacks that are deleted, clusters that are inactive, task definitions that are deregistered and keys that wait for their
    deletion count as gone: AWS still lists or describes them for a while.
    """
    found = {
        f"{service}:{operation}": {str(entry[name]) for entry in getattr(client(service), operation)().get(what, [])}
        for (service, operation, what), name in _LISTED.items()
    }
    found["cloudformation:describe_stacks"] = {
        stack["StackName"]
        for stack in client("cloudformation").describe_stacks()["Stacks"]
        if stack["StackStatus"] != "DELETE_COMPLETE"
    }
    ecs, kms = client("ecs"), client("kms")
    found["ecs:list_clusters"] = {
        cluster["clusterArn"]
        for cluster in ecs.describe_clusters(clusters=ecs.list_clusters()["clusterArns"])["clusters"]
        if cluster["status"] == "ACTIVE"
    }
    found["ecs:list_task_definitions"] = set(ecs.list_task_definitions(status="ACTIVE")["taskDefinitionArns"])
    found["kms:list_keys"] = {
        key["KeyId"]
        for key in kms.list_keys()["Keys"]
        if kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] != "PendingDeletion"
    }
    found["sqs:list_queues"] = set(client("sqs").list_queues().get("QueueUrls", []))
    return found
