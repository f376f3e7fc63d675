"""
What the stock emulator lacks for this product, one function per gap, each with its reason.

This package runs in the emulator's own environment only (`launcher.py`).
"""

from local_cloud.emulator.patches import (
    cloudformation,
    cloudwatch,
    credentials,
    custom_resources,
    ecr,
    ecs,
    events,
    fargate,
    iam,
    image_scans,
    resource_types,
    rotation,
    secret_keys,
)


def apply_all() -> None:
    """Apply every patch; raises StockEmulatorChangedError if one does not fit the emulator that is installed."""
    iam.apply()
    cloudformation.apply()
    custom_resources.apply()
    resource_types.apply()
    rotation.apply()
    secret_keys.apply()
    ecr.apply()
    credentials.apply()
    fargate.apply()
    ecs.apply()
    events.apply()
    image_scans.apply()
    cloudwatch.apply()
