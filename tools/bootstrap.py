"""Prepares the account and the region of an environment for the CDK, which is needed once: `make bootstrap`."""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from stacks.settings import Environment


def main(arguments: Sequence[str], environments: Sequence[Environment]) -> int:
    """Have the CDK CLI do it where the settings of the named environment say; returns its exit code."""
    parser = argparse.ArgumentParser(prog="make bootstrap", description=__doc__)
    parser.add_argument("environment", choices=[environment.name for environment in environments])
    name = parser.parse_args(arguments).environment
    chosen = next(environment for environment in environments if environment.name == name)
    # The program that make has on its path.
    return subprocess.run(["cdk", "bootstrap", f"aws://{chosen.account}/{chosen.region}"], check=False).returncode


if __name__ == "__main__":
    from stacks.environments import ENVIRONMENTS

    raise SystemExit(main(sys.argv[1:], ENVIRONMENTS))
