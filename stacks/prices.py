"""
What AWS asks for what is deployed: the one place of prices.

List prices of us-east-1 in US dollars, without free tiers and discounts. The addresses are AWS's own pages of them; the figures
were last compared on 2026-11-22, with articles of 2026 that quote those pages (SQS's was in none). Another region: put its
figures here.
"""

from typing import NamedTuple

REGION = "us-east-1"
COMPARED_ON = "2026-11-22"
SOURCES = {
    "Fargate": "https://aws.amazon.com/fargate/pricing/",
    "CloudWatch": "https://aws.amazon.com/cloudwatch/pricing/",
    "PrivateLink": "https://aws.amazon.com/privatelink/pricing/",
    "Lambda": "https://aws.amazon.com/lambda/pricing/",
    "KMS": "https://aws.amazon.com/kms/pricing/",
    "EventBridge": "https://aws.amazon.com/eventbridge/pricing/",
    "SQS": "https://aws.amazon.com/sqs/pricing/",
    "CloudFront": "https://aws.amazon.com/cloudfront/pricing/",
    "Secrets Manager": "https://aws.amazon.com/secrets-manager/pricing/",
}

HOURS_OF_A_MONTH = 730
"""As AWS's own calculator counts."""


class FargateRate(NamedTuple):
    """Dollars for an hour of one vCPU and of one GiB."""

    vcpu_hour: float
    gib_hour: float


FARGATE = {"x86_64": FargateRate(0.04048, 0.004445), "arm64": FargateRate(0.03238, 0.00356)}
# Spot's price changes; AWS says "up to 70 % off".
FARGATE_SPOT_SHARE = 0.3

CLOUDWATCH_ALARM_MONTH = 0.10
CLOUDWATCH_DASHBOARD_MONTH = 3.00
CLOUDWATCH_METRIC_MONTH = 0.30
ENDPOINT_HOUR = 0.01
"""For each interface endpoint in each availability zone."""

KMS_KEY_MONTH = 1.00
"""Another dollar for each of the first two yearly rotations."""

LAMBDA_ARM_GIB_SECOND = 0.0000133334
LAMBDA_REQUEST = 0.20 / 1_000_000
SCHEDULER_INVOCATION = 1.00 / 1_000_000
SQS_REQUEST = 0.40 / 1_000_000

CLOUDFRONT_FUNCTION_REQUEST = 0.10 / 1_000_000
CLOUDFRONT_GB = 0.085
"""To viewers in North America and Europe."""
CLOUDFRONT_HTTPS_REQUEST = 0.0100 / 10_000
SECRET_MONTH = 0.40
