"""
Each patch of the emulator: what it promises, and that the stock emulator still lacks it.

Most tests compare one observation of both emulators. When the stock one learns the right answer, the test fails and the patch can go.
"""

import base64
import functools
import io
import json
import re
import subprocess
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local_cloud.emulators import ACCOUNT, REGION, REPO_ROOT, Aws

RoleMaker = Callable[..., str]
"""Makes a role in an emulator; see the fixture `role`."""


def deploy(
    where: Aws, name: str, resources: Mapping[str, object], outputs: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """Create a stack and return its status, why it failed if it did, and its outputs."""
    cloudformation = where.client("cloudformation")
    template: dict[str, Any] = {"Resources": resources}
    if outputs:
        template["Outputs"] = {key: {"Value": value} for key, value in outputs.items()}
    try:
        cloudformation.create_stack(
            StackName=name, TemplateBody=json.dumps(template), OnFailure="DO_NOTHING", Capabilities=["CAPABILITY_IAM"]
        )
    except ClientError as error:
        return {"status": error.response["Error"]["Message"]}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            return {
                "status": stack["StackStatus"],
                **{output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])},
            }
        time.sleep(0.05)
    raise AssertionError(f"stack {name} did not come to an end")


def refusal(call: Callable[[], object]) -> str:
    """The code of the error that a call ends with, or "allowed"."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "allowed"


def test_reference_to_a_secret_is_its_arn(aws: Aws, stock: Aws, unique: str) -> None:
    """`Ref` of a secret can be used as an ARN in a policy of the same template."""

    def reference(where: Aws) -> str:
        secret = {"Type": "AWS::SecretsManager::Secret", "Properties": {"Name": unique, "SecretString": "x"}}
        return str(deploy(where, unique, {"S": secret}, {"Ref": {"Ref": "S"}})["Ref"])

    assert (reference(aws).startswith("arn:aws:secretsmanager:"), reference(stock).startswith("arn:")) == (True, False)


def test_task_definition_of_a_template_is_complete(aws: Aws, stock: Aws, unique: str) -> None:
    """Secrets, volumes and ephemeral storage of a container definition arrive in ECS under the names of its API."""

    def described(where: Aws) -> tuple[bool, bool, bool]:
        properties = {
            "Family": unique,
            "Cpu": "256",
            "Memory": "512",
            "NetworkMode": "awsvpc",
            "RequiresCompatibilities": ["FARGATE"],
            "EphemeralStorage": {"SizeInGiB": 30},
            "Volumes": [{"Name": "scratch"}],
            "ContainerDefinitions": [
                {
                    "Name": "dbt",
                    "Image": "x",
                    "Secrets": [{"Name": "PASSWORD", "ValueFrom": "arn:aws:ssm:eu-west-1:1:parameter/p"}],
                    "MountPoints": [{"SourceVolume": "scratch", "ContainerPath": "/scratch"}],
                }
            ],
        }
        deploy(where, unique, {"T": {"Type": "AWS::ECS::TaskDefinition", "Properties": properties}})
        definition = where.client("ecs").describe_task_definition(taskDefinition=unique)["taskDefinition"]
        secrets = definition["containerDefinitions"][0].get("secrets")
        return (
            secrets == [{"name": "PASSWORD", "valueFrom": "arn:aws:ssm:eu-west-1:1:parameter/p"}],
            definition["volumes"] == [{"name": "scratch"}],
            definition.get("ephemeralStorage") == {"sizeInGiB": 30},
        )

    assert (described(aws), described(stock)) == ((True, True, True), (False, False, False))


def test_missing_image_is_an_error(aws: Aws, stock: Aws, unique: str) -> None:
    """The CDK CLI builds an image only when DescribeImages says that it is not there."""

    def answer(where: Aws) -> str:
        ecr = where.client("ecr")
        ecr.create_repository(repositoryName=unique)
        return refusal(lambda: ecr.describe_images(repositoryName=unique, imageIds=[{"imageTag": "none"}]))

    assert (answer(aws), answer(stock)) == ("ImageNotFoundException", "allowed")


def test_vpc_tells_its_cidr_block(aws: Aws, stock: Aws, unique: str) -> None:
    """CDK's interface endpoints let in what comes from the VPC's own addresses."""

    def block(where: Aws) -> object:
        vpc = {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.7.0.0/16"}}
        group = {
            "Type": "AWS::EC2::SecurityGroup",
            "Properties": {"GroupDescription": {"Fn::GetAtt": ["V", "CidrBlock"]}, "VpcId": {"Ref": "V"}},
        }
        return deploy(where, unique, {"V": vpc, "G": group})["status"]

    assert (block(aws), block(stock)) == ("CREATE_COMPLETE", "CREATE_FAILED")


@pytest.mark.parametrize(
    ("resource_type", "properties"),
    [
        (
            "AWS::EC2::FlowLog",
            {"ResourceId": {"Ref": "V"}, "ResourceType": "VPC", "TrafficType": "ALL", "LogGroupName": "flow"},
        ),
        (
            "AWS::EC2::SecurityGroupIngress",
            {
                "GroupId": {"Ref": "G"},
                "IpProtocol": "tcp",
                "FromPort": 443,
                "ToPort": 443,
                "SourceSecurityGroupId": {"Ref": "G"},
            },
        ),
        (
            "AWS::EC2::SecurityGroupEgress",
            {"GroupId": {"Ref": "G"}, "IpProtocol": "tcp", "FromPort": 5439, "ToPort": 5439, "CidrIp": "10.0.0.0/8"},
        ),
        (
            "AWS::ECS::ClusterCapacityProviderAssociations",
            {"Cluster": {"Ref": "C"}, "CapacityProviders": ["FARGATE_SPOT"], "DefaultCapacityProviderStrategy": []},
        ),
        ("AWS::IAM::OIDCProvider", {"Url": "https://token.example.com", "ClientIdList": ["sts.amazonaws.com"]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_templates_may_have_more_types(
    aws: Aws, stock: Aws, unique: str, resource_type: str, properties: dict[str, object]
) -> None:
    """Types that CDK's constructs make, and that the stock emulator refuses, can be made and deleted."""
    resources = {
        "V": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
        "G": {"Type": "AWS::EC2::SecurityGroup", "Properties": {"GroupDescription": "x", "VpcId": {"Ref": "V"}}},
        "C": {"Type": "AWS::ECS::Cluster", "Properties": {"ClusterName": unique}},
        "X": {"Type": resource_type, "Properties": properties},
    }
    cloudformation = aws.client("cloudformation")

    created = deploy(aws, unique, resources)["status"]
    cloudformation.delete_stack(StackName=unique)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})

    assert (created, resource_type in deploy(stock, unique, resources)["status"]) == ("CREATE_COMPLETE", True)


