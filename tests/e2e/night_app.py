"""The CDK app of an environment without Airflow, which tells of its lineage and hosts its pages, beside the one that the other end-to-end tests deploy."""

import dataclasses
import sys
from datetime import timedelta
from pathlib import Path

from constructs_lib.openlineage import OpenLineage
from constructs_lib.pages_access import PagesHosting, SignIn
from stacks.environments import LOCAL
from stacks.platform import synthesize
from stacks.settings import Environment, OwnKey

NAME = "night"


def environment(project_path: Path, lineage: OpenLineage, client_secret_arn: str) -> Environment:
    """The local environment's settings, with runs that EventBridge Scheduler starts, a key of its own, and pages behind a sign-in."""
    # Nobody signs in: what is tried is the key of the sessions.
    sign_in = SignIn(
        issuer="https://login.example.com",
        client_id="pages",
        client_secret_arn=client_secret_arn,
        allowed_groups=("data-team",),
    )
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
        pages=PagesHosting(sign_in=sign_in),
        start_within=timedelta(minutes=1),
        runbook_url="https://example.com/runbook",
        projects=(project,),
    )


if __name__ == "__main__":
    path, url, secret_arn = sys.argv[1:]
    lineage = OpenLineage(url=url, api_key_secret_arn=secret_arn)
    sys.exit(synthesize(lambda: (environment(Path(path), lineage, secret_arn),)))
