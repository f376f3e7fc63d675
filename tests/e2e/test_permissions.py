"""What the deployment's roles may do: nothing that belongs to somebody else. What they use is measured after the teardown."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from constructs_lib.launch_role import FAMILY_TAG
from tests.e2e.auditor import Auditor, Client, answer
from tests.e2e.conftest import Story
from tests.e2e.grants import Role


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Things in the same account that belong to another project, with the project's own beside them."""

    account: str
    region: str
    cluster: str
    own_cluster: str
    family: str
    own_task_definition: str
    secret_arn: str
    connection: str
    repository: str
    own_repository: str
    log_group: str
    bucket: str
    dags_bucket: str
    foreign_role_arn: str
    network: dict[str, Any]
    own_prefix: str
    record: str
    topic_arn: str
    queue_url: str
    function: str
    own_task: str
    own_role_arn: str
    task_role_arn: str
    execution_role_arn: str
    own_log_group: str
    uploads_bucket: str

    @property
    def publishing_role_arn(self) -> str:
        """Who pushes the environment's images, and trusts whom the account's policies let."""
        return f"arn:aws:iam::{self.account}:role/local-dbt-image-publishing"

    @property
    def deploy_role_arn(self) -> str:
        """Who hands templates to CloudFormation; it trusts whom the account's policies let."""
        return f"arn:aws:iam::{self.account}:role/cdk-hnb659fds-deploy-role-{self.account}-{self.region}"

    @property
    def own_family(self) -> str:
        """The project's own task family."""
        return self.own_task_definition.rpartition("/")[2].partition(":")[0]

    @property
    def untagged_task(self) -> str:
        """A task on the project's own cluster that carries no tag of its family."""
        return f"arn:aws:ecs:{self.region}:{self.account}:task/{self.own_cluster.rpartition('/')[2]}/{'0' * 32}"


def test_reasons_are_for_grants_that_are_there(roles: dict[str, Role]) -> None:
    """A reason goes when its grant does."""
    for role in roles.values():
        assert set(role.reasons) <= {grant.action for grant in role.grants}, role.logical_id


@pytest.fixture(scope="module")
def elsewhere(story: Story) -> Iterator[Elsewhere]:
    """Another project's cluster, family, secret, connection, registry, log and records, all really there."""
    account, deployment = story.cloud.account, story.deployed.deployment
    latest = story.deployed.records.json(f"{story.choice.settings.project}/latest.json")
    account.client("ecs").create_cluster(clusterName="another")
    account.client("ecs").register_task_definition(
        family="another", containerDefinitions=[{"name": "dbt", "image": "another", "memory": 128}]
    )
    secret = account.client("secretsmanager").create_secret(Name="another", SecretString="{}")
    account.client("glue").create_connection(
        ConnectionInput={"Name": "another", "ConnectionType": "JDBC", "ConnectionProperties": {"USERNAME": "u"}}
    )
    account.client("ecr").create_repository(repositoryName="another")
    account.client("logs").create_log_group(logGroupName="another")
    account.client("logs").create_log_stream(logGroupName="another", logStreamName="s")
    function = next(
        found["FunctionName"]
        for found in account.client("lambda").list_functions()["Functions"]
        if found["Handler"].startswith("run_guard.")
    )
    own_task = account.client("ecs").list_tasks(cluster=deployment["cluster_arn"], desiredStatus="STOPPED")["taskArns"][
        0
    ]
    definition = account.client("ecs").describe_task_definition(taskDefinition=deployment["task_definition_arn"])[
        "taskDefinition"
    ]
    account.client("s3").put_object(Bucket=deployment["bucket_name"], Key="another/latest.json", Body=b"{}")
    account.client("s3").put_object(Bucket=story.choice.settings.dags_bucket, Key="dags/another.py", Body=b"")
    yield Elsewhere(
        account=story.choice.settings.account,
        region=story.choice.settings.region,
        cluster="another",
        own_cluster=deployment["cluster_arn"],
        family="another",
        own_task_definition=deployment["task_definition_arn"],
        secret_arn=secret["ARN"],
        connection="another",
        repository="another",
        own_repository=f"local/dbt/{story.choice.settings.project}",
        log_group="another",
        bucket=deployment["bucket_name"],
        dags_bucket=story.choice.settings.dags_bucket,
        foreign_role_arn=story.choice.settings.airflow_role_arn,
        network={
            "awsvpcConfiguration": {
                "subnets": deployment["subnet_ids"],
                "securityGroups": deployment["security_group_ids"],
            }
        },
        own_prefix=f"{story.choice.settings.project}/",
        record=latest["docs_prefix"],
        topic_arn=account.client("sns").create_topic(Name="another")["TopicArn"],
        queue_url=account.client("sqs").create_queue(QueueName="another")["QueueUrl"],
        function=function,
        own_task=own_task,
        own_role_arn=deployment["launch_role_arn"],
        task_role_arn=definition["taskRoleArn"],
        execution_role_arn=definition["executionRoleArn"],
        own_log_group=definition["containerDefinitions"][0]["logConfiguration"]["options"]["awslogs-group"],
        uploads_bucket=f"cdk-hnb659fds-assets-{story.choice.settings.account}-{story.choice.settings.region}",
    )
    account.client("sns").delete_topic(TopicArn=account.client("sns").create_topic(Name="another")["TopicArn"])
    account.client("sqs").delete_queue(QueueUrl=account.client("sqs").get_queue_url(QueueName="another")["QueueUrl"])
    account.client("ecr").delete_repository(repositoryName="another")
    account.client("s3").delete_object(Bucket=story.choice.settings.dags_bucket, Key="dags/another.py")