def test_bucket_deployment_fills_and_prunes(aws: Aws, stock: Aws, unique: str, role: RoleMaker) -> None:
    """Files arrive with deploy-time values filled in, what is no longer deployed goes, and the function need not run for it."""
    bucket = f"arn:aws:s3:::{unique}"
    grants = (
        {"Action": "s3:GetObject", "Resource": f"{bucket}-from/asset.zip"},
        {"Action": ["s3:PutObject", "s3:DeleteObject"], "Resource": f"{bucket}-to/dags/*"},
        {"Action": "s3:ListBucket", "Resource": f"{bucket}-to"},
    )

    def deployed(where: Aws) -> object:
        s3 = where.client("s3")
        for bucket in (f"{unique}-from", f"{unique}-to"):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("a.json", '{"cluster": "<<marker:1>>"}')
        s3.put_object(Bucket=f"{unique}-from", Key="asset.zip", Body=packed.getvalue())
        s3.put_object(Bucket=f"{unique}-to", Key="dags/old.json", Body=b"")
        s3.put_object(Bucket=f"{unique}-to", Key="other/kept.json", Body=b"")
        properties = {
            # The stock emulator would wait for the function's answer for minutes.
            "ServiceToken": function(where, role(where, *grants, trusts="lambda.amazonaws.com"))
            if where is aws
            else f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:none",
            "SourceBucketNames": [f"{unique}-from"],
            "SourceObjectKeys": ["asset.zip"],
            "SourceMarkers": [{"<<marker:1>>": 'the "main" one'}],
            "SourceMarkersConfig": [{"jsonEscape": True}],
            "SystemMetadata": {"cache-control": "no-cache"},
            "DestinationBucketName": f"{unique}-to",
            "DestinationBucketKeyPrefix": "dags",
            "Prune": True,
        }
        status = deploy(where, unique, {"D": {"Type": "Custom::CDKBucketDeployment", "Properties": properties}})[
            "status"
        ]
        if status != "CREATE_COMPLETE":
            return status
        keys = [found["Key"] for found in s3.list_objects_v2(Bucket=f"{unique}-to")["Contents"]]
        found = s3.get_object(Bucket=f"{unique}-to", Key="dags/a.json")
        return keys, json.load(found["Body"]), found["CacheControl"], found["ContentType"]

    files = ["dags/a.json", "other/kept.json"]
    expected = (files, {"cluster": 'the "main" one'}, "no-cache", "application/json")
    assert (expected, "CREATE_FAILED") == (deployed(aws), deployed(stock))


