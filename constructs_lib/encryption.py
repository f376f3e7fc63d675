"""What encrypts the data at rest of an environment."""

from constructs import IConstruct

from constructs_lib.findings import acknowledge

LOG_GROUP_FINDINGS = ("NIST.800.53.R5-CloudWatchLogGroupEncrypted", "CKV_AWS_158")
"""What the checkers say about a log group without a key of one's own."""


def acknowledge_keys_of_aws(construct: IConstruct, *findings: str) -> None:
    """Accept `findings` that ask for a key of one's own where the settings name none."""
    acknowledge(
        construct, dict.fromkeys(findings, "The settings name no key of one's own: AWS encrypts with its keys.")
    )