@pytest.fixture(scope="module")
def auditor(story: Story) -> Iterator[Auditor]:
    """Takes on the roles, and leaves them as they were."""
    found = Auditor(story)
    yield found
    found.leave()


@pytest.fixture(scope="module")
def session_of(story: Story, auditor: Auditor, roles: dict[str, Role]) -> Callable[[str], Callable[[str], Client]]:
    """Gives clients with real credentials of the role whose logical id begins with a text, or of Airflow's own."""
    name = story.choice.settings.airflow_role_arn.rpartition("/")[2]
    airflow = {_OF_AIRFLOW: Role(name=name, logical_id=_OF_AIRFLOW, grants=(), reasons={})}
    return lambda beginning: auditor.clients(_role(roles | airflow, beginning))


def _role(roles: dict[str, Role], beginning: str) -> Role:
    (role,) = (role for logical_id, role in roles.items() if logical_id.startswith(beginning))
    return role


_OF_AIRFLOW = "OwnRoleOfAirflow"
"""The role that is there before the deployment, and that launch roles trust."""

Attempted = Callable[[Callable[[str], Client], Elsewhere], object]

# What each role may do shows that its credentials work; without it a refusal would prove nothing.
ALLOWED: dict[str, Attempted] = {
    "TaskTaskRole": lambda as_, it: as_("s3").get_object(Bucket=it.bucket, Key=f"{it.record}manifest.json"),
    "TaskExecutionRole": lambda as_, _: as_("ecr").get_authorization_token(),
    "LaunchRole": lambda as_, it: as_("ecs").list_tasks(cluster=it.own_cluster),
    "RegistryPublishingRole": lambda as_, it: as_("ecr").describe_images(repositoryName=it.own_repository),
    "GuardFunctionRole": lambda as_, it: as_("ecs").list_tasks(cluster=it.own_cluster),
    "SchedulesRole": lambda as_, it: as_("lambda").invoke(
        FunctionName=it.function, InvocationType="DryRun", Payload=b"{}"
    ),
    "AirflowFilesRole": lambda as_, it: as_("s3").list_objects_v2(
        Bucket=it.dags_bucket, Prefix="dags/dbt_on_fargate_local_bookshop/"
    ),
    "AirflowPackageRole": lambda as_, it: as_("s3").list_objects_v2(
        Bucket=it.dags_bucket, Prefix="dags/dbt_on_fargate_local/"
    ),
    "PageFilesRole": lambda as_, it: as_("s3").list_objects_v2(Bucket=it.bucket, Prefix="_pages/"),
    _OF_AIRFLOW: lambda as_, it: as_("sts").assume_role(RoleArn=it.own_role_arn, RoleSessionName="airflow"),
}

# Who starts containers is neither what they run as nor who brings their image.
_BECOMES_ANOTHER: dict[str, Attempted] = {
    "become the role of the task": lambda as_, it: as_("sts").assume_role(
        RoleArn=it.task_role_arn, RoleSessionName="intruder"
    ),
    "become the role of the ECS agent": lambda as_, it: as_("sts").assume_role(
        RoleArn=it.execution_role_arn, RoleSessionName="intruder"
    ),
    "become who pushes images": lambda as_, it: as_("sts").assume_role(
        RoleArn=it.publishing_role_arn, RoleSessionName="intruder"
    ),
    "become who deploys": lambda as_, it: as_("sts").assume_role(
        RoleArn=it.deploy_role_arn, RoleSessionName="intruder"
    ),
}

