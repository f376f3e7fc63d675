"""The topic that tells people of failures."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from constructs_lib.encryption import acknowledge_keys_of_aws
from constructs_lib.findings import acknowledge
from constructs_lib.place import place_of


class AlertTopic(Construct):
    """Defines the topic of an environment's alerts; EventBridge rules and CloudWatch alarms of this account may publish."""

    def __init__(
        self, scope: Construct, construct_id: str, *, emails: Sequence[str], encryption_key: kms.IKey | None
    ) -> None:
        super().__init__(scope, construct_id)

        self.topic = sns.Topic(self, "Resource", enforce_ssl=True, master_key=encryption_key)
        acknowledge_keys_of_aws(self.topic, encryption_key, "NIST.800.53.R5-SNSEncryptedKMS", "CKV_AWS_26")
        for email in emails:
            subscription = self.topic.add_subscription(subscriptions.EmailSubscription(email))
            acknowledge(
                subscription,
                {
                    "Serverless-SNSRedrivePolicy": "Who reads mail reads no queue: where one address may fail, the settings name a "
                    "second."
                },
            )
        # grant_publish() knows no condition, and without one any account's alarm could publish here.
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": place_of(self).account}},
            )
        )
        # EventBridge says nothing of where it publishes from: with a condition, no alert would ever come. AWS: "You can't use
        # Condition blocks in Amazon SNS topic policies for EventBridge"
        # (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-sns-permissions).
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                resources=[self.topic.topic_arn],
            )
        )
