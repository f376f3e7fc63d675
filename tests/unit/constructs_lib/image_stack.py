"""A stack to put an image into."""

import aws_cdk as cdk

REPOSITORY_NAME = "test/dbt/tiny"


def stack_of_images(app: cdk.App) -> tuple[cdk.Stack, cdk.DefaultStackSynthesizer]:
    """An empty stack with its synthesizer."""
    synthesizer = cdk.DefaultStackSynthesizer(image_assets_repository_name=REPOSITORY_NAME)
    stack = cdk.Stack(
        app,
        "Test",
        env=cdk.Environment(account="111111111111", region="eu-central-1"),
        synthesizer=synthesizer,
    )
    synthesizer.bind(stack)
    return stack, synthesizer
