"""
A settings file that nobody here wrote is deployed as it is, into an account that is as it says, and a container of it runs.

The stranger's account is another one, so it takes the place of the one of all other tests: this file is the last.
"""

import functools
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from constructs_lib.dbt_environment import dbt_python
from constructs_lib.dbt_requirements import DbtRequirements
from local_cloud.app import described
from local_cloud.cdk_cli import REPOSITORY_ROOT
from local_cloud.cloud import LocalCloud
from local_cloud.run_records import RunRecords
from stacks.settings import Environment, ExistingNetwork
from tests.e2e.conftest import Story, wait_for
from tests.e2e.inventory import inventory
from tests.unit.stacks.stranger import environments
from tools import destroy

_PINNED = REPOSITORY_ROOT / "tests/pinned/dbt-1.10-requirements.txt"
_SECONDS_TO_RUN = 900.0
_FLAGS = ("--asset-prebuild=false", "--require-approval", "never")


class Stranger:
    """The stranger's account in one region, with what the settings say is there already."""

    def __init__(self, story: Story, folder: Path) -> None:
        self._steps = story.steps
        self._folder = Path(shutil.copytree(story.project_path, folder / "project"))
        self.environments = {environment.name: environment for environment in environments(self._folder, _PINNED)}
        # Here, where this machine's way to the package index is known; the app is started without it.
        dbt_python(DbtRequirements(_PINNED), cache_folder=REPOSITORY_ROOT / ".cache/dbt-graph/environments")
        self.cloud = LocalCloud(story.cloud.folder, steps=story.steps)
        settings = described(self.environments["x"])
        self.cloud.start(settings)
        raw_data = story.choice.raw_data
        assert raw_data is not None
        self.cloud.warehouse.run_sql(raw_data.read_text())

    def client(self, service: str, region: str | None = None) -> Any:  # noqa: ANN401 - boto3 makes the types of its clients at run time
        """A client of the account, in the region of `x` unless another is named."""
        variables = self.cloud.client_environment()
        session = boto3.Session(
            variables["AWS_ACCESS_KEY_ID"],
            variables["AWS_SECRET_ACCESS_KEY"],
            region_name=region or variables["AWS_REGION"],
        )
        return session.client(service, endpoint_url=variables["AWS_ENDPOINT_URL"])  # type: ignore[call-overload]

    def bootstrap(self, environment: Environment) -> None:
        """Prepare its region for deployments."""
        self.cloud.cdk().bootstrap(environment.account, environment.region)

    def deploy(self, environment: Environment) -> None:
        """Deploy it, from the stranger's file."""
        with self._steps.step(f"cdk deploy of the stranger's environment {environment.name}") as step:
            app = (sys.executable, "-m", "tests.unit.stacks.stranger", str(self._folder), str(_PINNED))
            self.cloud.cdk(app).run("deploy", f"{environment.name}/**", *_FLAGS, say=step.say)

    def prepare(self, environment: Environment) -> None:
        """Make what is to be there before a deployment: the cluster, the boundary, the parameters of the warehouse."""
        assert environment.cluster is not None
        assert environment.permissions_boundary_arn is not None
        self.client("ecs").create_cluster(clusterName=environment.cluster.name)
        path, _, name = environment.permissions_boundary_arn.partition(":policy")[2].rpartition("/")
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        self.client("iam").create_policy(
            PolicyName=name,
            Path=f"{path}/",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
        )
        warehouse = self.cloud.warehouse
        values = {
            "host": warehouse.host,
            "port": str(warehouse.port),
            "database": warehouse.database,
            "user": warehouse.user,
            "password": warehouse.password,
        }
        for name, value in values.items():
            self.client("ssm").put_parameter(Name=f"/dbt/A.b-c/{name}", Value=value, Type="SecureString")


