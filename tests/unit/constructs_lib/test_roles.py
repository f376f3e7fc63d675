"""Each role may do what it is for, and nothing else."""

import re
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_logs as logs
from aws_cdk.assertions import Template

from constructs_lib.cluster import Cluster
from constructs_lib.dbt_image import DbtImage
from constructs_lib.dbt_task import DbtTask
from constructs_lib.launch_role import LaunchRole
from constructs_lib.repository import REPOSITORY
from constructs_lib.task_size import TaskSize
from constructs_lib.warehouse_credentials import (
    GlueConnection,
    RedshiftIam,
    SecretsManagerSecret,
    SsmParameters,
    WarehouseCredentials,
)
from tests.unit.rights import statements_of

_AIRFLOW = "arn:aws:iam::111111111111:role/airflow"
_ANALYST = "arn:aws:iam::111111111111:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Analyst_0a1b"
_CLUSTER = "arn:aws:ecs:eu-central-1:111111111111:cluster/shared"
_BUCKET = "arn:aws:s3:::artifacts"
_SECRET = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:warehouse-a1B2c3"
_KEY = "arn:aws:kms:eu-central-1:111111111111:key/01234567-89ab-cdef-0123-456789abcdef"


def _task(stack: cdk.Stack, credentials: WarehouseCredentials) -> DbtTask:
    return DbtTask(
        stack,
        "Task",
        family="dev-dbt-shop",
        image=DbtImage(uri="registry.test/dev/dbt/shop:1", tag="1", repository_name="dev/dbt/shop"),
        size=TaskSize(cpu_units=256, memory_mib=512),
        cpu_architecture="arm64",
        deployment={"project": "shop"},
        credentials=credentials,
        lineage=None,
        bucket_arn=_BUCKET,
        project_prefix="shop/",
        log_retention=logs.RetentionDays.ONE_WEEK,
        log_removal_policy=cdk.RemovalPolicy.DESTROY,
        keeps_replaced_revisions=False,
        encryption_key=None,
    )


