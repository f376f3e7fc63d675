"""Which of an account's bootstrap stacks of the CDK is used."""

import json

import aws_cdk as cdk

from constructs_lib.repository import REPOSITORY

# https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-customizing.html
_CONTEXT_KEY = "@aws-cdk/core:bootstrapQualifier"


def bootstrap_qualifier() -> str:
    """What the names of its resources hold: the context of cdk.json says it, or it is the CDK's own."""
    context = json.loads((REPOSITORY / "cdk.json").read_text(encoding="utf-8"))["context"]
    return str(context.get(_CONTEXT_KEY, cdk.DefaultStackSynthesizer.DEFAULT_QUALIFIER))
