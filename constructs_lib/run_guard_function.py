"""The code of this repository's own Lambda functions, and what all of them have in common."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, IgnoreMode, RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from constructs_lib.encrypted_log_group import encrypted_log_group
from constructs_lib.findings import acknowledge
from constructs_lib.grants import Statement, allow
from constructs_lib.place import place_of
from constructs_lib.rare_grants import explain_rare_grants
from constructs_lib.repository import REPOSITORY
from constructs_lib.role import Role


class RunGuardFunction(Construct):
    """
    Defines one function of functions/run_guard with a log group and a role of its own.

    The role may write that log and `may` do more; `rarely` are reasons by action, as `explain_rare_grants` takes them. `handler` is a module of the package with a function
    `handler`. `failed_calls`: a sentence on what becomes of them, as there is no dead-letter queue at the function itself.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        handler: str,
        description: str,
        failed_calls: str,
        encryption_key: kms.IKey | None,
        may: Sequence[Statement],
        rarely: Mapping[str, str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        log_group = encrypted_log_group(
            self,
            "LogGroup",
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=RemovalPolicy.DESTROY,
            encryption_key=encryption_key,
        )
        logs_actions = ["logs:CreateLogStream", "logs:PutLogEvents"]
        self.role = Role(
            self,
            "Role",
            description=description,
            principal={"Service": "lambda.amazonaws.com"},
            conditions={"StringEquals": {"aws:SourceAccount": place_of(scope).account}},
            may=[allow(logs_actions, log_group.log_group_arn), *may],
        )
        explain_rare_grants(
            self.role, {**dict.fromkeys(logs_actions, "Lambda writes the function's log with it."), **rarely}
        )
        self.function = lambda_.Function(
            self,
            "Resource",
            description=description,
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"run_guard.{handler}.handler",
            code=lambda_.Code.from_asset(
                str(REPOSITORY / "functions"),
                exclude=["**/__pycache__", "**/*.pyc", "**/.mypy_cache", "**/.ruff_cache", "pages_access"],
                ignore_mode=IgnoreMode.GIT,
            ),
            role=self.role.for_cdk(),
            log_group=log_group,
            memory_size=256,
            timeout=Duration.minutes(1),
            environment=dict(environment or {}),
        )
        no_vpc = "It asks AWS alone; inside the VPC it could reach the warehouse, and would need endpoints."
        no_reserve = "What it reserves is taken from the account's limit, and a new account has none to spare."
        acknowledge(
            self.function,
            {
                "NIST.800.53.R5-LambdaInsideVPC": no_vpc,
                "CKV_AWS_117": no_vpc,
                "NIST.800.53.R5-LambdaConcurrency": no_reserve,
                "CKV_AWS_115": no_reserve,
                "NIST.800.53.R5-LambdaDLQ": failed_calls,
                "CKV_AWS_116": failed_calls,
                "Serverless-LambdaTracing": "It calls one service after the other; its log has what and when.",
            },
        )
