"""A deployed project as a person reaches it: by the settings' names, with their own AWS login, under the launch role."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError

from dbt_on_fargate.containers import Containers
from dbt_on_fargate.deployment import Deployment
from dbt_on_fargate.record import RunRecord
from stacks import names
from stacks.settings import DbtProject, Environment
from tools.pages import bucket_reader

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class AnalystError(Exception):
    """Nothing was done; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """An environment of the settings and one of its projects."""

    environment: Environment
    project: DbtProject


def choose(environments: Sequence[Environment], environment: str, project: str) -> Chosen:
    """Find both by their names, an empty project as the only one there is; raises AnalystError for any other name."""
    found = next((known for known in environments if known.name == environment), None)
    if found is None:
        allowed = ", ".join(known.name for known in environments)
        raise AnalystError(f"environment must be one of {allowed}, got {environment!r}")
    projects = {known.name: known for known in found.projects}
    if not project and len(projects) == 1:
        return Chosen(environment=found, project=found.projects[0])
    if project not in projects:
        raise AnalystError(f"project must be one of {', '.join(projects)}, got {project!r}")
    return Chosen(environment=found, project=projects[project])


class DeployedProject:
    """
    What the last deployment of a project wrote for Airflow, read from Airflow's bucket, with clients under its launch role.

    `own` is the person's login. It needs s3:GetObject on the deployment file and sts:AssumeRole on the launch role, which has to
    trust it (`analyst_role_arns`). Raises AnalystError if the project has no launch role, or is not deployed.
    """

    def __init__(self, chosen: Chosen, own: boto3.Session) -> None:
        environment, project = chosen.environment, chosen.project
        if environment.airflow is None or project.scheduler != "airflow":
            raise AnalystError(
                f"project {project.name!r} has no launch role in {environment.name!r}, since no Airflow starts it: "
                "see docs/runbook.md, Run something again by hand"
            )
        self.own = own
        key = f"{environment.airflow.key(names.dag_folder(environment.name, project.name))}/deployment.json"
        self.deployment = _read_deployment(own.client("s3"), environment.airflow.dags_bucket, key)
        self._session = _session_as(own, self.deployment.launch_role_arn)
        self.s3 = self._session.client("s3")
        ecs = self._session.client("ecs")
        self.ecs: Callable[[], Any] = lambda: ecs
        self.containers = Containers(self.deployment, client=self.ecs)

    def record(self, run_id: str) -> RunRecord:
        """The record of a run."""
        deployment = self.deployment
        return RunRecord(
            client=self.s3, bucket=deployment.bucket_name, prefix=f"{deployment.project_prefix}runs/{run_id}/"
        )

    def json(self, name: str) -> dict[str, Any] | None:
        """A JSON file below the project's prefix, None if there is none."""
        found = bucket_reader(self.s3, self.deployment.bucket_name)(f"{self.deployment.project_prefix}{name}")
        if found is None:
            return None
        content: dict[str, Any] = json.loads(found.content())
        return content

    def last_run(self) -> str:
        """The id of the run that began last, whatever became of it, trials left out; raises AnalystError if there is none."""
        alive = [
            container
            for container in self.containers.all()
            if container.record_id and not container.is_gone and not container.is_trial
        ]
        if alive:
            return str(alive[0].record_id)
        overview = self.json("history/overview.json") or {}
        # The last that has ended, and what has begun since.
        begun: list[dict[str, Any]] = [*filter(None, [overview.get("last")]), *overview.get("begun", [])]
        if not begun:
            raise AnalystError(f"no run of {self.deployment.project} in {self.deployment.environment} is known yet")
        return str(max(begun, key=lambda entry: str(entry["started_at"]))["run_id"])


def _read_deployment(s3: "S3Client", bucket: str, key: str) -> Deployment:
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except s3.exceptions.NoSuchKey as error:
        raise AnalystError(f"s3://{bucket}/{key} is not there: deploy the project first") from error
    except (ClientError, BotoCoreError) as error:
        raise AnalystError(f"s3:GetObject on s3://{bucket}/{key} failed: {error}") from error
    return Deployment.from_mapping(json.loads(body))


def _session_as(own: boto3.Session, role_arn: str) -> boto3.Session:
    """A session of the role that renews itself: one of a chained role ends after an hour, and runs may take longer."""
    source = own.get_credentials()
    if source is None:
        raise AnalystError("there are no AWS credentials: log in first, for example by aws sso login")
    region = own.region_name
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=lambda service, **options: own.client(service, **{"region_name": region, **options}),
        source_credentials=source,
        role_arn=role_arn,
        extra_args={"RoleSessionName": "make"},
    )
    session = botocore.session.Session()
    session.register_component("credential_provider", CredentialResolver([_LaunchRole(fetcher)]))
    return boto3.Session(botocore_session=session, region_name=region)


class _LaunchRole(CredentialProvider):
    """Credentials that are fetched when they are needed, and again before they end."""

    METHOD = "launch-role"

    def __init__(self, fetcher: AssumeRoleCredentialFetcher) -> None:
        super().__init__()
        self._fetcher = fetcher

    def load(self) -> DeferredRefreshableCredentials:
        return DeferredRefreshableCredentials(method=self.METHOD, refresh_using=self._fetcher.fetch_credentials)
