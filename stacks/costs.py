"""What an environment costs, as a table made of its settings and of AWS's list prices."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from croniter import croniter

from constructs_lib.private_network import interface_endpoint_count
from constructs_lib.run_guard import GUARD_INTERVAL_MINUTES
from constructs_lib.warehouse_credentials import services
from stacks import prices
from stacks.settings import DbtProject, Environment, OwnKey, OwnNetwork

METRICS_OF_A_RUN = 13
"""How many metrics the runner writes of each run, and one more for each step."""

# From the minute before: the next time is never the moment itself.
_A_YEAR = (datetime(2025, 12, 31, 23, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
_GUARD_SECONDS = 1.0
_GUARD_GIB = 0.25
_ALARMS_OF_A_PROJECT = 4
_ALARMS_OF_A_SCHEDULE = 1
_ALARMS_OF_THE_GUARD = 3
_ALARMS_OF_A_SIGN_IN = 1
# A function's queue is asked every 20 seconds by five readers: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
_QUEUE_REQUESTS_AN_HOUR = 5 * 3600 / 20
# A team of ten that opens some forty pages a day, each of a few files.
_REQUESTS_OF_A_MONTH = 50_000
_GB_OF_A_MONTH = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """One line: dollars for an hour of it, for a run and for a month; None where that has no meaning."""

    what: str
    hour: float | None = None
    run: float | None = None
    month: float | None = None


def costs(environment: Environment, *, minutes_per_run: float) -> list[Cost]:
    """What runs in `environment`, if each run takes `minutes_per_run` from the pull of its image to its end."""
    lines = [line for project in environment.projects for line in _of_project(project, minutes_per_run)]
    lines.append(_guard(environment))
    lines.extend(_hosted_pages(environment))
    if isinstance(environment.network, OwnNetwork):
        credentials = {service for project in environment.projects for service in services(project.credentials)}
        endpoints = interface_endpoint_count(sorted(credentials)) * len(environment.network.availability_zones)
        hour = endpoints * prices.ENDPOINT_HOUR
        lines.append(
            Cost(
                what=f"own network: {endpoints} endpoints (each in each zone)",
                hour=hour,
                month=hour * prices.HOURS_OF_A_MONTH,
            )
        )
    if isinstance(environment.encryption_key, OwnKey):
        lines.append(Cost(what="KMS key", month=prices.KMS_KEY_MONTH))
    lines.append(Cost(what="**together**", month=sum(line.month or 0 for line in lines)))
    return lines


def runs_of_a_month(schedule: str | None) -> float | None:
    """How often `schedule` is due in an average month of a year; None for runs by hand."""
    if schedule is None:
        return None
    first, last = _A_YEAR
    ticks = croniter(schedule, first)
    count = 0
    while ticks.get_next(datetime) < last:
        count += 1
    return count / 12


def cost_table(environment: Environment, *, minutes_per_run: float) -> str:
    """The costs of `environment` as a table in Markdown, with what it assumes below it."""
    rows = [
        f"| {line.what} | {_dollars(line.hour)} | {_dollars(line.run)} | {_dollars(line.month)} |"
        for line in costs(environment, minutes_per_run=minutes_per_run)
    ]
    sources = ", ".join(f"[{name}]({address})" for name, address in prices.SOURCES.items())
    assumed = (
        f"Runs of {minutes_per_run:g} minutes, as often as their schedule says; list prices of {prices.REGION}, compared on "
        f"{prices.COMPARED_ON}, without free tiers: {sources}."
    )
    left_out = (
        "Not in the table: what goes by use, as requests to a KMS key, storage of images, records and logs, Container Insights, "
        "data through endpoints, the warehouse."
    )
    header = [f"| what runs in `{environment.name}` | an hour | a run | a month |", "| --- | --- | --- | --- |"]
    return "\n".join([*header, *rows, "", assumed, left_out])


def _of_project(project: DbtProject, minutes_per_run: float) -> Iterator[Cost]:
    rate = prices.FARGATE[project.cpu_architecture]
    share = prices.FARGATE_SPOT_SHARE if project.capacity == "fargate_spot" else 1
    vcpus, gib = project.size.cpu_units / 1024, project.size.memory_mib / 1024
    hour = share * (vcpus * rate.vcpu_hour + gib * rate.gib_hour)
    runs, run = runs_of_a_month(project.schedule), hour * minutes_per_run / 60
    times = "by hand" if runs is None else f"{runs:.3g} runs a month"
    spot = ", Spot" if project.capacity == "fargate_spot" else ""
    yield Cost(
        what=f"{project.name}: {vcpus:g} vCPU, {gib:g} GiB, {project.cpu_architecture}{spot}, {times}",
        hour=hour,
        run=run,
        month=None if runs is None else runs * run,
    )
    # A metric is paid for by the hours in which it is written.
    hours = min(runs or 0, prices.HOURS_OF_A_MONTH) / prices.HOURS_OF_A_MONTH
    metrics = METRICS_OF_A_RUN + len(project.steps)
    alarms = _ALARMS_OF_A_PROJECT + (_ALARMS_OF_A_SCHEDULE if project.schedule else 0)
    yield Cost(
        what=f"{project.name}: {metrics} metrics of each run",
        run=metrics * prices.CLOUDWATCH_METRIC_MONTH / prices.HOURS_OF_A_MONTH,
        month=None if runs is None else metrics * prices.CLOUDWATCH_METRIC_MONTH * hours,
    )
    yield Cost(what=f"{project.name}: {alarms} alarms", month=alarms * prices.CLOUDWATCH_ALARM_MONTH)
    if project.has_dashboard:
        yield Cost(what=f"{project.name}: dashboard", month=prices.CLOUDWATCH_DASHBOARD_MONTH)


def _guard(environment: Environment) -> Cost:
    calls_an_hour = len(environment.projects) * 60 / GUARD_INTERVAL_MINUTES
    call = (
        prices.SCHEDULER_INVOCATION + prices.LAMBDA_REQUEST + _GUARD_SECONDS * _GUARD_GIB * prices.LAMBDA_ARM_GIB_SECOND
    )
    hour = calls_an_hour * call + _QUEUE_REQUESTS_AN_HOUR * prices.SQS_REQUEST
    alarms = _ALARMS_OF_THE_GUARD * prices.CLOUDWATCH_ALARM_MONTH
    return Cost(
        what=f"guard, with {_ALARMS_OF_THE_GUARD} alarms", hour=hour, month=hour * prices.HOURS_OF_A_MONTH + alarms
    )


def _hosted_pages(environment: Environment) -> Iterator[Cost]:
    if environment.pages is None:
        return
    request = prices.CLOUDFRONT_HTTPS_REQUEST + prices.CLOUDFRONT_FUNCTION_REQUEST
    yield Cost(
        what=f"hosted pages: {_REQUESTS_OF_A_MONTH:,} requests a month, {_GB_OF_A_MONTH:g} GB",
        month=_REQUESTS_OF_A_MONTH * request + _GB_OF_A_MONTH * prices.CLOUDFRONT_GB,
    )
    if environment.pages.sign_in is not None:
        yield Cost(
            what=f"hosted pages: the session key, a secret, with {_ALARMS_OF_A_SIGN_IN} alarm",
            month=prices.SECRET_MONTH + _ALARMS_OF_A_SIGN_IN * prices.CLOUDWATCH_ALARM_MONTH,
        )


def _dollars(amount: float | None) -> str:
    if amount is None:
        return ""
    return f"${amount:.2f}" if amount >= 0.1 else f"${amount:.2g}"


def main() -> int:
    """Print the table of one environment; returns the exit code."""
    from stacks.environments import ENVIRONMENTS  # noqa: PLC0415 - wrong settings raise while the module is loaded

    by_name = {environment.name: environment for environment in ENVIRONMENTS}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", choices=sorted(by_name))
    parser.add_argument("--minutes-per-run", type=float, default=10.0)
    arguments = parser.parse_args()
    print(cost_table(by_name[arguments.environment], minutes_per_run=arguments.minutes_per_run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