@pytest.mark.parametrize(
    ("granted", "limit"), [("s3:GetObject", "*"), ("*", "s3:GetObject")], ids=["policy", "boundary"]
)
def test_rejects_a_deployment_that_its_functions_role_may_not_do(
    aws: Aws, unique: str, role: RoleMaker, granted: str, limit: str
) -> None:
    """A bucket deployment does what both the policies and the boundary of its function's role allow, and no more."""
    for name in ("from", "to"):
        aws.client("s3").create_bucket(
            Bucket=f"{unique}-{name}", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.json", "{}")
    aws.client("s3").put_object(Bucket=f"{unique}-from", Key="asset.zip", Body=packed.getvalue())
    role_arn = role(aws, {"Action": granted, "Resource": "*"}, trusts="lambda.amazonaws.com")
    aws.client("iam").put_role_permissions_boundary(
        RoleName=role_arn.rpartition("/")[2], PermissionsBoundary=policy(aws, unique, {"Action": limit})
    )
    properties = {
        "ServiceToken": function(aws, role_arn),
        "SourceBucketNames": [f"{unique}-from"],
        "SourceObjectKeys": ["asset.zip"],
        "DestinationBucketName": f"{unique}-to",
    }

    answer = deploy(aws, unique, {"D": {"Type": "Custom::CDKBucketDeployment", "Properties": properties}})

    assert answer["status"] == "CREATE_FAILED"


def policy(where: Aws, name: str, *statements: Mapping[str, object]) -> str:
    """A managed policy that allows the actions of `statements`, or denies those that say so; returns its ARN."""
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Resource": "*", **statement} for statement in statements],
    }
    made = where.client("iam").create_policy(PolicyName=name, PolicyDocument=json.dumps(document))
    return str(made["Policy"]["Arn"])


