"""Tells people when the scan of an image found something critical."""

from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from constructs_lib.alert_rule import alert_rule
from constructs_lib.place import place_of


class ImageAlerts(Construct):
    """
    Defines the alert about critical findings in images whose repository's name begins with `repository_prefix`.

    A scan comes after each push. It is ECR's own or, where the account has turned on enhanced scanning, Amazon Inspector's.
    `topic` must let EventBridge publish, and `dead_letters` must let it send, by its own policy.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment_name: str,
        repository_prefix: str,
        topic: sns.ITopic,
        dead_letters: sqs.IQueue,
        runbook_url: str,
    ) -> None:
        super().__init__(scope, construct_id)
        # https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-enhanced-events.html: Inspector says the ARN.
        prefix_of_arns = place_of(self).arn("ecr", "repository", name=repository_prefix)
        alert_rule(
            self,
            "CriticalFindings",
            description=f"The scan of an image of {environment_name} found something critical",
            source=["aws.ecr", "aws.inspector2"],
            detail_type=["ECR Image Scan", "Inspector2 Scan"],
            detail={
                # By prefix: the names of a hundred projects are longer than a pattern may be.
                "repository-name": [{"prefix": repository_prefix}, {"prefix": prefix_of_arns}],
                "finding-severity-counts": {"CRITICAL": [{"numeric": [">", 0]}]},
            },
            message=(
                f"The scan of an image in <repository> found vulnerabilities that are rated critical: <count>. Nothing is "
                f"stopped: the next run of this project in {environment_name} uses the image that was deployed last. "
                f"Image: <digest>."
            ),
            what_to_do=f"{runbook_url}#an-image-has-critical-findings",
            values={
                "repository": "$.detail.repository-name",
                "count": "$.detail.finding-severity-counts.CRITICAL",
                "digest": "$.detail.image-digest",
            },
            topic_arn=topic.topic_arn,
            dead_letters_arn=dead_letters.queue_arn,
        )
