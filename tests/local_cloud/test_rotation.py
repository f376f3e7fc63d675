"""Secrets Manager rotates a secret as on AWS, and the stock emulator still does not."""

import io
import time
import zipfile
from collections.abc import Callable, Mapping

import pytest

from tests.local_cloud.emulators import REPO_ROOT, Aws
from tests.local_cloud.key_value_store import keys_and_values
from tests.local_cloud.test_emulator_patches import RoleMaker, deploy, refusal

_MAY_ROTATE = [
    "secretsmanager:GetSecretValue",
    "secretsmanager:PutSecretValue",
    "secretsmanager:UpdateSecretVersionStage",
]
# Its role may not describe the secret, so that it moves the label from the version that its event leaves.
_FUNCTION = """
import boto3

secrets = boto3.client("secretsmanager")

def handler(event, context):
    secret, token, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    try:
        version = secrets.get_secret_value(SecretId=secret, VersionId=token, VersionStage="AWSPENDING")
        steps = version["SecretString"] + " " + step
    except secrets.exceptions.ResourceNotFoundException:
        steps = step
    secrets.put_secret_value(SecretId=secret, ClientRequestToken=token, SecretString=steps, VersionStages=["AWSPENDING"])
    if step == "testSecret" and FAILS:
        raise RuntimeError("it does not work")
    if step == "finishSecret":
        current = secrets.get_secret_value(SecretId=secret)["VersionId"]
        secrets.update_secret_version_stage(
            SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current)
"""


def _function(where: Aws, name: str, role_arn: str, *, fails: bool = False) -> str:
    code = _FUNCTION.replace("FAILS", str(fails)).encode()
    return _deployed(where, name, {"index.py": code}, Role=role_arn, Runtime="python3.14", Handler="index.handler")


def _deployed(where: Aws, name: str, files: Mapping[str, bytes], **properties: object) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    functions = where.client("lambda")
    code = {"ZipFile": packed.getvalue()}
    made = functions.create_function(FunctionName=name, Code=code, Timeout=60, **properties)
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    return str(made["FunctionArn"])


def _let_rotate(where: Aws, function_arn: str, secret_arn: str) -> None:
    where.client("lambda").add_permission(
        FunctionName=function_arn,
        StatementId=f"rotates-{secret_arn[-6:]}",
        Action="lambda:InvokeFunction",
        Principal="secretsmanager.amazonaws.com",
        SourceArn=secret_arn,
    )


def _value(where: Aws, secret: str) -> str:
    return str(where.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])


