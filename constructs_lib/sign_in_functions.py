"""The two functions behind the sign-in to hosted pages, and the key of its sessions."""

import json
from collections.abc import Mapping, Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as cloudwatch_actions
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from constructs import Construct

from constructs_lib.encrypted_log_group import encrypted_log_group
from constructs_lib.encryption import acknowledge_keys_of_aws
from constructs_lib.findings import acknowledge
from constructs_lib.grants import Statement, allow
from constructs_lib.pages_access import SignIn
from constructs_lib.place import place_of
from constructs_lib.rare_grants import explain_rare_grants
from constructs_lib.repository import REPOSITORY
from constructs_lib.role import Role

_DIST = REPOSITORY / "functions" / "pages_access" / "dist"
_READ = ["secretsmanager:GetSecretValue"]
_ROTATE = [
    "secretsmanager:DescribeSecret",
    "secretsmanager:PutSecretValue",
    "secretsmanager:UpdateSecretVersionStage",
    *_READ,
]
_KEEP_KEYS = [
    "cloudfront-keyvaluestore:DescribeKeyValueStore",
    "cloudfront-keyvaluestore:ListKeys",
    "cloudfront-keyvaluestore:UpdateKeys",
]


class SignInFunctions(Construct):
    """
    Defines the function that signs people in, the secret that its sessions are signed with, and the function that rotates it.

    The secret's value is made at the first rotation, which begins when this is deployed, and each month anew; it is in no
    template. Each version is put into `session_keys`, from which CloudFront's function reads it. A rotation that fails is told to
    `topic`, which must let CloudWatch publish by its own policy.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment_name: str,
        sign_in: SignIn,
        session_keys: cloudfront.KeyValueStore,
        topic: sns.ITopic,
        runbook_url: str,
        encryption_key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._encryption_key = encryption_key
        self._topic = topic
        self._runbook_url = runbook_url
        session_key = self._define_session_key(environment_name, session_keys)
        readable_secrets = [session_key.ref, sign_in.client_secret_arn]
        may = [allow(_READ, *readable_secrets), *self._use_of_key(session_key.ref, reads_only=True)]
        if sign_in.client_secret_key_arn is not None:
            may.append(
                allow(
                    "kms:Decrypt",
                    sign_in.client_secret_key_arn,
                    conditions=_only_for(place_of(self).region, sign_in.client_secret_arn),
                )
            )
        self.function = self._define_function(
            "Function",
            handler="sign_in",
            description=f"Signs people in to the pages of {environment_name}",
            timeout=Duration.seconds(30),
            environment={
                "ISSUER": sign_in.issuer,
                "CLIENT_ID": sign_in.client_id,
                "CLIENT_SECRET_ARN": sign_in.client_secret_arn,
                "SESSION_KEY_ARN": session_key.ref,
                "SCOPE": " ".join(["openid", "profile", "email", *sign_in.extra_scopes]),
                "GROUPS_CLAIM": sign_in.groups_claim,
                "ALLOWED_GROUPS": json.dumps(sign_in.allowed_groups),
                "ALLOWED_EMAIL_DOMAINS": json.dumps(sign_in.allowed_email_domains),
                "SESSION_SECONDS": str(round(sign_in.session.total_seconds())),
            },
            failed_calls="CloudFront waits for its answer and gives it to a person: no failed call goes unnoticed.",
            may=may,
        )

    def _define_session_key(
        self, environment_name: str, session_keys: cloudfront.KeyValueStore
    ) -> secretsmanager.CfnSecret:
        key = self._encryption_key
        # Secret of CDK would let the whole account use the key for it.
        secret = secretsmanager.CfnSecret(
            self,
            "SessionKey",
            description=f"What sessions of the pages of {environment_name} are signed with; a rotation makes it",
            kms_key_id=key.key_arn if key is not None else None,
            # It is never used: what a rotation makes takes its place, and is known to CloudFront.
            generate_secret_string=secretsmanager.CfnSecret.GenerateSecretStringProperty(),
        )
        # Who loses it signs in again.
        secret.apply_removal_policy(RemovalPolicy.DESTROY)
        acknowledge_keys_of_aws(secret, self._encryption_key, "NIST.800.53.R5-SecretsManagerUsingKMSKey", "CKV_AWS_149")
        keeper = self._define_function(
            "KeyKeeper",
            handler="session_key",
            description=f"Makes the key of the sessions of the pages of {environment_name} anew",
            timeout=Duration.minutes(2),
            environment={"KEY_VALUE_STORE_ARN": session_keys.key_value_store_arn},
            failed_calls="An alarm tells; Secrets Manager tries a rotation again, and until then the key before goes on.",
            may=[
                allow(_ROTATE, secret.ref),
                allow(_KEEP_KEYS, session_keys.key_value_store_arn),
                *self._use_of_key(secret.ref),
            ],
        )
        self._define_alarm(environment_name, keeper)
        permission = lambda_.CfnPermission(
            self,
            "MayRotate",
            action="lambda:InvokeFunction",
            function_name=keeper.function_arn,
            principal="secretsmanager.amazonaws.com",
            source_account=place_of(self).account,
            source_arn=secret.ref,
        )
        schedule = secretsmanager.CfnRotationSchedule(
            self,
            "Rotation",
            secret_id=secret.ref,
            rotation_lambda_arn=keeper.function_arn,
            rotate_immediately_on_update=True,
            rotation_rules=secretsmanager.CfnRotationSchedule.RotationRulesProperty(
                schedule_expression="rate(30 days)"
            ),
        )
        schedule.add_resource_dependency(permission)
        schedule.node.add_dependency(keeper)
        return secret

    def _define_alarm(self, environment_name: str, keeper: lambda_.Function) -> None:
        cloudwatch.Alarm(
            self,
            "RotationFails",
            metric=keeper.metric_errors(period=Duration.minutes(15), statistic="Sum"),
            alarm_description=(
                f"The key of the sessions of the pages of {environment_name} could not be made anew. People go on to sign in, with "
                f"the key before. What to do: {self._runbook_url}#the-session-key-is-not-made-anew"
            ),
            evaluation_periods=1,
            threshold=0,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        ).add_alarm_action(cloudwatch_actions.SnsAction(self._topic))

    def _use_of_key(self, secret_arn: str, *, reads_only: bool = False) -> list[Statement]:
        if self._encryption_key is None:
            return []
        actions = ["kms:Decrypt"] if reads_only else ["kms:Decrypt", "kms:GenerateDataKey"]
        conditions = _only_for(place_of(self).region, secret_arn)
        return [allow(actions, self._encryption_key.key_arn, conditions=conditions)]

    def _define_function(
        self,
        construct_id: str,
        *,
        handler: str,
        description: str,
        timeout: Duration,
        environment: Mapping[str, str],
        failed_calls: str,
        may: Sequence[Statement],
    ) -> lambda_.Function:
        scope = Construct(self, construct_id)
        log_group = encrypted_log_group(
            scope,
            "LogGroup",
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=RemovalPolicy.DESTROY,
            encryption_key=self._encryption_key,
        )
        writes = ["logs:CreateLogStream", "logs:PutLogEvents"]
        role = Role(
            scope,
            "Role",
            description=description,
            principal={"Service": "lambda.amazonaws.com"},
            conditions={"StringEquals": {"aws:SourceAccount": place_of(self).account}},
            may=[allow(writes, log_group.log_group_arn), *may],
        )
        explain_rare_grants(role, dict.fromkeys(writes, "Lambda writes the function's log with it."))
        function = lambda_.Function(
            scope,
            "Resource",
            description=description,
            runtime=lambda_.Runtime.NODEJS_24_X,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"{handler}.handler",
            code=lambda_.Code.from_asset(str(_DIST)),
            role=role.for_cdk(),
            log_group=log_group,
            memory_size=512,
            timeout=timeout,
            environment=dict(environment),
        )
        no_vpc = "It asks AWS and the provider of identities, which is on the internet."
        no_reserve = "What it reserves is taken from the account's limit, and a new account has none to spare."
        acknowledge(
            function,
            {
                "NIST.800.53.R5-LambdaInsideVPC": no_vpc,
                "CKV_AWS_117": no_vpc,
                "NIST.800.53.R5-LambdaConcurrency": no_reserve,
                "CKV_AWS_115": no_reserve,
                "NIST.800.53.R5-LambdaDLQ": failed_calls,
                "CKV_AWS_116": failed_calls,
                "Serverless-LambdaTracing": "It calls one service after the other; its log has what and when.",
                "CKV_AWS_173": "Its variables are names, ARNs and addresses; the secrets that they name are read at run time.",
            },
        )
        return function


def _only_for(region: str, secret_arn: str) -> dict[str, dict[str, str]]:
    # https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
    through = {
        "kms:ViaService": f"secretsmanager.{region}.amazonaws.com",
        "kms:EncryptionContext:SecretARN": secret_arn,
    }
    return {"StringEquals": through}
