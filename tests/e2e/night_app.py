"""The CDK app of an environment without Airflow, which tells of its lineage, beside the one that the other end-to-end tests deploy."""

import dataclasses
import sys
from datetime import timedelta
from pathlib import Path

from constructs_lib.openlineage import OpenLineage
from stacks.environments import LOCAL
from stacks.platform import synthesize
from stacks.settings import Environment, OwnKey

NAME = "night"


def environment(project_path: Path, lineage: OpenLineage) -> Environment:
    """The local environment's settings, with runs that EventBridge Scheduler starts, and a key of its own."""
    project = dataclasses.replace(
        LOCAL.projects[0],
        path=project_path,
        scheduler="eventbridge",
        schedule="0 5 * * *",
        time_zone="Europe/Berlin",
        lineage=lineage,
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
    path, url, secret_arn = sys.argv[1:]
    lineage = OpenLineage(url=url, api_key_secret_arn=secret_arn)
    sys.exit(synthesize(lambda: (environment(Path(path), lineage),)))
