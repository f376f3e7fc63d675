"""Log groups as all parts make them."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from constructs_lib.encryption import acknowledge_keys_of_aws


def encrypted_log_group(
    scope: Construct,
    construct_id: str,
    *,
    retention: logs.RetentionDays,
    removal_policy: RemovalPolicy,
    encryption_key: kms.IKey | None,
) -> logs.LogGroup:
    """Define a log group that `encryption_key` encrypts; None: a key of CloudWatch Logs."""
    log_group = logs.LogGroup(
        scope, construct_id, retention=retention, removal_policy=removal_policy, encryption_key=encryption_key
    )
    acknowledge_keys_of_aws(log_group, encryption_key, "NIST.800.53.R5-CloudWatchLogGroupEncrypted", "CKV_AWS_158")
    return log_group
