"""
The life of an environment that keeps its data: upgraded from an earlier state, a project goes, another is rolled back, all goes.

The tests are one story: each goes on where the one before stopped. They come after the account is empty again, because they
leave in it what is kept.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from local_cloud.cdk_cli import CdkCli
from tests.e2e.conftest import Story
from tests.e2e.earlier_release import earlier_assembly
from tests.e2e.lifecycle_app import NAME, environment
from tools import destroy, rollback

_FLAGS = ("--asset-prebuild=false", "--require-approval", "never")
_DATA = {
    "AWS::ECR::Repository",
    "AWS::ECS::Cluster",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
}


class Life:
    """The environment, and what a platform engineer does with it."""

    def __init__(self, story: Story, folder: Path) -> None:
        self._story = story
        self._folder = folder
        self.project_path = Path(shutil.copytree(story.project_path, folder / "project"))

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes the types of its clients at run time
        """A client of the account."""
        return self._story.cloud.account.client(service)

    def deploy(self, title: str, *projects: str) -> None:
        """Deploy the environment with these projects in its settings."""
        with self._story.steps.step(title) as step:
            self._cdk(*projects).run("deploy", f"{NAME}/**", *_FLAGS, say=step.say)

    def deploy_as_earlier(self, project: str) -> None:
        """Deploy it as its templates were."""
        with self._story.steps.step("cdk deploy of an earlier state of the templates") as step:
            self._cdk(project).run("synth", f"{NAME}/**", "--quiet")
            assembly = earlier_assembly(self._story.cloud.folder / "cdk.out", self._folder / "earlier")
            self._story.cloud.cdk((str(assembly),)).run("deploy", f"{NAME}/**", *_FLAGS, say=step.say)

    def resources(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Type and physical id of all that the stacks hold, by stack and logical id."""
        return {
            (stack, resource["LogicalResourceId"]): (resource["ResourceType"], resource["PhysicalResourceId"])
            for stack in self.stacks()
            for page in self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
            for resource in page["StackResourceSummaries"]
        }

    def stacks(self) -> list[str]:
        """The names of the stacks that are there."""
        return sorted(
            stack["StackName"]
            for stack in self.client("cloudformation").describe_stacks()["Stacks"]
            if stack["StackName"].startswith(f"{NAME}-") and stack["StackStatus"] != "DELETE_COMPLETE"
        )

    def make(self, command: Any, *arguments: str) -> int:  # noqa: ANN401 - a module of tools
        """One of the commands, as `make` starts it; returns its exit code."""
        settings = environment(self.project_path, ("shop", "gone"))
        code: int = command.main([NAME, *arguments], [settings])
        return code

    def image(self, project: str) -> str:
        """The tag of the image that runs of a project start."""
        ecs = self.client("ecs")
        definition = ecs.describe_task_definition(taskDefinition=f"{NAME}-dbt-{project}")["taskDefinition"]
        return str(definition["containerDefinitions"][0]["image"]).rpartition(":")[2]

    def dag_files(self, project: str) -> list[str]:
        """The keys of a project's DAG in Airflow's bucket."""
        prefix = f"dags/dbt_on_fargate_{NAME}_{project}/"
        answer = self.client("s3").list_objects_v2(Bucket="local-airflow", Prefix=prefix)
        return [item["Key"] for item in answer.get("Contents", [])]

    def _cdk(self, *projects: str) -> CdkCli:
        return self._story.cloud.cdk(("python", "-m", "tests.e2e.lifecycle_app", str(self.project_path), *projects))


