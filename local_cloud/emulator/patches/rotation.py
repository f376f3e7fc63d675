"""
Secrets Manager rotates a secret by calling its function.

The order of the steps and what each may find are those of https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
"""

import json
import logging
from collections.abc import Callable

from local_cloud.emulator.patches.clients import root_client
from local_cloud.emulator.patches.resource_types import Created, add_type
from local_cloud.emulator.patches.stock import (
    Json,
    Response,
    iam_evaluator,
    lambda_svc,
    refusal,
    replace,
    responses,
    secretsmanager,
    spawn_background,
)

_log = logging.getLogger(__name__)
_SERVICE = "secretsmanager.amazonaws.com"
_STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


def apply() -> None:
    """Apply the patches of this module."""
    add_type("AWS::SecretsManager::RotationSchedule", create=_create_schedule, delete=_delete_schedule)
    _call_the_function()
    _find_no_value_before_there_is_one()


def _create_schedule(props: Json) -> Created:
    root_client("secretsmanager").rotate_secret(
        SecretId=props["SecretId"],
        RotationLambdaARN=props["RotationLambdaARN"],
        RotationRules=props.get("RotationRules", {}),
        RotateImmediately=props.get("RotateImmediatelyOnUpdate", True),
    )
    return props["SecretId"], {"Id": props["SecretId"]}


def _delete_schedule(secret_arn: str, _props: Json) -> None:
    # The stock emulator has no CancelRotateSecret.
    _, secret = secretsmanager._resolve(secret_arn)
    if secret:
        secret["RotationEnabled"] = False


def _call_the_function() -> None:
    """The stock emulator takes the value that is current for the new one and calls nobody."""

    def rotate(stock: Callable[[Json], Response]) -> Callable[[Json], Response]:
        def rotate_secret(data: Json) -> Response:
            _, secret = secretsmanager._resolve(data.get("SecretId"))
            if not secret or secret.get("DeletedDate") or secretsmanager._is_replica(secret):
                return stock(data)
            function_arn = data.get("RotationLambdaARN") or secret.get("RotationLambdaARN")
            if not function_arn:
                return refusal(
                    "InvalidRequestException", "No Lambda rotation function ARN is associated with this secret."
                )
            if not _may_call(function_arn, secret["ARN"]):
                return refusal(
                    "AccessDeniedException",
                    "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access "
                    f"to the principal {_SERVICE}.",
                )
            secret |= {
                "RotationLambdaARN": function_arn,
                "RotationRules": data.get("RotationRules") or secret.get("RotationRules"),
                "RotationEnabled": True,
            }
            pending, version = secretsmanager._find_stage_version(secret, "AWSPENDING")
            if pending and "AWSCURRENT" not in version["Stages"]:
                spawn_background(_take_all_steps, secret["ARN"], pending, function_arn)
                return refusal(
                    "InvalidRequestException",
                    "A previous rotation isn't complete. That rotation will be reattempted.",
                )
            token = data.get("ClientRequestToken") or responses.new_uuid()
            if data.get("RotateImmediately", True):
                if pending:
                    # A label is at one version.
                    version["Stages"].remove("AWSPENDING")
                secret["Versions"][token] = {
                    "SecretString": None,
                    "SecretBinary": None,
                    "CreatedDate": secret["LastChangedDate"],
                    "Stages": ["AWSPENDING"],
                }
                spawn_background(_take_all_steps, secret["ARN"], token, function_arn)
            answer: Response = responses.json_response(
                {"ARN": secret["ARN"], "Name": secret["Name"], "VersionId": token}
            )
            return answer

        return rotate_secret

    replace(secretsmanager, "_rotate_secret", "data", by=rotate)


def _find_no_value_before_there_is_one() -> None:
    """A version that a rotation has only announced is as good as none for who wants its value."""

    def get(stock: Callable[[Json], Response]) -> Callable[[Json], Response]:
        def get_secret_value(data: Json) -> Response:
            status, headers, body = stock(data)
            if status == 200 and not {"SecretString", "SecretBinary"} & set(json.loads(body)):
                stage = data.get("VersionStage", "AWSCURRENT")
                return refusal(
                    "ResourceNotFoundException",
                    f"Secrets Manager can't find the specified secret value for staging label: {stage}",
                )
            return status, headers, body

        return get_secret_value

    replace(secretsmanager, "_get_secret_value", "data", by=get)


def _take_all_steps(secret_arn: str, token: str, function_arn: str) -> None:
    """Call the function for each step until one fails; the version stays pending then, and the next rotation goes on with it."""
    client = root_client("lambda")
    for step in _STEPS:
        event = {"Step": step, "SecretId": secret_arn, "ClientRequestToken": token}
        answer = client.invoke(FunctionName=function_arn, Payload=json.dumps(event))
        if "FunctionError" in answer:
            _log.error("rotation of %s: %s ended with %s", secret_arn, step, answer["Payload"].read().decode())
            return


def _may_call(function_arn: str, secret_arn: str) -> bool:
    """Whether the function's own policy lets Secrets Manager call it for this secret."""
    policy, _ = lambda_svc.function_policy_for_arn(function_arn) or (None, "")
    question = iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action="lambda:InvokeFunction",
        resource_arn=function_arn,
        region=responses.get_region(),
        service_context={"aws:sourcearn": secret_arn, "aws:sourceaccount": responses.get_account_id()},
    )
    return bool(iam_evaluator.evaluate_resource_policy(policy, question, service=_SERVICE).decision == "Allow")