REFUSED: dict[str, dict[str, Attempted]] = {
    "TaskTaskRole": {
        "read another project's records": lambda as_, it: as_("s3").get_object(
            Bucket=it.bucket, Key="another/latest.json"
        ),
        "write another project's records": lambda as_, it: as_("s3").put_object(
            Bucket=it.bucket, Key="another/latest.json", Body=b""
        ),
        "list all projects": lambda as_, it: as_("s3").list_objects_v2(Bucket=it.bucket),
        "delete its own records": lambda as_, it: as_("s3").delete_object(
            Bucket=it.bucket, Key=f"{it.record}manifest.json"
        ),
        "read Airflow's files": lambda as_, it: as_("s3").get_object(Bucket=it.dags_bucket, Key="dags/another.py"),
        "read another connection": lambda as_, it: as_("glue").get_connection(Name=it.connection),
        "read another secret": lambda as_, it: as_("secretsmanager").get_secret_value(SecretId=it.secret_arn),
        "start a container": lambda as_, it: as_("ecs").run_task(
            cluster=it.own_cluster, taskDefinition=it.own_task_definition, networkConfiguration=it.network
        ),
        "become another role": lambda as_, it: as_("sts").assume_role(
            RoleArn=it.foreign_role_arn, RoleSessionName="intruder"
        ),
        "look at roles": lambda as_, _: as_("iam").list_roles(),
        "push an image": lambda as_, it: as_("ecr").put_image(repositoryName=it.own_repository, imageManifest="{}"),
        "pull its own image": lambda as_, it: as_("ecr").batch_get_image(
            repositoryName=it.own_repository, imageIds=[{"imageTag": "1"}]
        ),
        "see older versions of its records": lambda as_, it: as_("s3").list_object_versions(Bucket=it.bucket),
        "open the bucket to the public": lambda as_, it: as_("s3").delete_public_access_block(Bucket=it.bucket),
        "change who may use the bucket": lambda as_, it: as_("s3").put_bucket_policy(Bucket=it.bucket, Policy="{}"),
        "write its own log": lambda as_, it: as_("logs").put_log_events(
            logGroupName=it.log_group, logStreamName="s", logEvents=[{"timestamp": 1, "message": "m"}]
        ),
        "stop the container beside it": lambda as_, it: as_("ecs").stop_task(cluster=it.own_cluster, task=it.own_task),
        "open a shell in a container": lambda as_, it: as_("ecs").execute_command(
            cluster=it.own_cluster, task=it.own_task, interactive=True, command="sh"
        ),
        "become the role that starts it": lambda as_, it: as_("sts").assume_role(
            RoleArn=it.own_role_arn, RoleSessionName="intruder"
        ),
        "find connections": lambda as_, _: as_("glue").get_connections(),
        "find secrets": lambda as_, _: as_("secretsmanager").list_secrets(),
        "find parameters": lambda as_, _: as_("ssm").get_parameters_by_path(Path="/"),
        "tell a lie to people": lambda as_, it: as_("sns").publish(TopicArn=it.topic_arn, Message="all is well"),
        "hide a failure in the metrics": lambda as_, _: as_("cloudwatch").put_metric_data(
            Namespace="DbtOnFargate", MetricData=[{"MetricName": "RunFailed", "Value": 0}]
        ),
        "call the guard": lambda as_, it: as_("lambda").invoke(FunctionName=it.function),
        "read a project whose name begins like its own": lambda as_, it: as_("s3").get_object(
            Bucket=it.bucket, Key=f"{it.own_prefix.rstrip('/')}_eu/latest.json"
        ),
        "list a project whose name begins like its own": lambda as_, it: as_("s3").list_objects_v2(
            Bucket=it.bucket, Prefix=f"{it.own_prefix.rstrip('/')}_eu/"
        ),
        "list more than its prefix by a part of it": lambda as_, it: as_("s3").list_objects_v2(
            Bucket=it.bucket, Prefix=it.own_prefix[:-2]
        ),
        "delete an older version of its record": lambda as_, it: as_("s3").delete_object(
            Bucket=it.bucket, Key=f"{it.record}manifest.json", VersionId="null"
        ),
        "change the pages over all runs": lambda as_, it: as_("s3").put_object(
            Bucket=it.bucket, Key="_pages/index.html", Body=b""
        ),
        "give itself more rights": lambda as_, it: as_("iam").put_role_policy(
            RoleName=it.own_role_arn.rpartition("/")[2], PolicyName="more", PolicyDocument="{}"
        ),
        "be told of every alert": lambda as_, it: as_("sns").subscribe(
            TopicArn=it.topic_arn, Protocol="https", Endpoint="https://example.com"
        ),
        "be called by events": lambda as_, _: as_("events").put_rule(Name="mine", ScheduleExpression="rate(1 minute)"),
        "change who the task is": lambda as_, it: as_("ecs").register_task_definition(
            family=it.family, containerDefinitions=[{"name": "dbt", "image": "x"}]
        ),
        "delete a log": lambda as_, it: as_("logs").delete_log_group(logGroupName=it.log_group),
        "use the key for what is not its own": lambda as_, _: as_("kms").decrypt(CiphertextBlob=b"x"),
        "copy another project's record to its own": lambda as_, it: as_("s3").copy_object(
            Bucket=it.bucket,
            Key=f"{it.own_prefix}stolen.json",
            CopySource={"Bucket": it.bucket, "Key": "another/latest.json"},
        ),
        "list by an empty prefix": lambda as_, it: as_("s3").list_objects_v2(Bucket=it.bucket, Prefix=""),
        "list by its own prefix without the slash": lambda as_, it: as_("s3").list_objects_v2(
            Bucket=it.bucket, Prefix=it.own_prefix.rstrip("/")
        ),
        "see what is being uploaded": lambda as_, it: as_("s3").list_multipart_uploads(Bucket=it.bucket),
        "read an older version of its record": lambda as_, it: as_("s3").get_object(
            Bucket=it.bucket, Key=f"{it.record}manifest.json", VersionId="null"
        ),
        "share a record": lambda as_, it: as_("s3").put_object_acl(
            Bucket=it.bucket, Key=f"{it.record}manifest.json", ACL="public-read"
        ),
        "have records expire": lambda as_, it: as_("s3").put_bucket_lifecycle_configuration(
            Bucket=it.bucket,
            LifecycleConfiguration={
                "Rules": [{"ID": "all", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]
            },
        ),
        "have no versions kept": lambda as_, it: as_("s3").put_bucket_versioning(
            Bucket=it.bucket, VersioningConfiguration={"Status": "Suspended"}
        ),
        "read who may use the bucket": lambda as_, it: as_("s3").get_bucket_policy(Bucket=it.bucket),
        "read what was uploaded for a deployment": lambda as_, it: as_("s3").list_objects_v2(Bucket=it.uploads_bucket),
        "read its own log": lambda as_, it: as_("logs").filter_log_events(logGroupName=it.own_log_group),
        "ask for the password of registries": lambda as_, _: as_("ecr").get_authorization_token(),
        "see what runs beside it": lambda as_, it: as_("ecs").list_tasks(cluster=it.own_cluster),
        "call its container another project's": lambda as_, it: as_("ecs").tag_resource(
            resourceArn=it.own_task, tags=[{"key": FAMILY_TAG, "value": it.family}]
        ),
        "look at what is deployed": lambda as_, _: as_("cloudformation").describe_stacks(),
        "change what is deployed": lambda as_, _: as_("cloudformation").delete_stack(StackName="local-dbt"),
        "become who pushes images": lambda as_, it: as_("sts").assume_role(
            RoleArn=it.publishing_role_arn, RoleSessionName="intruder"
        ),
        "become who deploys": lambda as_, it: as_("sts").assume_role(
            RoleArn=it.deploy_role_arn, RoleSessionName="intruder"
        ),
        "make a user": lambda as_, _: as_("iam").create_user(UserName="intruder"),
        "change the password that it reads": lambda as_, _: as_("glue").update_connection(
            Name="warehouse",
            ConnectionInput={"Name": "warehouse", "ConnectionType": "JDBC", "ConnectionProperties": {"USERNAME": "u"}},
        ),
    },
    "GuardFunctionRole": {
        "look at another cluster": lambda as_, it: as_("ecs").list_tasks(cluster=it.cluster),
        "stop a task of another cluster": lambda as_, it: as_("ecs").stop_task(
            cluster=it.cluster, task=f"arn:aws:ecs:{it.region}:{it.account}:task/{it.cluster}/{'0' * 32}"
        ),
        "start a container": lambda as_, it: as_("ecs").run_task(
            cluster=it.own_cluster, taskDefinition=it.own_task_definition, networkConfiguration=it.network
        ),
        "open a shell in a container": lambda as_, it: as_("ecs").execute_command(
            cluster=it.own_cluster, task=it.own_task, interactive=True, command="sh"
        ),
        "read records": lambda as_, it: as_("s3").get_object(Bucket=it.bucket, Key=f"{it.record}manifest.json"),
        "read the warehouse's password": lambda as_, _: as_("glue").get_connection(Name="warehouse"),
        "read another queue": lambda as_, it: as_("sqs").receive_message(QueueUrl=it.queue_url),
        "write a metric past its log": lambda as_, _: as_("cloudwatch").put_metric_data(
            Namespace="DbtOnFargate", MetricData=[{"MetricName": "RunFailed", "Value": 0}]
        ),
        "silence an alarm": lambda as_, _: as_("cloudwatch").delete_alarms(AlarmNames=["any"]),
        "change its own code": lambda as_, it: as_("lambda").update_function_code(
            FunctionName=it.function, ZipFile=b"code"
        ),
        "become another role": lambda as_, it: as_("sts").assume_role(
            RoleArn=it.own_role_arn, RoleSessionName="intruder"
        ),
        "call another project's container its own": lambda as_, it: as_("ecs").tag_resource(
            resourceArn=it.own_task, tags=[{"key": FAMILY_TAG, "value": it.family}]
        ),
        "change what a family runs": lambda as_, it: as_("ecs").register_task_definition(
            family=it.own_family, containerDefinitions=[{"name": "dbt", "image": "x"}]
        ),
        "delete a revision": lambda as_, it: as_("ecs").deregister_task_definition(
            taskDefinition=it.own_task_definition
        ),
        "delete the cluster": lambda as_, it: as_("ecs").delete_cluster(cluster=it.own_cluster),
        "call itself": lambda as_, it: as_("lambda").invoke(FunctionName=it.function),
        "read a secret": lambda as_, it: as_("secretsmanager").get_secret_value(SecretId=it.secret_arn),
        "read a container's log": lambda as_, it: as_("logs").filter_log_events(logGroupName=it.own_log_group),
        "write a container's log": lambda as_, it: as_("logs").put_log_events(
            logGroupName=it.own_log_group, logStreamName="s", logEvents=[{"timestamp": 1, "message": "m"}]
        ),
        "tell a lie to people": lambda as_, it: as_("sns").publish(TopicArn=it.topic_arn, Message="all is well"),
        "empty another queue": lambda as_, it: as_("sqs").purge_queue(QueueUrl=it.queue_url),
        "change a schedule": lambda as_, _: as_("scheduler").delete_schedule(Name="any", GroupName="any"),
    },
    "SchedulesRole": {
        "send to another queue": lambda as_, it: as_("sqs").send_message(QueueUrl=it.queue_url, MessageBody="m"),
        "read the dead letters": lambda as_, it: as_("sqs").receive_message(QueueUrl=it.queue_url),
        "change a schedule": lambda as_, _: as_("scheduler").delete_schedule(Name="any", GroupName="any"),
        "change the guard": lambda as_, it: as_("lambda").update_function_code(
            FunctionName=it.function, ZipFile=b"code"
        ),
        "read the guard's code": lambda as_, it: as_("lambda").get_function(FunctionName=it.function),
        "start a container": lambda as_, it: as_("ecs").run_task(
            cluster=it.own_cluster, taskDefinition=it.own_task_definition, networkConfiguration=it.network
        ),
        "stop a container": lambda as_, it: as_("ecs").stop_task(cluster=it.own_cluster, task=it.own_task),
        "read records": lambda as_, it: as_("s3").get_object(Bucket=it.bucket, Key=f"{it.record}manifest.json"),
        "call another function": lambda as_, _: as_("lambda").invoke(FunctionName="another"),
        "let everyone call the guard": lambda as_, it: as_("lambda").add_permission(
            FunctionName=it.function, StatementId="all", Action="lambda:InvokeFunction", Principal="*"
        ),
        "delete the guard": lambda as_, it: as_("lambda").delete_function(FunctionName=it.function),
        "make a schedule": lambda as_, it: as_("scheduler").create_schedule(
            Name="mine",
            ScheduleExpression="rate(1 minute)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": it.own_cluster, "RoleArn": it.foreign_role_arn},
        ),
        "see what runs": lambda as_, it: as_("ecs").list_tasks(cluster=it.own_cluster),
        "become the role that starts runs": lambda as_, it: as_("sts").assume_role(
            RoleArn=it.own_role_arn, RoleSessionName="intruder"
        ),
        "read the warehouse's password": lambda as_, _: as_("glue").get_connection(Name="warehouse"),
    },
    "TaskExecutionRole": {
        "pull another project's image": lambda as_, it: as_("ecr").batch_get_image(
            repositoryName=it.repository, imageIds=[{"imageTag": "1"}]
        ),
        "push an image": lambda as_, it: as_("ecr").put_image(repositoryName=it.own_repository, imageManifest="{}"),
        "write another log": lambda as_, it: as_("logs").put_log_events(
            logGroupName=it.log_group, logStreamName="s", logEvents=[{"timestamp": 1, "message": "m"}]
        ),
        "read the warehouse's password": lambda as_, _: as_("glue").get_connection(Name="warehouse"),
        "read records": lambda as_, it: as_("s3").get_object(Bucket=it.bucket, Key=f"{it.record}manifest.json"),
        "start a container": lambda as_, it: as_("ecs").run_task(
            cluster=it.own_cluster, taskDefinition=it.own_task_definition, networkConfiguration=it.network
        ),
        "become the role that starts it": lambda as_, it: as_("sts").assume_role(
            RoleArn=it.own_role_arn, RoleSessionName="intruder"
        ),
        "delete the image that it pulls": lambda as_, it: as_("ecr").batch_delete_image(
            repositoryName=it.own_repository, imageIds=[{"imageTag": "1"}]
        ),
        "look for other images": lambda as_, it: as_("ecr").describe_images(repositoryName=it.own_repository),
        "read the log that it writes": lambda as_, it: as_("logs").filter_log_events(logGroupName=it.own_log_group),
        "delete the log that it writes": lambda as_, it: as_("logs").delete_log_group(logGroupName=it.own_log_group),
        "make a log of its own": lambda as_, _: as_("logs").create_log_group(logGroupName="mine"),
        "read a secret": lambda as_, it: as_("secretsmanager").get_secret_value(SecretId=it.secret_arn),
        "become the role of dbt": lambda as_, it: as_("sts").assume_role(
            RoleArn=it.task_role_arn, RoleSessionName="intruder"
        ),
        "become who pushes images": lambda as_, it: as_("sts").assume_role(
            RoleArn=it.publishing_role_arn, RoleSessionName="intruder"
        ),
        "stop a container": lambda as_, it: as_("ecs").stop_task(cluster=it.own_cluster, task=it.own_task),
    },
    "LaunchRole": {
        "start another family": lambda as_, it: as_("ecs").run_task(
            cluster=it.own_cluster, taskDefinition=it.family, networkConfiguration=it.network
        ),
        "start its family on another cluster": lambda as_, it: as_("ecs").run_task(
            cluster=it.cluster, taskDefinition=it.own_task_definition, networkConfiguration=it.network
        ),
        "start its family as another role": lambda as_, it: as_("ecs").run_task(
            cluster=it.own_cluster,
            taskDefinition=it.own_task_definition,
            networkConfiguration=it.network,
            overrides={"taskRoleArn": it.foreign_role_arn},
        ),
        "start its family with another role for its image and log": lambda as_, it: as_("ecs").run_task(
            cluster=it.own_cluster,
            taskDefinition=it.own_task_definition,
            networkConfiguration=it.network,
            overrides={"executionRoleArn": it.foreign_role_arn},
        ),
        "change what is kept beside a specification": lambda as_, it: as_("s3").put_object(
            Bucket=it.bucket, Key=f"{it.own_prefix}runs/1/state.json", Body=b""
        ),
        "read a project whose name begins like its own": lambda as_, it: as_("s3").get_object(
            Bucket=it.bucket, Key=f"{it.own_prefix.rstrip('/')}_eu/latest.json"
        ),
        "have its family started by the clock": lambda as_, it: as_("scheduler").create_schedule(
            Name="mine",
            ScheduleExpression="rate(1 minute)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": it.own_cluster, "RoleArn": it.task_role_arn},
        ),
        "keep its family running": lambda as_, it: as_("ecs").create_service(
            cluster=it.own_cluster, serviceName="mine", taskDefinition=it.own_task_definition, desiredCount=1
        ),
        "pass a task's role to a function": lambda as_, it: as_("lambda").create_function(
            FunctionName="mine",
            Role=it.task_role_arn,
            Code={"ZipFile": b"code"},
            Runtime="python3.14",
            Handler="h.h",
        ),
        "change what its family runs": lambda as_, it: as_("ecs").register_task_definition(
            family=it.own_family,
            containerDefinitions=[{"name": "dbt", "image": "x"}],
        ),
        "stop another project's task": lambda as_, it: as_("ecs").stop_task(
            cluster=it.own_cluster, task=it.untagged_task
        ),
        "take another project's task for its own": lambda as_, it: as_("ecs").tag_resource(
            resourceArn=it.untagged_task, tags=[{"key": FAMILY_TAG, "value": it.own_family}]
        ),
        "start its family under another project's name": lambda as_, it: as_("ecs").run_task(
            cluster=it.own_cluster,
            taskDefinition=it.own_task_definition,
            networkConfiguration=it.network,
            tags=[{"key": FAMILY_TAG, "value": it.family}],
        ),
        "stop a task of another cluster": lambda as_, it: as_("ecs").stop_task(
            cluster=it.cluster, task=f"arn:aws:ecs:{it.region}:{it.account}:task/{it.cluster}/{'0' * 32}"
        ),
        "open a shell in a container": lambda as_, it: as_("ecs").execute_command(
            cluster=it.own_cluster, task=it.own_task, interactive=True, command="sh"
        ),
        "delete a revision": lambda as_, it: as_("ecs").deregister_task_definition(
            taskDefinition=it.own_task_definition
        ),
        "delete a record": lambda as_, it: as_("s3").delete_object(Bucket=it.bucket, Key=f"{it.record}manifest.json"),
        "write another project's specification": lambda as_, it: as_("s3").put_object(
            Bucket=it.bucket, Key="another/runs/1/spec.json", Body=b"{}"
        ),
        **_BECOMES_ANOTHER,
        "publish to another topic": lambda as_, it: as_("sns").publish(TopicArn=it.topic_arn, Message="m"),
        "read the warehouse's password": lambda as_, _: as_("glue").get_connection(Name="warehouse"),
        "read a secret": lambda as_, it: as_("secretsmanager").get_secret_value(SecretId=it.secret_arn),
        "change a record": lambda as_, it: as_("s3").put_object(
            Bucket=it.bucket, Key=f"{it.record}manifest.json", Body=b""
        ),
        "read another project's records": lambda as_, it: as_("s3").get_object(
            Bucket=it.bucket, Key="another/latest.json"
        ),
        "start its family with tags that hide whose it is": lambda as_, it: as_("ecs").run_task(
            cluster=it.own_cluster,
            taskDefinition=it.own_task_definition,
            networkConfiguration=it.network,
            tags=[{"key": "team", "value": "another"}],
        ),
        "take its name from a container": lambda as_, it: as_("ecs").untag_resource(
            resourceArn=it.own_task, tagKeys=[FAMILY_TAG]
        ),
        "give its container away": lambda as_, it: as_("ecs").tag_resource(
            resourceArn=it.own_task, tags=[{"key": FAMILY_TAG, "value": it.family}]
        ),
        "delete the cluster": lambda as_, it: as_("ecs").delete_cluster(cluster=it.own_cluster),
        "look at what another family is told": lambda as_, it: as_("ecs").describe_task_definition(
            taskDefinition=it.family
        ),
        "copy another project's record to a specification": lambda as_, it: as_("s3").copy_object(
            Bucket=it.bucket,
            Key=f"{it.own_prefix}runs/1/spec.json",
            CopySource={"Bucket": it.bucket, "Key": "another/latest.json"},
        ),
        "list all projects": lambda as_, it: as_("s3").list_objects_v2(Bucket=it.bucket),
        "see older versions of records": lambda as_, it: as_("s3").list_object_versions(Bucket=it.bucket),
        "change the pages over all runs": lambda as_, it: as_("s3").put_object(
            Bucket=it.bucket, Key="_pages/index.html", Body=b""
        ),
        "read a container's log": lambda as_, it: as_("logs").filter_log_events(logGroupName=it.own_log_group),
        "pull its image": lambda as_, it: as_("ecr").batch_get_image(
            repositoryName=it.own_repository, imageIds=[{"imageTag": "1"}]
        ),
        "call the guard": lambda as_, it: as_("lambda").invoke(FunctionName=it.function),
        "give itself more rights": lambda as_, it: as_("iam").put_role_policy(
            RoleName=it.own_role_arn.rpartition("/")[2], PolicyName="more", PolicyDocument="{}"
        ),
    },
    "RegistryPublishingRole": {
        "push another project's image": lambda as_, it: as_("ecr").put_image(
            repositoryName=it.repository, imageManifest="{}"
        ),
        "delete an image": lambda as_, it: as_("ecr").batch_delete_image(
            repositoryName=it.own_repository, imageIds=[{"imageTag": "1"}]
        ),
        "make deployed tags movable": lambda as_, it: as_("ecr").put_image_tag_mutability(
            repositoryName=it.own_repository, imageTagMutability="MUTABLE"
        ),
        "share a registry": lambda as_, it: as_("ecr").set_repository_policy(
            repositoryName=it.own_repository, policyText="{}"
        ),
        "start a container": lambda as_, it: as_("ecs").run_task(
            cluster=it.own_cluster, taskDefinition=it.own_task_definition, networkConfiguration=it.network
        ),
        "delete a registry": lambda as_, it: as_("ecr").delete_repository(repositoryName=it.own_repository, force=True),
        "read records": lambda as_, it: as_("s3").get_object(Bucket=it.bucket, Key=f"{it.record}manifest.json"),
        "download a layer": lambda as_, it: as_("ecr").get_download_url_for_layer(
            repositoryName=it.own_repository, layerDigest=f"sha256:{'0' * 64}"
        ),
        "look at another project's images": lambda as_, it: as_("ecr").describe_images(repositoryName=it.repository),
        "have images expire": lambda as_, it: as_("ecr").put_lifecycle_policy(
            repositoryName=it.own_repository, lifecyclePolicyText="{}".ljust(100)
        ),
        "have images unscanned": lambda as_, it: as_("ecr").put_image_scanning_configuration(
            repositoryName=it.own_repository, imageScanningConfiguration={"scanOnPush": False}
        ),
        "make a registry": lambda as_, _: as_("ecr").create_repository(repositoryName="mine"),
        "change which image a family runs": lambda as_, it: as_("ecs").register_task_definition(
            family=it.own_family, containerDefinitions=[{"name": "dbt", "image": "x"}]
        ),
        "become the role that starts runs": lambda as_, it: as_("sts").assume_role(
            RoleArn=it.own_role_arn, RoleSessionName="intruder"
        ),
        "become who deploys": lambda as_, it: as_("sts").assume_role(
            RoleArn=it.deploy_role_arn, RoleSessionName="intruder"
        ),
        "read the warehouse's password": lambda as_, _: as_("glue").get_connection(Name="warehouse"),
    },
    "AirflowFilesRole": {
        "change another DAG": lambda as_, it: as_("s3").put_object(
            Bucket=it.dags_bucket, Key="dags/another.py", Body=b""
        ),
        "delete another DAG": lambda as_, it: as_("s3").delete_object(Bucket=it.dags_bucket, Key="dags/another.py"),
        "list Airflow's whole bucket": lambda as_, it: as_("s3").list_objects_v2(Bucket=it.dags_bucket),
        "change the DAG of a project whose name begins like its own": lambda as_, it: as_("s3").put_object(
            Bucket=it.dags_bucket, Key="dags/dbt_on_fargate_local_bookshop_eu/dag.py", Body=b""
        ),
        "read what Airflow holds": lambda as_, it: as_("s3").get_object(Bucket=it.dags_bucket, Key="dags/another.py"),
        "read records": lambda as_, it: as_("s3").get_object(Bucket=it.bucket, Key=f"{it.record}manifest.json"),
        "list what begins like its folder": lambda as_, it: as_("s3").list_objects_v2(
            Bucket=it.dags_bucket, Prefix="dags/dbt_on_fargate_local_bookshop"
        ),
        "see older versions of DAGs": lambda as_, it: as_("s3").list_object_versions(Bucket=it.dags_bucket),
        "read what it has written": lambda as_, it: as_("s3").get_object(
            Bucket=it.dags_bucket, Key="dags/dbt_on_fargate_local_bookshop/deployment.json"
        ),
        "delete the package of all projects": lambda as_, it: as_("s3").delete_object(
            Bucket=it.dags_bucket, Key="dags/dbt_on_fargate_local/__init__.py"
        ),
        "change what is deployed next": lambda as_, it: as_("s3").put_object(
            Bucket=it.uploads_bucket, Key="any.zip", Body=b""
        ),
        "change who may use Airflow's bucket": lambda as_, it: as_("s3").put_bucket_policy(
            Bucket=it.dags_bucket, Policy="{}"
        ),
        "become the role that starts runs": lambda as_, it: as_("sts").assume_role(
            RoleArn=it.own_role_arn, RoleSessionName="intruder"
        ),
    },
    "PageFilesRole": {
        "change a project's history": lambda as_, it: as_("s3").put_object(
            Bucket=it.bucket, Key="bookshop/history/overview.json", Body=b""
        ),
        "read records": lambda as_, it: as_("s3").get_object(Bucket=it.bucket, Key=f"{it.record}manifest.json"),
        "list the whole bucket": lambda as_, it: as_("s3").list_objects_v2(Bucket=it.bucket),
        "list what begins like its folder": lambda as_, it: as_("s3").list_objects_v2(
            Bucket=it.bucket, Prefix="_pages"
        ),
        "delete a record": lambda as_, it: as_("s3").delete_object(Bucket=it.bucket, Key=f"{it.record}manifest.json"),
        "delete an older version of a page": lambda as_, it: as_("s3").delete_object(
            Bucket=it.bucket, Key="_pages/index.html", VersionId="null"
        ),
        "change a project's docs": lambda as_, it: as_("s3").put_object(
            Bucket=it.bucket, Key=f"{it.record}index.html", Body=b""
        ),
        "change a DAG": lambda as_, it: as_("s3").put_object(Bucket=it.dags_bucket, Key="dags/another.py", Body=b""),
        "open the bucket to the public": lambda as_, it: as_("s3").delete_public_access_block(Bucket=it.bucket),
    },
    "AirflowPackageRole": {
        "change another DAG": lambda as_, it: as_("s3").put_object(
            Bucket=it.dags_bucket, Key="dags/another.py", Body=b""
        ),
        "change a project's DAG": lambda as_, it: as_("s3").put_object(
            Bucket=it.dags_bucket, Key="dags/dbt_on_fargate_local_bookshop/dag.py", Body=b""
        ),
        "list what begins like its folder": lambda as_, it: as_("s3").list_objects_v2(
            Bucket=it.dags_bucket, Prefix="dags/dbt_on_fargate_local"
        ),
        "list Airflow's whole bucket": lambda as_, it: as_("s3").list_objects_v2(Bucket=it.dags_bucket),
        "read what Airflow holds": lambda as_, it: as_("s3").get_object(Bucket=it.dags_bucket, Key="dags/another.py"),
        "read records": lambda as_, it: as_("s3").get_object(Bucket=it.bucket, Key=f"{it.record}manifest.json"),
        "become the role that starts runs": lambda as_, it: as_("sts").assume_role(
            RoleArn=it.own_role_arn, RoleSessionName="intruder"
        ),
    },
    _OF_AIRFLOW: {
        "start a container past the launch role": lambda as_, it: as_("ecs").run_task(
            cluster=it.own_cluster, taskDefinition=it.own_task_definition, networkConfiguration=it.network
        ),
        "stop a container past the launch role": lambda as_, it: as_("ecs").stop_task(
            cluster=it.own_cluster, task=it.own_task
        ),
        "read records past the launch role": lambda as_, it: as_("s3").get_object(
            Bucket=it.bucket, Key=f"{it.record}manifest.json"
        ),
        "read the warehouse's password": lambda as_, _: as_("glue").get_connection(Name="warehouse"),
        "read a secret": lambda as_, it: as_("secretsmanager").get_secret_value(SecretId=it.secret_arn),
        "change a DAG": lambda as_, it: as_("s3").put_object(Bucket=it.dags_bucket, Key="dags/another.py", Body=b""),
        **_BECOMES_ANOTHER,
        "push an image": lambda as_, it: as_("ecr").put_image(repositoryName=it.own_repository, imageManifest="{}"),
        "call the guard": lambda as_, it: as_("lambda").invoke(FunctionName=it.function),
        "read a container's log": lambda as_, it: as_("logs").filter_log_events(logGroupName=it.own_log_group),
        "look at roles": lambda as_, _: as_("iam").list_roles(),
    },
}