@pytest.fixture(scope="module")
def life(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """The environment, as the commands see it; what it keeps goes with the local cloud."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in story.cloud.client_environment().items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        yield Life(story, tmp_path_factory.mktemp("life"))


@pytest.fixture(scope="module")
def upgraded(life: Life) -> tuple[dict[tuple[str, str], tuple[str, str]], dict[tuple[str, str], tuple[str, str]]]:
    """What was there before and after an upgrade, in between which somebody left a run record and a line in the log."""
    life.deploy_as_earlier("shop")
    before = life.resources()
    by_id = {logical_id: physical_id for (_, logical_id), (_, physical_id) in before.items()}
    life.client("s3").put_object(Bucket=by_id["Artifacts80C0BB10"], Key="shop/runs/one/spec.json", Body=b"{}")
    logs, group = life.client("logs"), by_id["TaskLogGroup1B4092C9"]
    logs.create_log_stream(logGroupName=group, logStreamName="dbt/dbt/one")
    logs.put_log_events(
        logGroupName=group, logStreamName="dbt/dbt/one", logEvents=[{"timestamp": 1_795_000_000_000, "message": "said"}]
    )
    life.deploy("cdk deploy of the templates as they are now, with a second project", "shop", "gone")
    return before, life.resources()


def test_an_upgrade_replaces_nothing_that_holds_data(
    life: Life,
    upgraded: tuple[dict[tuple[str, str], tuple[str, str]], dict[tuple[str, str], tuple[str, str]]],
) -> None:
    """Records, logs, images and who is subscribed to alerts stay where they were."""
    before, after = upgraded
    held = {key: resource for key, resource in before.items() if resource[0] in _DATA}
    by_id = {logical_id: physical_id for (_, logical_id), (_, physical_id) in after.items()}
    stored = life.client("s3").list_objects_v2(Bucket=by_id["Artifacts80C0BB10"])["Contents"]
    said = life.client("logs").filter_log_events(logGroupName=by_id["TaskLogGroup1B4092C9"])["events"]

    assert {kind for kind, _ in held.values()} >= _DATA - {"AWS::KMS::Key"}
    assert {key: after.get(key) for key in held} == held
    assert "shop/runs/one/spec.json" in [item["Key"] for item in stored]
    assert [event["message"] for event in said] == ["said"]
    assert life.client("ecr").list_images(repositoryName=f"{NAME}/dbt/shop")["imageIds"]


def test_rollback_goes_back_one_further_each_time(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """Two in a row go back two versions; where there is nothing further, that is one sentence and nothing changes."""
    images = [life.image("shop")]
    for text in ("select 1 as lifecycle", "select 2 as lifecycle"):
        (life.project_path / "models/lifecycle.sql").write_text(f"{text}\n")
        life.deploy(f"cdk deploy of another version: {text}", "shop", "gone")
        images.append(life.image("shop"))
    codes, seen = [], []
    for _ in range(3):
        codes.append(life.make(rollback, "shop"))
        seen.append(life.image("shop"))

    said = capsys.readouterr()
    first, second, third = images
    assert len({first, second, third}) == 3
    assert (codes, seen) == ([0, 0, 1], [second, first, first]), said.err
    assert f"nothing was deployed before image {first}" in said.err


def test_a_project_that_goes_leaves_what_retention_says(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """Its stack goes and its DAG with it; the command names what is kept, and that is what is there. The other project stays."""
    others = {
        key: resource
        for key, resource in life.resources().items()
        # A deployment after a rollback goes forward again.
        if key[0] == f"{NAME}-dbt-shop" and resource[0] != "AWS::ECS::TaskDefinition"
    }
    assert life.dag_files("gone")
    _, log_group = life.resources()[f"{NAME}-dbt-gone", "TaskLogGroup1B4092C9"]

    code = life.make(destroy, "gone", "--yes")
    life.deploy("cdk deploy of the settings without the project", "shop")

    lines = capsys.readouterr().out.splitlines()
    kept = [line.split(maxsplit=1)[1] for line in lines if line.startswith("kept ")]
    assert code == 0
    assert f"AWS::Logs::LogGroup {log_group}" in kept
    assert {line.split()[0] for line in kept} <= {"AWS::Logs::LogGroup", "AWS::ECS::TaskDefinition"}
    assert life.stacks() == [f"{NAME}-ci", f"{NAME}-dbt", f"{NAME}-dbt-shop"]
    assert life.dag_files("gone") == []
    assert life.dag_files("shop")
    assert {key: resource for key, resource in life.resources().items() if key in others} == others
    groups = life.client("logs").describe_log_groups(logGroupNamePrefix=log_group)["logGroups"]
    assert [group["logGroupName"] for group in groups] == [log_group]
    # The registry is the environment's, and keeps its images.
    assert f"{NAME}/dbt/gone" in _repositories(life)


def test_destroy_keeps_the_data_and_says_what(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """A protected environment is refused first; then everything goes but what the command names, and that is all there."""
    cloudformation = life.client("cloudformation")
    assert life.make(destroy, "--yes") == 1
    assert f"nothing was deleted: {NAME}-dbt, {NAME}-ci is protected" in capsys.readouterr().err
    assert life.stacks() == [f"{NAME}-ci", f"{NAME}-dbt", f"{NAME}-dbt-shop"]

    for stack in (f"{NAME}-dbt", f"{NAME}-ci"):
        cloudformation.update_termination_protection(EnableTerminationProtection=False, StackName=stack)
    assert life.make(destroy, "--yes") == 0

    lines = capsys.readouterr().out.splitlines()
    kept = {tuple(line.split()[1:]) for line in lines if line.startswith("kept ")}
    assert life.stacks() == []
    buckets = {physical_id for kind, physical_id in kept if kind == "AWS::S3::Bucket"}
    assert {
        bucket["Name"] for bucket in life.client("s3").list_buckets()["Buckets"] if bucket["Name"].startswith(NAME)
    } == buckets
    assert len(buckets) == 2
    assert "shop/runs/one/spec.json" in {
        item["Key"]
        for bucket in buckets
        for item in life.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    }
    assert ("AWS::ECR::Repository", f"{NAME}/dbt/shop") in kept
    assert life.client("ecr").list_images(repositoryName=f"{NAME}/dbt/shop")["imageIds"]
    (log_group,) = {physical_id for kind, physical_id in kept if kind == "AWS::Logs::LogGroup"}
    assert life.client("logs").filter_log_events(logGroupName=log_group)["events"]
    assert [name for name in _log_groups(life) if name != log_group and f"{NAME}-dbt-shop" in name] == []
    assert life.dag_files("shop") == []
    # Who deployed is no data.
    assert life.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"] == []
    assert [
        role["RoleName"] for role in life.client("iam").list_roles()["Roles"] if role["RoleName"].startswith(NAME)
    ] == []
    assert life.make(destroy, "--yes") == 0
    assert f"nothing of {NAME} is deployed" in capsys.readouterr().out


def _repositories(life: Life) -> list[str]:
    return [found["repositoryName"] for found in life.client("ecr").describe_repositories()["repositories"]]


def _log_groups(life: Life) -> list[str]:
    return [group["logGroupName"] for group in life.client("logs").describe_log_groups()["logGroups"]]
