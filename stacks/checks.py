"""What checks an app while it is synthesized; a module of its own, since to load the checkers takes half a second of each synth."""

import aws_cdk as cdk
from cdk_nag import (
    AwsSolutionsChecks,
    HIPAASecurityChecks,
    NIST80053R4Checks,
    NIST80053R5Checks,
    PCIDSS321Checks,
    ServerlessChecks,
)

from constructs_lib.findings import tell_checkers

_PACKS = (
    AwsSolutionsChecks,
    ServerlessChecks,
    NIST80053R4Checks,
    NIST80053R5Checks,
    HIPAASecurityChecks,
    PCIDSS321Checks,
)


def check_when_synthesized(app: cdk.App) -> None:
    """
    Have all packs of cdk-nag checked when `app` is synthesized; a finding that nobody accepted stops it.

    They are AWS's recommendations, those for serverless applications, NIST 800-53 R4 and R5, HIPAA and PCI DSS.
    That is done by `make check`, for the settings as they are: each synth of a fleet would take half as long again.
    """
    tell_checkers(app)
    cdk.Validations.of(app).add_plugins(*(pack(app) for pack in _PACKS))