def function(where: Aws, role_arn: str) -> str:
    """A function that never runs, with this role; returns its ARN."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", "")
    made = where.client("lambda").create_function(
        FunctionName=role_arn.rpartition("/")[2],
        Runtime="python3.13",
        Handler="index.handler",
        Role=role_arn,
        Code={"ZipFile": packed.getvalue()},
    )
    return str(made["FunctionArn"])


@pytest.mark.parametrize(
    ("granted", "expected"),
    [
        (["ecr:GetAuthorizationToken", "ecr:InitiateLayerUpload"], "202, stock 202"),
        (["ecr:GetAuthorizationToken"], "403, stock 202"),
    ],
)
def test_docker_protocol_is_authorized(
    aws: Aws, stock: Aws, unique: str, role: RoleMaker, granted: list[str], expected: str
) -> None:
    """A push needs the permissions of the one who asked for the password that it is made with."""

    def start_upload(where: Aws) -> int:
        where.client("ecr").create_repository(repositoryName=unique)
        pusher = where.assume(role(where, {"Action": granted, "Resource": "*"}))
        token = pusher.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
        return upload_status(where, unique, f"Basic {token}")

    assert f"{start_upload(aws)}, stock {start_upload(stock)}" == expected


def test_rejects_a_push_without_a_password(aws: Aws, unique: str) -> None:
    """Nobody writes into the registry without a name, or with a password that the registry did not give."""
    aws.client("ecr").create_repository(repositoryName=unique)
    guessed = base64.b64encode(b"AWS:guessed").decode()

    assert (upload_status(aws, unique, None), upload_status(aws, unique, f"Basic {guessed}")) == (401, 403)


def upload_status(where: Aws, repository: str, authorization: str | None) -> int:
    """The status of the answer to the first request of a push."""
    request = urllib.request.Request(  # noqa: S310 -- an http address on loopback
        f"{where.endpoint_url}/v2/{repository}/blobs/uploads/",
        method="POST",
        data=b"",
        headers={"Authorization": authorization} if authorization else {},
    )
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 -- see above
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_bucket_that_deletes_its_objects_is_emptied(aws: Aws, unique: str) -> None:
    """A versioned bucket with objects goes with its stack when the template says so."""
    cloudformation, s3 = aws.client("cloudformation"), aws.client("s3")
    resources = {
        "B": {
            "Type": "AWS::S3::Bucket",
            "Properties": {"BucketName": unique, "VersioningConfiguration": {"Status": "Enabled"}},
        },
        "E": {
            "Type": "Custom::S3AutoDeleteObjects",
            "Properties": {"ServiceToken": "none", "BucketName": {"Ref": "B"}},
        },
    }
    deploy(aws, unique, resources)
    for body in (b"1", b"2"):
        s3.put_object(Bucket=unique, Key="k", Body=body)

    cloudformation.delete_stack(StackName=unique)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})

    assert unique not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}


def test_schedule_of_a_template_keeps_network_and_time_zone(aws: Aws, stock: Aws, unique: str) -> None:
    """A schedule that starts a task is the same whether a template or the API has made it."""

    def described(where: Aws) -> tuple[bool, str | None]:
        properties = {
            "Name": unique,
            "ScheduleExpression": "cron(0 5 * * ? *)",
            "ScheduleExpressionTimezone": "Europe/Berlin",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/c",
                "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r",
                "EcsParameters": {
                    "TaskDefinitionArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/f:1",
                    "NetworkConfiguration": {"AwsvpcConfiguration": {"Subnets": ["subnet-1"]}},
                },
            },
        }
        deploy(where, unique, {"S": {"Type": "AWS::Scheduler::Schedule", "Properties": properties}})
        schedule = where.client("scheduler").get_schedule(Name=unique)
        network = schedule["Target"]["EcsParameters"]["NetworkConfiguration"]
        return "awsvpcConfiguration" in network, schedule.get("ScheduleExpressionTimezone")

    right, wrong = described(aws), described(stock)

    assert (right, wrong[0]) == ((True, "Europe/Berlin"), False)


def test_plain_http_on_loopback_counts_as_tls(aws: Aws, stock: Aws, unique: str, role: RoleMaker) -> None:
    """A bucket that denies what comes without TLS can be used, as on AWS where everything comes with it."""

    def put(where: Aws) -> str:
        where.client("s3").create_bucket(Bucket=unique, CreateBucketConfiguration={"LocationConstraint": REGION})
        arn = f"arn:aws:s3:::{unique}"
        policy = {
            "Version": "2012-10-17",
            "Statement": {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
        }
        where.client("s3").put_bucket_policy(Bucket=unique, Policy=json.dumps(policy))
        writer = where.assume(role(where, {"Action": "s3:PutObject", "Resource": f"{arn}/*"}))
        return refusal(lambda: writer.client("s3").put_object(Bucket=unique, Key="k", Body=b""))

    assert (put(aws), put(stock)) == ("allowed", "AccessDenied")


def test_every_decision_is_recorded(aws: Aws, unique: str, role: RoleMaker) -> None:
    """The log tells who asked for what, on which resource, and what the answer was."""
    aws.client("s3").create_bucket(Bucket=unique, CreateBucketConfiguration={"LocationConstraint": REGION})
    arn = f"arn:aws:s3:::{unique}"
    writer = aws.assume(role(aws, {"Action": "s3:PutObject", "Resource": f"{arn}/mine/*"}, name="writer"))
    for key in ("mine/1", "other/1"):
        refusal(functools.partial(writer.client("s3").put_object, Bucket=unique, Key=key, Body=b""))
    assert aws.iam_log is not None
    lines = [json.loads(line) for line in aws.iam_log.read_text().splitlines()]
    mine = [line for line in lines if line["principal"].endswith(f"{unique}-writer/test")]

    assert [
        {"action": "s3:PutObject", "resource": f"{arn}/mine/1", "decision": "Allow"},
        {"action": "s3:PutObject", "resource": f"{arn}/other/1", "decision": "ImplicitDeny"},
    ] == [{key: line[key] for key in ("action", "resource", "decision")} for line in mine]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["t"]) for line in mine)


def test_trust_policy_that_names_the_caller_is_enough(aws: Aws, stock: Aws, unique: str, role: RoleMaker) -> None:
    """Within one account a role may be assumed by whom its trust policy names, without a policy of the caller."""

    def assume(where: Aws) -> str:
        caller = role(where, name="caller")
        trust = {
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Principal": {"AWS": caller}, "Action": "sts:AssumeRole"},
        }
        where.client("iam").create_role(RoleName=f"{unique}-wanted", AssumeRolePolicyDocument=json.dumps(trust))
        return refusal(lambda: where.assume(caller).assume(f"arn:aws:iam::{ACCOUNT}:role/{unique}-wanted"))

    assert (assume(aws), assume(stock)) == ("allowed", "AccessDenied")


def test_rejects_a_role_that_the_trust_policy_does_not_name(aws: Aws, unique: str, role: RoleMaker) -> None:
    """The account as principal leaves it to the policies of the caller."""
    caller, wanted = role(aws), role(aws)

    assert refusal(lambda: aws.assume(caller).assume(wanted)) == "AccessDenied"


def limited_role(boundary_arn: str | None) -> dict[str, object]:
    """A template's role that the account may assume and that may do everything within its boundary."""
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    properties = {
        "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
        "Policies": [
            {"PolicyName": "all", "PolicyDocument": {"Version": "2012-10-17", "Statement": [everything]}},
        ],
        **({"PermissionsBoundary": boundary_arn} if boundary_arn else {}),
    }
    return {"Type": "AWS::IAM::Role", "Properties": properties}


