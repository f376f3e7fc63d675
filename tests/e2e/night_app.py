"""The CDK app of an environment without Airflow, beside the one that the other end-to-end tests deploy."""

import dataclasses
import sys
from datetime import timedelta
from pathlib import Path

from stacks.environments import LOCAL
from stacks.platform import synthesize
from stacks.settings import Environment, OwnKey

NAME = "night"


def environment(project_path: Path) -> Environment:
    """The local environment's settings, with runs that EventBridge Scheduler starts, and a key of its own."""
    project = dataclasses.replace(
        LOCAL.projects[0], path=project_path, scheduler="eventbridge", schedule="0 5 * * *", time_zone="Europe/Berlin"
    )
    return dataclasses.replace(
        LOCAL,
        name=NAME,
        airflow=None,
        analyst_role_arns=(),
        encryption_key=OwnKey(),
        start_within=timedelta(minutes=1),
        runbook_url="https://example.com/runbook",
        projects=(project,),
    )


if __name__ == "__main__":
    sys.exit(synthesize(lambda: (environment(Path(sys.argv[1])),)))