def test_every_role_of_the_deployment_is_tried(roles: dict[str, Role]) -> None:
    """A role that is added gets its list here."""
    assert set(REFUSED) == set(ALLOWED)
    assert [name for name in roles if not name.startswith(tuple(ALLOWED))] == []


@pytest.mark.parametrize("role", ALLOWED)
def test_role_may_do_its_own_work_and_nothing_else(
    session_of: Callable[[str], Callable[[str], Client]], elsewhere: Elsewhere, role: str
) -> None:
    """With a role's real credentials its own work succeeds, and every other thing that is tried is refused by IAM."""
    as_role = session_of(role)
    ALLOWED[role](as_role, elsewhere)

    answers = {what: answer(lambda: attempt(as_role, elsewhere)) for what, attempt in REFUSED[role].items()}  # noqa: B023 - called at once

    assert answers
    assert {what: given for what, given in answers.items() if given != "denied"} == {}


def test_commands_of_cdks_function_are_allowed_in_its_folder(
    story: Story, auditor: Auditor, roles: dict[str, Role], elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """What CDK's function runs, with its role's real credentials: files come and go there, and in no other folder."""
    login = auditor.login(_role(roles, "AirflowFilesRole"))
    bucket, s3 = elsewhere.dags_bucket, story.cloud.account.client("s3")

    def sync(folder: str) -> None:
        places = {"<files>": str(tmp_path), "<bucket>": bucket, "<folder>": folder}
        story.types("docs/decisions/measured-permissions.md", "aws s3 sync", places, **login)

    def remove(folder: str) -> None:
        places = {"<bucket>": bucket, "<folder>": folder}
        story.types("docs/decisions/measured-permissions.md", "aws s3 rm", places, **login)

    def names(folder: str) -> list[str]:
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"{folder}/").get("Contents", [])
        return [found["Key"].removeprefix(f"{folder}/") for found in listed]

    # Beside the DAG that the other tests run, where Airflow sees nothing of it.
    own, foreign = "dags/dbt_on_fargate_local_bookshop/by-hand", "dags/dbt_on_fargate_local_bookshop_eu"
    s3.put_object(Bucket=bucket, Key=f"{foreign}/theirs.txt", Body=b"")
    (tmp_path / "first.txt").write_text("first")
    sync(own)
    first = names(own)
    (tmp_path / "first.txt").rename(tmp_path / "second.txt")
    sync(own)
    second = names(own)
    remove(own)
    for refused in (sync, remove):
        with pytest.raises(AssertionError, match="AccessDenied"):
            refused(foreign)
    untouched = names(foreign)
    s3.delete_object(Bucket=bucket, Key=f"{foreign}/theirs.txt")

    assert (first, second, names(own)) == (["first.txt"], ["second.txt"], [])
    assert untouched == ["theirs.txt"]