def test_boundary_limits_a_role_of_a_template(aws: Aws, stock: Aws, unique: str) -> None:
    """What the boundary denies, or does not allow, is refused though the role's policy grants it."""

    def observe(where: Aws) -> dict[str, str]:
        where.client("s3").create_bucket(Bucket=unique, CreateBucketConfiguration={"LocationConstraint": REGION})
        denies = policy(where, f"{unique}-1", {"Action": "*"}, {"Effect": "Deny", "Action": "s3:PutObject"})
        lacks = policy(where, f"{unique}-2", {"Action": "s3:GetObject"})
        boundaries = {"Denied": denies, "Lacking": lacks, "Free": None}
        made = deploy(
            where,
            unique,
            {name: limited_role(arn) for name, arn in boundaries.items()},
            {name: {"Fn::GetAtt": [name, "Arn"]} for name in boundaries},
        )
        clients = {name: where.assume(made[name]).client("s3") for name in boundaries}
        return {
            name: refusal(functools.partial(s3.put_object, Bucket=unique, Key="k", Body=b""))
            for name, s3 in clients.items()
        }

    assert observe(aws) == {"Denied": "AccessDenied", "Lacking": "AccessDenied", "Free": "allowed"}
    assert observe(stock) == {"Denied": "allowed", "Lacking": "allowed", "Free": "allowed"}


