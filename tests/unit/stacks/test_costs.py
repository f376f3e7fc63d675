"""What an environment costs is computed from its settings."""

from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from constructs_lib.pages_access import PagesHosting, SignIn
from constructs_lib.repository import REPOSITORY
from constructs_lib.task_size import TaskSize
from runner.metrics import metric_lines
from stacks.costs import METRICS_OF_A_RUN, Cost, cost_table, costs, runs_of_a_month
from stacks.environments import LIVE, LOCAL
from stacks.platform import DbtPlatform
from stacks.settings import Environment, OwnNetwork
from tests.unit.stacks.settings_of_a_stranger import environment, project

_SIZE = TaskSize(cpu_units=1024, memory_mib=2048)


def _line(settings: Environment, words: str) -> Cost:
    (line,) = (line for line in costs(settings, minutes_per_run=10) if words in line.what)
    return line


@pytest.mark.parametrize(
    ("schedule", "runs"), [("0 5 * * *", 365 / 12), ("0 * * * *", 8760 / 12), ("0 5 1 * *", 1), (None, None)]
)
def test_runs_are_counted_over_a_year(schedule: str | None, runs: float | None) -> None:
    """Months differ in length, and schedules in months."""
    assert runs_of_a_month(schedule) == (None if runs is None else pytest.approx(runs))


@pytest.mark.parametrize(
    ("changes", "run"),
    [
        ({}, (0.04048 + 2 * 0.004445) / 6),
        ({"cpu_architecture": "arm64"}, (0.03238 + 2 * 0.00356) / 6),
        ({"capacity": "fargate_spot"}, 0.3 * (0.04048 + 2 * 0.004445) / 6),
    ],
    ids=["x86", "arm", "spot"],
)
def test_run_costs_its_size_for_its_time(tiny_project: Path, changes: dict[str, object], run: float) -> None:
    """Ten minutes are a sixth of the price of an hour of its CPU and memory; a month is as many as the schedule has."""
    planned = project(tiny_project, size=_SIZE, schedule="0 5 * * *", **changes)

    line = _line(environment(tiny_project, projects=(planned,)), "vCPU")

    assert line.run == pytest.approx(run)
    assert line.month == pytest.approx(run * 365 / 12)


def test_runs_by_hand_cost_nothing_by_themselves(tiny_project: Path) -> None:
    """Nobody can tell how many there will be; what one costs is there."""
    line = _line(environment(tiny_project), "by hand")

    assert line.run is not None
    assert line.month is None


@pytest.mark.parametrize("settings", [LIVE, LOCAL], ids=lambda settings: str(settings.name))
def test_what_is_counted_is_what_is_deployed(app: cdk.App, settings: Environment) -> None:
    """Alarms, dashboards and endpoints in the table are those of the templates."""
    platform = DbtPlatform(app, settings=settings)
    templates = [
        Template.from_stack(stack) for stack in (platform.environment_stack, *platform.project_stacks.values())
    ]

    def deployed(resource_type: str) -> int:
        return sum(len(template.find_resources(resource_type)) for template in templates)

    lines = costs(settings, minutes_per_run=10)
    alarms = sum(
        int(word)
        for line in lines
        for word, what in zip(line.what.split(), line.what.split()[1:], strict=False)
        if what in {"alarm", "alarms"}
    )
    assert alarms == deployed("AWS::CloudWatch::Alarm")
    assert sum("dashboard" in line.what for line in lines) == deployed("AWS::CloudWatch::Dashboard")
    interfaces = [
        endpoint
        for template in templates
        for endpoint in template.find_resources("AWS::EC2::VPCEndpoint").values()
        if endpoint["Properties"]["VpcEndpointType"] == "Interface"
    ]
    zones = len(settings.network.availability_zones) if isinstance(settings.network, OwnNetwork) else 0
    counted = [line.hour for line in lines if "endpoints" in line.what]
    assert counted == ([pytest.approx(len(interfaces) * zones * 0.01)] if interfaces else [])


def test_metrics_are_those_that_the_runner_writes() -> None:
    """A metric that is added to the runner is paid for in every project."""

    class Nothing:
        def results(self) -> list[object]:
            return []

    (line,) = metric_lines(
        environment="live",
        project="shop",
        run_id="run",
        attempt=1,
        outcome="success",
        seconds=1,
        endings=[],
        ledger=Nothing(),  # type: ignore[arg-type] # it asks for results alone
    )

    assert len(line["_aws"]["CloudWatchMetrics"][0]["Metrics"]) == METRICS_OF_A_RUN


def test_hosted_pages_cost_what_is_asked_for_and_a_secret(tiny_project: Path) -> None:
    """Nothing where they are not hosted, and a secret only where people sign in."""
    sign_in = SignIn(
        issuer="https://login.example.com",
        client_id="pages",
        client_secret_arn="arn:aws:secretsmanager:eu-west-1:333333333333:secret:pages-a1B2c3",
        allowed_groups=("data-team",),
    )

    def hosted(pages: PagesHosting | None) -> dict[str, float | None]:
        lines = costs(environment(tiny_project, pages=pages), minutes_per_run=10)
        return {line.what: line.month for line in lines if "hosted pages" in line.what}

    requests = {"hosted pages: 50,000 requests a month, 5 GB": pytest.approx(50_000 * 1.1e-6 + 5 * 0.085)}
    assert hosted(None) == {}
    assert hosted(PagesHosting(networks=("203.0.113.0/24",))) == requests
    assert hosted(PagesHosting(sign_in=sign_in)) == {
        **requests,
        "hosted pages: the session key, a secret, with 1 alarm": 0.50,
    }


def test_total_is_the_sum_of_the_months(tiny_project: Path) -> None:
    """What has no month is not in it."""
    *lines, total = costs(environment(tiny_project), minutes_per_run=10)

    assert total.month == pytest.approx(sum(line.month for line in lines if line.month is not None))


def test_readme_shows_the_table_of_the_sample() -> None:
    """The README's figures are those of `make cost ENV=live`, not remembered ones."""
    readme = (REPOSITORY / "README.md").read_text()

    assert cost_table(LIVE, minutes_per_run=10) in readme
