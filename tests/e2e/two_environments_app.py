"""The CDK app of two environments with one project, as a company has that tries in one what runs in the other."""

import dataclasses
import sys
from pathlib import Path

from constructs_lib.ci_access import GitHub
from stacks.environments import LOCAL
from stacks.platform import synthesize
from stacks.settings import Environment

NAMES = ("first", "second")
_FIRST_PIPELINE = GitHub(repository="owner/dbt", environment=NAMES[0])
_SECOND_PIPELINE = GitHub(
    repository="owner/dbt",
    environment=NAMES[1],
    # The account's one provider is made with the first environment.
    provider_arn=f"arn:aws:iam::{LOCAL.account}:oidc-provider/token.actions.githubusercontent.com",
)


def environments(project_path: Path) -> tuple[Environment, ...]:
    """Two environments of the local account, without Airflow."""
    project = dataclasses.replace(LOCAL.projects[0], path=project_path, scheduler="none", schedule=None)
    return tuple(
        dataclasses.replace(LOCAL, name=name, airflow=None, analyst_role_arns=(), projects=(project,), ci=pipeline)
        for name, pipeline in zip(NAMES, (_FIRST_PIPELINE, _SECOND_PIPELINE), strict=True)
    )


if __name__ == "__main__":
    sys.exit(synthesize(lambda: environments(Path(sys.argv[1]))))
