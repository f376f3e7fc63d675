"""Where a stack is deployed, and the ARNs of what is there."""

from typing import NamedTuple
from weakref import WeakKeyDictionary

from aws_cdk import Stack
from constructs import IConstruct


class Place(NamedTuple):
    """
    The partition, region and account of a stack, asked for once.

    Each question to CDK goes to its Node process and back, and a fleet of projects would ask some ten thousand.
    """

    partition: str
    region: str
    account: str

    def arn(self, service: str, resource: str, *, separator: str = "/", name: str | None = None) -> str:
        """The ARN of a resource there: `resource` alone, or followed by its `name`."""
        whole = resource if name is None else f"{resource}{separator}{name}"
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{whole}"


_places: WeakKeyDictionary[Stack, Place] = WeakKeyDictionary()


def place_of(construct: IConstruct) -> Place:
    """Where the stack of `construct` is deployed."""
    stack = construct if isinstance(construct, Stack) else Stack.of(construct)
    if stack not in _places:
        _places[stack] = Place(stack.partition, stack.region, stack.account)
    return _places[stack]
