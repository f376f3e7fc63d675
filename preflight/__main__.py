"""`python -m preflight ENV`: prints one line for each check and returns 1 if anything is wrong."""

import argparse
import functools
import sys
from collections.abc import Callable, Iterable

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from constructs_lib.settings_error import SettingsError
from preflight.account import check_account, check_bootstrap, check_permissions_boundary
from preflight.airflow import check_airflow
from preflight.credentials import check_credentials
from preflight.encryption import check_encryption_key
from preflight.findings import Clients, Finding, Findings, Verdict
from preflight.network import check_cluster, check_network
from stacks.settings import Environment

_CHECKS: tuple[Callable[[Clients, Environment], Findings], ...] = (
    check_bootstrap,
    check_permissions_boundary,
    check_encryption_key,
    check_network,
    check_cluster,
    check_credentials,
    check_airflow,
)


def main() -> int:
    """Check the environment that the command line names; returns the exit code: 0 fine, 1 something is wrong, 2 not checked."""
    parser = argparse.ArgumentParser(prog="make preflight ENV=…", description=__doc__)
    parser.add_argument("environment")
    name = parser.parse_args().environment
    try:
        # Importing the settings checks them.
        from stacks.environments import ENVIRONMENTS  # noqa: PLC0415
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    environments = {environment.name: environment for environment in ENVIRONMENTS}
    if name not in environments:
        print(f"error: ENV must be one of {', '.join(environments)}, got {name!r}", file=sys.stderr)
        return 2
    environment = environments[name]
    boto3.setup_default_session(region_name=environment.region)
    try:
        return report(preflight(environment))
    except (BotoCoreError, ClientError) as error:
        print(f"error: AWS did not answer as expected: {error}", file=sys.stderr)
        return 2


def preflight(environment: Environment) -> Iterable[Finding]:
    """All findings, as boto3's default session sees them; with credentials of another account only that is looked at."""
    clients = functools.cache(boto3.client)
    for finding in check_account(clients, environment):
        yield finding
        if finding.verdict is not Verdict.FINE:
            return
    for check in _CHECKS:
        yield from check(clients, environment)


def report(findings: Iterable[Finding]) -> int:
    """Print each finding as it comes; returns 1 if one of them is wrong."""
    count = dict.fromkeys(Verdict, 0)
    for finding in findings:
        count[finding.verdict] += 1
        print(f"{finding.verdict.value:<8} {finding.text}", flush=True)
    print(f"\n{', '.join(f'{number} {verdict.value}' for verdict, number in count.items() if number)}")
    return 1 if count[Verdict.WRONG] else 0


if __name__ == "__main__":
    sys.exit(main())