@pytest.fixture(scope="module")
def stranger(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    """The account, with the environment that finds most things there already."""
    stranger = Stranger(story, tmp_path_factory.mktemp("stranger"))
    environment = stranger.environments["x"]
    stranger.prepare(environment)
    stranger.bootstrap(environment)
    stranger.deploy(environment)
    return stranger


@pytest.fixture(scope="module")
def before_the_second(stranger: Stranger) -> dict[str, set[str]]:
    """What the account holds in the region of the environment without Airflow, which is then deployed."""
    environment = stranger.environments["x-1"]
    stranger.bootstrap(environment)
    before = inventory(functools.partial(stranger.client, region=environment.region))
    stranger.deploy(environment)
    return before


def test_roles_lie_where_they_must(stranger: Stranger) -> None:
    """In the account, not only in the template: the path of every role that the stacks have made."""
    roles = [
        stranger.client("iam").get_role(RoleName=resource["PhysicalResourceId"])["Role"]
        for stack in ("x-dbt", "x-dbt-a", "x-dbt-a-1")
        for resource in stranger.client("cloudformation").list_stack_resources(StackName=stack)[
            "StackResourceSummaries"
        ]
        if resource["ResourceType"] == "AWS::IAM::Role"
    ]

    assert len(roles) > 5
    assert {role["Path"] for role in roles} == {stranger.environments["x"].role_path}


def test_a_container_of_the_stranger_builds(stranger: Stranger) -> None:
    """In the shared cluster, with a dbt of its own, odd parameters as credentials and a schema of an odd name; its record is green."""
    environment = stranger.environments["x"]
    network = environment.network
    assert environment.cluster is not None
    assert isinstance(network, ExistingNetwork)
    cluster_name = environment.cluster.name
    ecs, cloudformation = stranger.client("ecs"), stranger.client("cloudformation")
    started = ecs.run_task(
        cluster=cluster_name,
        taskDefinition="x-dbt-a-1",
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": list(network.private_subnet_ids[:1])}},
        overrides={
            "containerOverrides": [{"name": "dbt", "environment": [{"name": "RUNNER_RUN_ID", "value": "strange"}]}]
        },
    )
    task_arn = started["tasks"][0]["taskArn"]

    def stopped() -> dict[str, Any] | None:
        task: dict[str, Any] = ecs.describe_tasks(cluster=cluster_name, tasks=[task_arn])["tasks"][0]
        return task if task["lastStatus"] == "STOPPED" else None

    task = wait_for(stopped, "the container ended", timeout_seconds=_SECONDS_TO_RUN)
    (shared,) = cloudformation.describe_stacks(StackName="x-dbt")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in shared["Outputs"]}
    attempt = RunRecords(stranger.client("s3"), bucket=outputs["ArtifactsBucketName"], project="a_1").attempt("strange")

    assert attempt is not None
    assert attempt.end is not None
    assert (task["containers"][0]["exitCode"], attempt.end["outcome"]) == (0, "success"), attempt.end["headline"]
    pinned = {name: str(version) for name, version in DbtRequirements(_PINNED).versions.items()}
    own = DbtRequirements(REPOSITORY_ROOT / "container/requirements.txt").versions
    for name in ("dbt-core", "dbt-redshift"):
        assert attempt.start["versions"][name] == pinned[name] != str(own[name])


@pytest.mark.usefixtures("before_the_second")
def test_an_environment_without_airflow_is_deployed_beside_it(stranger: Stranger) -> None:
    """In another region of the account, with a network, a key and schedules of its own, and no name that the other has."""
    environment = stranger.environments["x-1"]
    cloudformation = stranger.client("cloudformation", environment.region)
    resources = {
        resource["ResourceType"]: resource["PhysicalResourceId"]
        for resource in cloudformation.list_stack_resources(StackName="x-1-dbt-z9")["StackResourceSummaries"]
    }

    assert "AWS::Scheduler::Schedule" in resources
    assert "Custom::CDKBucketDeployment" not in resources


def test_destroying_an_environment_leaves_nothing_of_it(
    stranger: Stranger,
    before_the_second: dict[str, set[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Network, key, schedules, the pipeline's identity provider and its role: the account is as it was, and the other is whole."""
    environment = stranger.environments["x-1"]
    client = functools.partial(stranger.client, region=environment.region)
    deployed = inventory(client)
    for name, value in stranger.cloud.client_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    code = destroy.main(["x-1", "--yes"], list(stranger.environments.values()))

    assert (code, capsys.readouterr().out.splitlines()[-1]) == (0, "nothing is kept")
    assert [kind for kind, there in deployed.items() if there <= before_the_second[kind]] == []
    assert inventory(client) == before_the_second
