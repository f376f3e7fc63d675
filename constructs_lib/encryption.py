"""The key of an environment's data at rest, who may use it, and what is said where there is none."""

from collections.abc import Mapping, Sequence
from typing import Literal
from weakref import WeakKeyDictionary

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct, IConstruct

from constructs_lib.findings import acknowledge
from constructs_lib.grants import Statement, allow
from constructs_lib.place import place_of

# What a service says of the resource that it encrypts or decrypts, as an encryption context:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html (with a bucket key it is the bucket, not the object),
# https://docs.aws.amazon.com/sns/latest/dg/sns-enable-encryption-for-topic.html, and the same in SQS's guide.
_CONTEXTS = {"s3": "aws:s3:arn", "sns": "aws:sns:topicArn", "sqs": "aws:sqs:arn"}

# Asked for once, as in `place_of`.
_arns_and_regions: WeakKeyDictionary[kms.IKey, tuple[str, str]] = WeakKeyDictionary()


class EncryptionKey(Construct):
    """
    Defines the key of one environment, which AWS renews every year.

    The account's administrators rule over it. CloudWatch Logs may use it for log groups of this account and region, EventBridge
    and CloudWatch for topics; everyone else needs a right of their own, see `use_of_key`.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, environment_name: str, keeps_data_on_destroy: bool
    ) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self.key = kms.Key(
            self,
            "Resource",
            description=f"Encrypts what the dbt projects of environment {environment_name} store",
            enable_key_rotation=True,
            # Who loses the key loses the data.
            removal_policy=RemovalPolicy.RETAIN if keeps_data_on_destroy else RemovalPolicy.DESTROY,
        )
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
        self._allow_service(
            f"logs.{stack.region}.amazonaws.com",
            ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
            {
                "ArnLike": {
                    "kms:EncryptionContext:aws:logs:arn": stack.format_arn(service="logs", resource="log-group:*")
                }
            },
        )
        # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html: "Adding the aws:SourceAccount and aws:SourceArn to a
        # AWS KMS policy is not supported for EventBridge-to-encrypted topics", and no other condition is documented for it. With one
        # that does not hold, alerts would be lost in silence; who may publish is said by the topic's policy in any case.
        publishes = ["kms:Decrypt", "kms:GenerateDataKey*"]
        self._allow_service(
            "cloudwatch.amazonaws.com", publishes, {"StringEquals": {"aws:SourceAccount": stack.account}}
        )
        self._allow_service("events.amazonaws.com", publishes)

    def _allow_service(self, service: str, actions: list[str], conditions: Mapping[str, object] | None = None) -> None:
        self.key.add_to_resource_policy(
            iam.PolicyStatement(
                actions=actions,
                principals=[iam.ServicePrincipal(service)],
                # In a key's policy: this key.
                resources=["*"],
                conditions=conditions,
            )
        )


def use_of_key(
    construct: IConstruct,
    key: kms.IKey | None,
    *,
    service: Literal["s3", "sns", "sqs"],
    resource_arn: str,
    actions: Sequence[str] = ("kms:Decrypt", "kms:GenerateDataKey"),
) -> list[Statement]:
    """
    The right to use `key`, if there is one, through one service and for one bucket, topic or queue.

    `actions`: "kms:Decrypt" is for who reads, "kms:GenerateDataKey" for who writes; multipart uploads and queues take both.

    Key.grant_encrypt_decrypt() knows no condition, and allows use of the key for anything that it encrypts.
    """
    if key is None:
        return []
    if key not in _arns_and_regions:
        _arns_and_regions[key] = key.key_arn, place_of(construct).region
    key_arn, region = _arns_and_regions[key]
    through = {
        "kms:ViaService": f"{service}.{region}.amazonaws.com",
        f"kms:EncryptionContext:{_CONTEXTS[service]}": resource_arn,
    }
    return [allow(actions, key_arn, conditions={"StringEquals": through})]


def rare_use_of_key(key: kms.IKey | None) -> dict[str, str]:
    """Reasons for `explain_rare_grants` of a role that uses `key`, if there is one, through a queue."""
    asked = "SQS asks for it in the role's name when a message is written or read."
    return dict.fromkeys(["kms:Decrypt", "kms:GenerateDataKey"], asked) if key else {}


def acknowledge_keys_of_aws(construct: IConstruct, key: kms.IKey | None, *findings: str) -> None:
    """Accept `findings` that ask for a key of one's own where the settings name none."""
    if key is None:
        acknowledge(
            construct, dict.fromkeys(findings, "The settings name no key of one's own: AWS encrypts with its keys.")
        )