def test_update_of_a_template_changes_a_boundary(aws: Aws, unique: str) -> None:
    """A boundary that a template names later limits the role, and one that it no longer names does not."""
    aws.client("s3").create_bucket(Bucket=unique, CreateBucketConfiguration={"LocationConstraint": REGION})
    boundary = policy(aws, unique, {"Action": "s3:GetObject"})
    arn = deploy(aws, unique, {"R": limited_role(None)}, {"R": {"Fn::GetAtt": ["R", "Arn"]}})["R"]
    cloudformation = aws.client("cloudformation")
    answers = []
    for named in (boundary, None):
        template = json.dumps({"Resources": {"R": limited_role(named)}})
        cloudformation.update_stack(StackName=unique, TemplateBody=template, Capabilities=["CAPABILITY_IAM"])
        cloudformation.get_waiter("stack_update_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})
        s3 = aws.assume(arn).client("s3")
        answers.append(refusal(functools.partial(s3.put_object, Bucket=unique, Key="k", Body=b"")))

    assert answers == ["AccessDenied", "allowed"]


def test_rejects_a_boundary_that_does_not_exist(aws: Aws, unique: str) -> None:
    """A role cannot be made within a policy that nobody has made."""
    answer = deploy(aws, unique, {"R": limited_role(f"arn:aws:iam::{ACCOUNT}:policy/{unique}")})

    assert answer["status"] == "CREATE_FAILED"


@pytest.mark.parametrize(
    ("action", "resource", "call"),
    [
        ("glue:GetConnection", ["catalog", "connection/{name}"], lambda a, n: a.client("glue").get_connection(Name=n)),
        (
            "logs:GetLogEvents",
            "log-group:{name}:log-stream:s",
            lambda a, n: a.client("logs").get_log_events(logGroupName=n, logStreamName="s"),
        ),
        ("logs:FilterLogEvents", "log-group:{name}:*", lambda a, n: a.client("logs").filter_log_events(logGroupName=n)),
        (
            "ecr:DescribeRepositories",
            "repository/{name}",
            lambda a, n: a.client("ecr").describe_repositories(repositoryNames=[n]),
        ),
        ("ecs:DescribeTaskDefinition", "*", lambda a, n: a.client("ecs").describe_task_definition(taskDefinition=n)),
    ],
    ids=["glue", "log stream", "log group", "ecr", "task definition"],
)
def test_actions_are_authorized_on_the_resources_of_aws(
    aws: Aws,
    stock: Aws,
    unique: str,
    role: RoleMaker,
    action: str,
    resource: str | list[str],
    call: Callable[[Aws, str], object],
) -> None:
    """A policy that names exactly the resource of the Service Authorization Reference is enough, and the stock one refuses it."""

    def answer(where: Aws) -> str:
        service = action.partition(":")[0]
        where.client("logs").create_log_group(logGroupName=unique)
        where.client("logs").create_log_stream(logGroupName=unique, logStreamName="s")
        where.client("ecr").create_repository(repositoryName=unique)
        where.client("glue").create_connection(
            ConnectionInput={"Name": unique, "ConnectionType": "JDBC", "ConnectionProperties": {}}
        )
        where.client("ecs").register_task_definition(family=unique, containerDefinitions=[{"name": "c", "image": "x"}])
        names = [resource] if isinstance(resource, str) else resource
        arns = [n if n == "*" else f"arn:aws:{service}:{REGION}:{ACCOUNT}:{n.format(name=unique)}" for n in names]
        return refusal(lambda: call(where.assume(role(where, {"Action": action, "Resource": arns})), unique))

    # None of the task definition's actions has resources, so "*" is right in both.
    right_in_stock = action == "ecs:DescribeTaskDefinition"
    assert ("allowed", right_in_stock) == (answer(aws), answer(stock) == "allowed")


def test_rejects_a_connection_without_its_catalog(aws: Aws, unique: str, role: RoleMaker) -> None:
    """`glue:GetConnection` needs the catalog and the connection, and one of them alone is refused."""
    prefix = f"arn:aws:glue:{REGION}:{ACCOUNT}"
    readers = [
        aws.assume(role(aws, {"Action": "glue:GetConnection", "Resource": f"{prefix}:{resource}"})).client("glue")
        for resource in ("catalog", f"connection/{unique}")
    ]

    assert [refusal(functools.partial(reader.get_connection, Name=unique)) for reader in readers] == [
        "AccessDeniedException"
    ] * 2


def test_metric_filter_counts_matching_lines(aws: Aws, stock: Aws, unique: str) -> None:
    """A line that matches becomes a datum of the metric, so that an alarm on it can ring."""

    def metrics(where: Aws) -> int:
        logs = where.client("logs")
        logs.create_log_group(logGroupName=unique)
        logs.create_log_stream(logGroupName=unique, logStreamName="s")
        transformation = {"metricName": "errors", "metricNamespace": unique, "metricValue": "1"}
        logs.put_metric_filter(
            logGroupName=unique, filterName="f", filterPattern="ERROR -ignored", metricTransformations=[transformation]
        )
        now = int(time.time() * 1000)
        messages = ("an ERROR", "ERROR ignored", "fine", "ERROR again")
        logs.put_log_events(
            logGroupName=unique,
            logStreamName="s",
            logEvents=[{"timestamp": now, "message": message} for message in messages],
        )
        counted = where.client("cloudwatch").get_metric_statistics(
            Namespace=unique,
            MetricName="errors",
            StartTime=time.time() - 60,
            EndTime=time.time() + 60,
            Period=3600,
            Statistics=["Sum"],
        )
        return int(sum(point["Sum"] for point in counted["Datapoints"]))

    assert (metrics(aws), metrics(stock)) == (2, 0)


def test_object_is_created_once(aws: Aws, unique: str) -> None:
    """`If-None-Match: *` makes the second writer of a key fail, which keeps attempts of a run apart."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=unique, CreateBucketConfiguration={"LocationConstraint": REGION})
    answers = [refusal(lambda: s3.put_object(Bucket=unique, Key="k", Body=b"", IfNoneMatch="*")) for _ in range(2)]

    assert answers == ["allowed", "PreconditionFailed"]


def test_patch_notices_that_the_emulator_has_changed(emulator_python: Path) -> None:
    """A patch that no longer fits stops the emulator's start instead of doing nothing."""
    program = (
        "from types import SimpleNamespace\n"
        "from local_cloud.emulator.patches.stock import StockEmulatorChangedError, replace\n"
        "owner = SimpleNamespace(__name__='owner', changed=lambda new_name: None)\n"
        "for name in ('changed', 'gone'):\n"
        "    try:\n"
        "        replace(owner, name, 'old_name', by=lambda stock: stock)\n"
        "    except StockEmulatorChangedError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([emulator_python, "-c", program], cwd=REPO_ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == [
        "owner.changed takes ('new_name',) now, this patch was written for ('old_name',)",
        "the emulator has no owner.gone any more",
    ]


def test_log_line_in_the_embedded_format_is_a_metric(aws: Aws, stock: Aws, unique: str) -> None:
    """Containers and functions write their metrics into their logs, with no call and no permission."""

    def seen(where: Aws) -> list[float]:
        logs = where.client("logs")
        logs.create_log_group(logGroupName=unique)
        logs.create_log_stream(logGroupName=unique, logStreamName="s")
        now = int(time.time() * 1000)
        directive = {"Namespace": unique, "Dimensions": [["project"]], "Metrics": [{"Name": "Runs", "Unit": "Count"}]}
        line = {"_aws": {"Timestamp": now, "CloudWatchMetrics": [directive]}, "project": "shop", "Runs": 3}
        messages = [json.dumps(line), 'not json, but "_aws"']
        events = [{"timestamp": now, "message": message} for message in messages]
        logs.put_log_events(logGroupName=unique, logStreamName="s", logEvents=events)
        answer = where.client("cloudwatch").get_metric_statistics(
            Namespace=unique,
            MetricName="Runs",
            Dimensions=[{"Name": "project", "Value": "shop"}],
            StartTime=time.time() - 600,
            EndTime=time.time() + 60,
            Period=3600,
            Statistics=["Sum"],
        )
        return [point["Sum"] for point in answer["Datapoints"]]

    assert (seen(aws), seen(stock)) == ([3.0], [])


def test_alarm_looks_at_its_own_dimensions_and_ends(aws: Aws, stock: Aws, unique: str) -> None:
    """One project's number rings no other project's alarm, and an alarm ends when no more is counted."""

    def put(where: Aws, project: str, timestamp: float) -> None:
        datum = {"MetricName": "Orphans", "Value": 1, "Timestamp": timestamp}
        where.client("cloudwatch").put_metric_data(
            Namespace=unique, MetricData=[{**datum, "Dimensions": [{"Name": "project", "Value": project}]}]
        )

    def states(where: Aws) -> dict[str, str]:
        described = where.client("cloudwatch").describe_alarms(AlarmNamePrefix=unique)["MetricAlarms"]
        return {alarm["AlarmName"].removeprefix(unique): alarm["StateValue"] for alarm in described}

    def observe(where: Aws) -> tuple[dict[str, str], dict[str, str]]:
        for project in ("shop", "other"):
            where.client("cloudwatch").put_metric_alarm(
                AlarmName=f"{unique}{project}",
                Namespace=unique,
                MetricName="Orphans",
                Dimensions=[{"Name": "project", "Value": project}],
                Statistic="Maximum",
                Period=10,
                EvaluationPeriods=1,
                Threshold=0,
                ComparisonOperator="GreaterThanThreshold",
                TreatMissingData="notBreaching",
            )
        # What is five seconds old is out of the period of ten in another five.
        put(where, "shop", time.time() - 5)
        ringing = states(where)
        deadline = time.monotonic() + 20
        while states(where)["shop"] != "OK" and where is aws and time.monotonic() < deadline:
            time.sleep(0.2)
        return ringing, states(where)

    assert observe(aws) == ({"shop": "ALARM", "other": "OK"}, {"shop": "OK", "other": "OK"})
    assert observe(stock) == ({"shop": "ALARM", "other": "ALARM"}, {"shop": "ALARM", "other": "ALARM"})


def test_schedule_acts_as_its_role_and_knows_its_time(aws: Aws, stock: Aws, role: RoleMaker, unique: str) -> None:
    """A schedule's placeholder is filled in, its role is asked, and what that role may not deliver is a dead letter."""

    def observe(where: Aws) -> tuple[bool, list[str]]:
        sqs, scheduler = where.client("sqs"), where.client("scheduler")
        names = (f"{unique}-open", f"{unique}-closed", f"{unique}-dead")
        urls = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in names}
        arns = {name: f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}" for name in names}
        may_send = {"Action": "sqs:SendMessage", "Resource": [arns[names[0]], arns[names[2]]]}
        role_arn = role(where, may_send, trusts="scheduler.amazonaws.com")
        for name in names[:2]:
            scheduler.create_schedule(
                Name=name,
                ScheduleExpression="at(2026-01-01T00:00:00)",
                FlexibleTimeWindow={"Mode": "OFF"},
                Target={
                    "Arn": arns[name],
                    "RoleArn": role_arn,
                    "Input": json.dumps({"queue": name, "at": "<aws.scheduler.scheduled-time>"}),
                    "DeadLetterConfig": {"Arn": arns[names[2]]},
                },
            )
        got: dict[str, str] = {}
        deadline = time.monotonic() + 30
        while len(got) < 2 and time.monotonic() < deadline:
            for name, url in urls.items():
                for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", []):
                    got[name] = message["Body"]
        filled = all(re.fullmatch(r"20\d\d-.*Z", json.loads(body)["at"]) for body in got.values())
        return filled, sorted(name.removeprefix(unique) for name in got)

    assert (observe(aws), observe(stock)) == ((True, ["-dead", "-open"]), (False, ["-closed", "-open"]))


