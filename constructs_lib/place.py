"""Where a stack is deployed, and the ARNs of what is there."""

from typing import NamedTuple
from weakref import WeakKeyDictionary

from aws_cdk import DefaultStackSynthesizer, Stack
from constructs import IConstruct


class Place(NamedTuple):
    """
    The partition, region and account of a stack and the qualifier of the account's bootstrap stack, asked for once.

    Each question to CDK goes to its Node process and back, and a fleet of projects would ask some ten thousand.
    """

    partition: str
    region: str
    account: str
    qualifier: str

    @property
    def uploads_arn(self) -> str:
        """The bucket into which `cdk deploy` uploads files before it deploys a stack."""
        return f"arn:{self.partition}:s3:::cdk-{self.qualifier}-assets-{self.account}-{self.region}"

    def arn(self, service: str, resource: str, *, separator: str = "/", name: str | None = None) -> str:
        """The ARN of a resource there: `resource` alone, or followed by its `name`."""
        whole = resource if name is None else f"{resource}{separator}{name}"
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{whole}"


_QUALIFIER = "@aws-cdk/core:bootstrapQualifier"
_places: WeakKeyDictionary[Stack, Place] = WeakKeyDictionary()


def deployed_in(place: Place, stack: Stack) -> None:
    """Say where `stack` is deployed, as another stack of its environment was asked."""
    _places[stack] = place


def place_of(construct: IConstruct) -> Place:
    """Where the stack of `construct` is deployed; of a stack itself it is known without CDK."""
    stack = construct if isinstance(construct, Stack) else Stack.of(construct)
    if stack not in _places:
        qualifier = stack.node.try_get_context(_QUALIFIER) or DefaultStackSynthesizer.DEFAULT_QUALIFIER
        _places[stack] = Place(stack.partition, stack.region, stack.account, qualifier)
    return _places[stack]