def _wait_for(look: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not look():
        assert time.monotonic() < deadline, f"it did not happen that {what}"
        time.sleep(0.1)


def test_rotation_calls_the_function_step_by_step(aws: Aws, stock: Aws, unique: str, role: RoleMaker) -> None:
    """With the function's own role; the version that it makes is current after the last step, and the one before is kept."""

    def rotated(where: Aws) -> list[tuple[str, str]]:
        client = where.client("secretsmanager")
        arn = client.create_secret(Name=unique, SecretString="old")["ARN"]
        role_arn = role(where, {"Action": _MAY_ROTATE, "Resource": arn}, trusts="lambda.amazonaws.com")
        function_arn = _function(where, unique, role_arn)
        _let_rotate(where, function_arn, arn)
        values = []
        for _ in range(3):
            version = client.rotate_secret(SecretId=arn, RotationLambdaARN=function_arn)["VersionId"]
            _wait_for(lambda: client.get_secret_value(SecretId=arn)["VersionId"] == version, "the version is current")  # noqa: B023 - called at once
            before = client.get_secret_value(SecretId=arn, VersionStage="AWSPREVIOUS")["SecretString"]
            values.append((before, _value(where, arn)))
        return values

    steps = "createSecret setSecret testSecret finishSecret"
    assert rotated(aws) == [("old", steps), (steps, steps), (steps, steps)]
    assert rotated(stock) == [("old", "old")] * 3


def test_rotation_of_a_template_begins_at_once(aws: Aws, stock: Aws, unique: str, role: RoleMaker) -> None:
    """And ends with the stack; the stock emulator has no such type."""

    def deployed(where: Aws) -> str:
        arn = where.client("secretsmanager").create_secret(Name=unique, SecretString="old")["ARN"]
        role_arn = role(where, {"Action": _MAY_ROTATE, "Resource": arn}, trusts="lambda.amazonaws.com")
        function_arn = _function(where, unique, role_arn)
        _let_rotate(where, function_arn, arn)
        properties = {"SecretId": arn, "RotationLambdaARN": function_arn, "RotationRules": {"Duration": "1h"}}
        resource = {"Type": "AWS::SecretsManager::RotationSchedule", "Properties": properties}
        return str(deploy(where, unique, {"R": resource})["status"])

    assert deployed(aws) == "CREATE_COMPLETE"
    _wait_for(lambda: _value(aws, unique).endswith("finishSecret"), "the first rotation ends")
    aws.client("cloudformation").delete_stack(StackName=unique)
    aws.client("cloudformation").get_waiter("stack_delete_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})
    assert not aws.client("secretsmanager").describe_secret(SecretId=unique)["RotationEnabled"]
    assert "RotationSchedule" in deployed(stock)


def test_rotation_that_fails_leaves_the_value_before(aws: Aws, unique: str, role: RoleMaker) -> None:
    """The version stays pending, and who rotates again is told that the rotation before is tried again."""
    client = aws.client("secretsmanager")
    arn = client.create_secret(Name=unique, SecretString="old")["ARN"]
    role_arn = role(aws, {"Action": _MAY_ROTATE, "Resource": arn}, trusts="lambda.amazonaws.com")
    function_arn = _function(aws, unique, role_arn, fails=True)
    _let_rotate(aws, function_arn, arn)
    version = client.rotate_secret(SecretId=arn, RotationLambdaARN=function_arn)["VersionId"]

    def pending() -> str:
        try:
            answer = client.get_secret_value(SecretId=arn, VersionId=version, VersionStage="AWSPENDING")
        except client.exceptions.ResourceNotFoundException:
            return ""
        return str(answer["SecretString"])

    _wait_for(lambda: pending().endswith("testSecret"), "the third step is reached")
    again = refusal(lambda: client.rotate_secret(SecretId=arn))
    _wait_for(lambda: pending().count("testSecret") == 2, "it is reached once more")

    assert (again, _value(aws, arn)) == ("InvalidRequestException", "old")


@pytest.mark.parametrize(
    ("allowed_for", "expected"), [(None, "AccessDeniedException"), ("another", "AccessDeniedException")], ids=str
)
def test_rejects_a_rotation_whose_function_does_not_let_it(
    aws: Aws, unique: str, role: RoleMaker, allowed_for: str | None, expected: str
) -> None:
    """The function's own policy names Secrets Manager, for this secret."""
    client = aws.client("secretsmanager")
    arn = client.create_secret(Name=unique, SecretString="old")["ARN"]
    function_arn = _function(aws, unique, role(aws, trusts="lambda.amazonaws.com"))
    if allowed_for:
        _let_rotate(aws, function_arn, f"{arn}-{allowed_for}")

    assert expected == refusal(lambda: client.rotate_secret(SecretId=arn, RotationLambdaARN=function_arn))


def test_rejects_a_rotation_without_a_function(aws: Aws, unique: str) -> None:
    """Of a secret that has never been told of one."""
    client = aws.client("secretsmanager")
    client.create_secret(Name=unique, SecretString="old")

    assert refusal(lambda: client.rotate_secret(SecretId=unique)) == "InvalidRequestException"


def test_function_in_node_keeps_keys_for_cloudfront(aws: Aws, unique: str, role: RoleMaker) -> None:
    """The product's own: the SDK's name of the key value store's host, and its signature for all regions, are understood."""
    client = aws.client("secretsmanager")
    arn = client.create_secret(Name=unique, SecretString="old")["ARN"]
    store = aws.client("cloudfront").create_key_value_store(Name=unique)["KeyValueStore"]["ARN"]
    role_arn = role(
        aws,
        {"Action": [*_MAY_ROTATE, "secretsmanager:DescribeSecret"], "Resource": arn},
        {"Action": "cloudfront-keyvaluestore:*", "Resource": store},
        trusts="lambda.amazonaws.com",
    )
    function_arn = _deployed(
        aws,
        unique,
        {path.name: path.read_bytes() for path in (REPO_ROOT / "functions/pages_access/dist").glob("*.mjs")},
        Role=role_arn,
        Runtime="nodejs24.x",
        Handler="session_key.handler",
        Environment={"Variables": {"KEY_VALUE_STORE_ARN": store, "PROPAGATION_SECONDS": "0"}},
    )
    _let_rotate(aws, function_arn, arn)
    version = client.rotate_secret(SecretId=arn, RotationLambdaARN=function_arn)["VersionId"]
    _wait_for(lambda: client.get_secret_value(SecretId=arn)["VersionId"] == version, "the key is made")

    assert keys_and_values(aws.endpoint_url, store) == {version: _value(aws, arn)}