def test_function_has_the_sdk_and_the_credentials_of_its_role(aws: Aws, role: RoleMaker, unique: str) -> None:
    """Lambda's Python has boto3, and what a function may is what its role may."""
    code = "import boto3\ndef handler(event, context):\n    return boto3.client('sts').get_caller_identity()['Arn']\n"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("index.py", code)
    role_arn = role(aws, trusts="lambda.amazonaws.com")
    functions = aws.client("lambda")
    functions.create_function(
        FunctionName=unique,
        Runtime="python3.14",
        Role=role_arn,
        Handler="index.handler",
        Code={"ZipFile": archive.getvalue()},
        Timeout=30,
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=unique)

    answer = functions.invoke(FunctionName=unique)["Payload"].read().decode()

    assert f"assumed-role/{role_arn.rpartition('/')[2]}/{unique}" in answer


@pytest.mark.parametrize(
    ("condition", "heard"),
    [({}, ["topic"]), ({"Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}}}, ["dead"])],
    ids=str,
)
def test_rule_publishes_where_the_topics_policy_lets_eventbridge(
    aws: Aws, stock: Aws, unique: str, condition: dict[str, object], heard: list[str]
) -> None:
    """
    A condition on EventBridge holds never: an alert is not published, as on AWS, and lies where its rule's dead letters go.

    The stock emulator asks no policy.
    """

    def told(where: Aws) -> list[str]:
        name = f"{unique}-{heard[0]}"
        topic_arn = where.client("sns").create_topic(Name=name)["TopicArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic_arn,
            **condition,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        where.client("sns").set_topic_attributes(TopicArn=topic_arn, AttributeName="Policy", AttributeValue=policy)
        queues = {"topic": _queue_that_takes(where, name, "*", {}), "dead": "", "closed": ""}
        rule_arn = where.client("events").put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))["RuleArn"]
        events = {"Service": "events.amazonaws.com"}
        for dead, source_arn in {"dead": rule_arn, "closed": f"{rule_arn}-of-another"}.items():
            condition_of_queue = {"Condition": {"ArnLike": {"aws:SourceArn": source_arn}}}
            queues[dead] = _queue_that_takes(where, f"{name}-{dead}", events, condition_of_queue)
        where.client("sns").subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=_queue_arn(where, queues["topic"]))
        targets = [{"Id": "1", "Arn": topic_arn, "DeadLetterConfig": {"Arn": _queue_arn(where, queues["dead"])}}]
        if heard == ["dead"]:
            closed = {"Arn": _queue_arn(where, queues["closed"])}
            targets.append({"Id": "2", "Arn": topic_arn, "DeadLetterConfig": closed})
        where.client("events").put_targets(Rule=name, Targets=targets)
        where.client("events").put_events(Entries=[{"Source": name, "DetailType": "d", "Detail": "{}"}])
        where.client("sqs").receive_message(QueueUrl=queues[heard[0]], VisibilityTimeout=0, WaitTimeSeconds=2)
        return [
            name_of_queue
            for name_of_queue, queue_url in queues.items()
            if where.client("sqs").receive_message(QueueUrl=queue_url).get("Messages")
        ]

    assert (told(aws), told(stock)) == (heard, ["topic"])


def _queue_that_takes(where: Aws, name: str, principal: object, condition: Mapping[str, object]) -> str:
    """The URL of a queue whose policy lets `principal` send."""
    queue_url: str = where.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    send = {
        "Effect": "Allow",
        "Principal": principal,
        "Action": "sqs:SendMessage",
        "Resource": _queue_arn(where, queue_url),
        **condition,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [send]})
    where.client("sqs").set_queue_attributes(QueueUrl=queue_url, Attributes={"Policy": policy})
    return queue_url


