"""The ECS cluster that tasks run on."""

from typing import NamedTuple


class Cluster(NamedTuple):
    """A cluster as roles and rules name it."""

    name: str
    arn: str
