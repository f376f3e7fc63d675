"""The CDK app: every environment of `stacks/environments.py`."""

import sys
from collections.abc import Sequence

from stacks.platform import synthesize
from stacks.settings import Environment


def _environments() -> Sequence[Environment]:
    from stacks.environments import ENVIRONMENTS  # noqa: PLC0415 - wrong settings raise while the module is loaded

    return ENVIRONMENTS


if __name__ == "__main__":
    sys.exit(synthesize(_environments))
