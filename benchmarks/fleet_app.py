"""`python -m benchmarks.fleet_app FOLDER ENVIRONMENTS PROJECTS`: the CDK app of a fleet of small dbt projects."""

import dataclasses
import sys
from pathlib import Path

from benchmarks.generated_project import generate_project
from constructs_lib.ci_access import GitHub, GitLab
from stacks.environments import LIVE
from stacks.platform import synthesize
from stacks.settings import DbtProject, Environment

_MODELS = 5


def project_folder(folder: Path, environment: int, project: int) -> Path:
    """Where the dbt project of one stack lies; each is one of its own."""
    return folder / f"{environment:02d}" / f"shop_{project:03d}"


def fleet(folder: Path, *, environments: int, projects: int) -> list[Environment]:
    """
    Environments as the example `live`, each with so many dbt projects; their folders are made if they are missing.

    The first makes the identity provider, of which an account can have one.
    """
    return [
        dataclasses.replace(
            LIVE,
            name=f"fleet{environment}",
            ci=LIVE.ci if environment == 0 else _with_provider(LIVE),
            projects=tuple(_project(project_folder(folder, environment, number), number) for number in range(projects)),
        )
        for environment in range(environments)
    ]


def _with_provider(environment: Environment) -> GitHub | GitLab | None:
    if environment.ci is None:
        return None
    host = environment.ci.url.removeprefix("https://")
    provider_arn = f"arn:aws:iam::{environment.account}:oidc-provider/{host}"
    return dataclasses.replace(environment.ci, provider_arn=provider_arn)


def _project(folder: Path, number: int) -> DbtProject:
    if not folder.exists():
        generate_project(folder, models=_MODELS, sources_schema="raw")
        # What no other project has, so that nothing is hashed, copied or parsed once for all.
        (folder / "models/own.sql").write_text(f"select {number} as own\n")
    return dataclasses.replace(LIVE.projects[0], name=f"shop_{number:03d}", path=folder)


def main() -> int:
    """Synthesize; returns the exit code."""
    folder, environments, projects = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    return synthesize(lambda: fleet(folder, environments=environments, projects=projects))


if __name__ == "__main__":
    sys.exit(main())