def _queue_arn(where: Aws, queue_url: str) -> str:
    arn: str = where.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    return arn


def test_queue_tells_how_many_messages_wait(aws: Aws, stock: Aws, unique: str) -> None:
    """An alarm on a queue of dead letters can ring."""

    def most(where: Aws, *, within_seconds: float) -> float:
        queue_url = where.client("sqs").create_queue(QueueName=unique)["QueueUrl"]
        where.client("sqs").send_message(QueueUrl=queue_url, MessageBody="m")
        deadline = time.monotonic() + within_seconds
        counted: float = 0
        while not counted and time.monotonic() < deadline:
            time.sleep(0.5)
            points = where.client("cloudwatch").get_metric_statistics(
                Namespace="AWS/SQS",
                MetricName="ApproximateNumberOfMessagesVisible",
                Dimensions=[{"Name": "QueueName", "Value": unique}],
                StartTime=time.time() - 60,
                EndTime=time.time() + 60,
                Period=3600,
                Statistics=["Maximum"],
            )["Datapoints"]
            counted = max((point["Maximum"] for point in points), default=0)
        return counted

    assert (most(aws, within_seconds=30), most(stock, within_seconds=3)) == (1, 0)


def test_secret_with_a_key_of_its_own_needs_the_key(aws: Aws, stock: Aws, unique: str, role: RoleMaker) -> None:
    """Who reads or writes it must be allowed the key, through Secrets Manager and for that secret."""

    def answers(where: Aws) -> list[str]:
        key_arn = where.client("kms").create_key()["KeyMetadata"]["Arn"]
        arn = where.client("secretsmanager").create_secret(Name=unique, SecretString="x", KmsKeyId=key_arn)["ARN"]
        secret = {"Action": ["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"], "Resource": arn}

        def may(actions: list[str], secret_arn: str) -> list[str]:
            through = {
                "kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com",
                "kms:EncryptionContext:SecretARN": secret_arn,
            }
            key = {"Action": actions, "Resource": key_arn, "Condition": {"StringEquals": through}}
            client = where.assume(role(where, secret, key)).client("secretsmanager")
            return [
                refusal(lambda: client.get_secret_value(SecretId=arn)),
                refusal(lambda: client.put_secret_value(SecretId=arn, SecretString="y")),
            ]

        both = ["kms:Decrypt", "kms:GenerateDataKey"]
        return [*may(both, arn), *may(["kms:Decrypt"], arn), *may(both, f"{arn}-of-another")]

    denied = "AccessDeniedException"
    assert answers(aws) == ["allowed", "allowed", "allowed", denied, denied, denied]
    assert answers(stock) == ["allowed"] * 6
