"""The settings of the fleets that are synthesized for the figures."""

from pathlib import Path

from benchmarks.fleet_app import fleet
from stacks.settings import check_together


def test_environments_of_a_fleet_go_together(tmp_path: Path) -> None:
    """Ten environments in one account are what a user may have: one of them makes the identity provider."""
    environments = fleet(tmp_path, environments=3, projects=2)

    check_together(environments)
    makes_provider = [
        environment.ci is not None and environment.ci.provider_arn is None for environment in environments
    ]
    assert makes_provider == [True, False, False]
    assert [len(environment.projects) for environment in environments] == [2, 2, 2]