def _permissions(template: Template, role_id: str) -> set[tuple[str, str]]:
    """The pairs of action and resource that the role's policies allow, references as their last part."""

    def text(resource: object) -> str:
        match resource:
            case {"Fn::GetAtt": [name, "Arn"]}:
                return str(name)
            case {"Ref": name}:
                return str(name)
            case _:
                return str(resource)

    def as_list(value: object) -> list[Any]:
        return value if isinstance(value, list) else [value]

    return {
        (action, text(resource))
        for statement in statements_of(template.to_json()["Resources"], role_id)
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def _statement(template: Template, action: str) -> dict[str, Any]:
    (found,) = (
        statement for statement in statements_of(template.to_json()["Resources"]) if statement["Action"] == action
    )
    statement: dict[str, Any] = found
    return statement


def _role_id(template: Template, part: str) -> str:
    (role_id,) = (name for name in template.find_resources("AWS::IAM::Role") if part in name)
    return role_id


_ARTIFACTS = {
    ("s3:GetObject", f"{_BUCKET}/shop/*"),
    ("s3:PutObject", f"{_BUCKET}/shop/*"),
    ("s3:ListBucket", _BUCKET),
}


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        (
            GlueConnection("warehouse"),
            {
                ("glue:GetConnection", "arn:aws:glue:eu-central-1:111111111111:catalog"),
                ("glue:GetConnection", "arn:aws:glue:eu-central-1:111111111111:connection/warehouse"),
            },
        ),
        (
            GlueConnection("warehouse", secret_arn=_SECRET, kms_key_arn=_KEY),
            {
                ("glue:GetConnection", "arn:aws:glue:eu-central-1:111111111111:catalog"),
                ("glue:GetConnection", "arn:aws:glue:eu-central-1:111111111111:connection/warehouse"),
                ("secretsmanager:GetSecretValue", _SECRET),
                ("kms:Decrypt", _KEY),
            },
        ),
        (SecretsManagerSecret(secret_arn=_SECRET), {("secretsmanager:GetSecretValue", _SECRET)}),
        (
            SecretsManagerSecret(secret_arn=_SECRET, kms_key_arn=_KEY),
            {("secretsmanager:GetSecretValue", _SECRET), ("kms:Decrypt", _KEY)},
        ),
        (
            SsmParameters(path="/dbt/shop/"),
            {
                ("ssm:GetParametersByPath", "arn:aws:ssm:eu-central-1:111111111111:parameter/dbt/shop"),
                ("ssm:GetParametersByPath", "arn:aws:ssm:eu-central-1:111111111111:parameter/dbt/shop/*"),
            },
        ),
        (
            RedshiftIam(host="h", database="shop", cluster_identifier="main", user="dbt"),
            {
                ("redshift:GetClusterCredentials", "arn:aws:redshift:eu-central-1:111111111111:dbname:main/shop"),
                ("redshift:GetClusterCredentials", "arn:aws:redshift:eu-central-1:111111111111:dbuser:main/dbt"),
            },
        ),
        (
            RedshiftIam(host="h", database="shop", cluster_identifier="main"),
            {("redshift:GetClusterCredentialsWithIAM", "arn:aws:redshift:eu-central-1:111111111111:dbname:main/shop")},
        ),
        (
            RedshiftIam(
                host="h",
                database="shop",
                workgroup_name="main",
                workgroup_id="01234567-89ab-cdef-0123-456789abcdef",
            ),
            {
                (
                    "redshift-serverless:GetCredentials",
                    (
                        "arn:aws:redshift-serverless:eu-central-1:111111111111:workgroup/"
                        "01234567-89ab-cdef-0123-456789abcdef"
                    ),
                )
            },
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_task_role_reads_its_own_credentials_and_its_own_prefix(
    stack: cdk.Stack, credentials: WarehouseCredentials, expected: set[tuple[str, str]]
) -> None:
    """Dbt's role reaches one project's credentials and records; it can start nothing and delete nothing."""
    _task(stack, credentials)
    template = Template.from_stack(stack)

    assert _permissions(template, _role_id(template, "TaskRole")) == expected | _ARTIFACTS


def test_listing_is_limited_to_the_projects_prefix(stack: cdk.Stack) -> None:
    """ListBucket is a right on the whole bucket, so its condition names the prefix."""
    _task(stack, GlueConnection("warehouse"))

    assert _statement(Template.from_stack(stack), "s3:ListBucket")["Condition"] == {
        "StringLike": {"s3:prefix": "shop/*"}
    }


def test_execution_role_pulls_and_logs_only(stack: cdk.Stack) -> None:
    """The ECS agent reads no credentials of the warehouse."""
    _task(stack, GlueConnection("warehouse"))
    template = Template.from_stack(stack)

    permissions = _permissions(template, _role_id(template, "ExecutionRole"))
    assert {action for action, _ in permissions} == {
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetAuthorizationToken",
        "ecr:GetDownloadUrlForLayer",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    }
    assert {action for action, resource in permissions if resource == "*"} == {"ecr:GetAuthorizationToken"}


def test_ecs_assumes_the_roles_for_tasks_of_this_account_only(stack: cdk.Stack) -> None:
    """Another account's task cannot make ECS use our roles."""
    _task(stack, GlueConnection("warehouse"))

    Template.from_stack(stack).all_resources_properties(
        "AWS::IAM::Role",
        {
            "AssumeRolePolicyDocument": {
                "Statement": [
                    {
                        "Action": "sts:AssumeRole",
                        "Effect": "Allow",
                        "Principal": {"Service": "ecs-tasks.amazonaws.com"},
                        "Condition": {
                            "StringEquals": {"aws:SourceAccount": "111111111111"},
                            "ArnLike": {"aws:SourceArn": "arn:aws:ecs:eu-central-1:111111111111:*"},
                        },
                    }
                ]
            }
        },
    )


def test_container_runs_as_the_user_of_its_image(stack: cdk.Stack) -> None:
    """The task definition says it too: nothing runs as root, whatever an image says."""
    _task(stack, GlueConnection("warehouse"))

    (task,) = Template.from_stack(stack).find_resources("AWS::ECS::TaskDefinition").values()
    (container,) = task["Properties"]["ContainerDefinitions"]
    dockerfile = (REPOSITORY / "container" / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == [container["User"]]
    assert container["User"].split(":")[0] != "0"


def test_run_does_not_wait_for_its_log(stack: cdk.Stack) -> None:
    """Whatever the account's default is, a run goes on while CloudWatch takes no lines."""
    _task(stack, GlueConnection("warehouse"))

    (task,) = Template.from_stack(stack).find_resources("AWS::ECS::TaskDefinition").values()
    (container,) = task["Properties"]["ContainerDefinitions"]
    options = container["LogConfiguration"]["Options"]
    assert (options["mode"], options["max-buffer-size"]) == ("non-blocking", "25m")


def test_container_has_a_read_only_root_and_one_writable_mount(stack: cdk.Stack) -> None:
    """What a run writes to disk goes to /scratch; a stop gives it the two minutes that Fargate grants at most."""
    _task(stack, GlueConnection("warehouse"))

    (task,) = Template.from_stack(stack).find_resources("AWS::ECS::TaskDefinition").values()
    (container,) = task["Properties"]["ContainerDefinitions"]
    assert container["ReadonlyRootFilesystem"] is True
    assert container["StopTimeout"] == 120
    assert container["MountPoints"] == [{"ContainerPath": "/scratch", "ReadOnly": False, "SourceVolume": "scratch"}]
    assert (task["Properties"]["Cpu"], task["Properties"]["Memory"]) == ("256", "512")
    assert task["Properties"]["RuntimePlatform"] == {"CpuArchitecture": "ARM64", "OperatingSystemFamily": "LINUX"}


@pytest.fixture
def launch_template(stack: cdk.Stack) -> Template:
    """A task and the role that starts it."""
    task = _task(stack, SecretsManagerSecret(secret_arn=_SECRET))
    LaunchRole(
        stack,
        "LaunchRole",
        assumed_by_role_arns=[_AIRFLOW, _ANALYST],
        cluster=Cluster("shared", _CLUSTER),
        family="dev-dbt-shop",
        passed_role_arns=task.role_arns,
        bucket_arn=_BUCKET,
        project_prefix="shop/",
        encryption_key=None,
        notifies=[],
    )
    return Template.from_stack(stack)


def test_launch_role_runs_one_family_on_one_cluster_and_reads_no_credentials(launch_template: Template) -> None:
    """Airflow starts, watches and stops this project's tasks, and reads this project's records."""
    tasks = "arn:aws:ecs:eu-central-1:111111111111:task/shared/*"

    assert _permissions(launch_template, _role_id(launch_template, "LaunchRole")) == {
        ("ecs:RunTask", "arn:aws:ecs:eu-central-1:111111111111:task-definition/dev-dbt-shop:*"),
        ("ecs:DescribeTasks", tasks),
        ("ecs:StopTask", tasks),
        ("ecs:TagResource", tasks),
        ("ecs:ListTasks", "*"),
        ("iam:PassRole", _role_id(launch_template, "TaskRole")),
        ("iam:PassRole", _role_id(launch_template, "ExecutionRole")),
        ("s3:GetObject", f"{_BUCKET}/shop/*"),
        ("s3:PutObject", f"{_BUCKET}/shop/runs/*/spec.json"),
        ("s3:ListBucket", _BUCKET),
    }


@pytest.mark.parametrize(
    ("action", "condition"),
    [
        ("ecs:RunTask", {"ArnEquals": {"ecs:cluster": _CLUSTER}}),
        ("ecs:ListTasks", {"ArnEquals": {"ecs:cluster": _CLUSTER}}),
        ("iam:PassRole", {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}),
    ],
)
def test_launch_role_is_held_to_its_cluster_and_to_ecs(
    launch_template: Template, action: str, condition: dict[str, Any]
) -> None:
    """Rights whose resources say too little are held by conditions."""
    assert _statement(launch_template, action)["Condition"] == condition


def test_launch_role_is_assumed_by_whom_the_settings_name_only(launch_template: Template) -> None:
    """Airflow and the named people; no service and no other role of the account may start runs with it."""
    role = launch_template.find_resources("AWS::IAM::Role")[_role_id(launch_template, "LaunchRole")]

    (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert (statement["Action"], statement["Principal"]) == ("sts:AssumeRole", {"AWS": [_AIRFLOW, _ANALYST]})
