"""What a platform engineer does around a deployment: look before it, deploy one of many, go back from it."""

import subprocess
import sys
from pathlib import Path

from local_cloud.cdk_cli import REPOSITORY_ROOT
from local_cloud.demo import DeployedProject
from tests.e2e.analyst import ended, start_make
from tests.e2e.conftest import Story
from tests.e2e.grants import Role, decisions

_ENDPOINTS = {"ecr": {"ecr.api", "ecr.dkr"}}
"""The endpoints of a service, where they are not named as its actions are."""


def _command(story: Story, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One of this repository's commands, with the account's credentials."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=REPOSITORY_ROOT,
        env={**story.cloud.client_environment(), "PYTHONPATH": "container"},
        check=False,
        capture_output=True,
        text=True,
    )


def _make(story: Story, target: str, **variables: object) -> tuple[int, str]:
    named = {"ENV": story.choice.settings.environment, **variables}
    return ended(start_make(REPOSITORY_ROOT, story.cloud.client_environment(), target, named))


def test_preflight_finds_nothing_wrong_in_an_account_that_works(story: Story) -> None:
    """Every check of `make preflight` really asks the account, and nothing that runs is called wrong."""
    code, output = _make(story, "preflight")
    verdicts = [line.split(maxsplit=1)[0] for line in output.splitlines() if line[:1] not in {"", " "}]

    assert code == 0, output
    assert "wrong" not in verdicts
    assert {
        words
        for words in ("AWS credentials in use", "bootstrapped", "zones", "credentials for", "DAG files", "role")
        if words not in output
    } == set()


def test_dag_files_are_copied_as_they_are_deployed(story: Story, tmp_path: Path) -> None:
    """`make dags`, for those who ship DAGs by git: what lies in Airflow's bucket, file by file."""
    code, output = _make(story, "dags", TO=tmp_path)
    settings, s3 = story.choice.settings, story.cloud.account.client("s3")
    deployed = s3.get_object(Bucket=settings.dags_bucket, Key=settings.deployment_key)["Body"].read()
    copied = [path.read_bytes() for path in tmp_path.rglob("deployment.json")]

    assert code == 0, output
    assert copied == [deployed]
    assert list(tmp_path.rglob("*.py"))


def test_private_network_has_the_endpoints_that_tasks_called(story: Story, roles: dict[str, Role]) -> None:
    """What the containers asked AWS for, by the log of IAM's decisions, has an endpoint, and there is no endpoint more."""
    of_tasks = {
        role.name for role in roles.values() if role.logical_id.startswith(("TaskTaskRole", "TaskExecutionRole"))
    }
    called = {made.action.partition(":")[0] for made in decisions(story) if made.role_name in of_tasks}
    needed = {name for service in called for name in _ENDPOINTS.get(service, {service})}
    answer = story.cloud.account.client("ec2").describe_vpc_endpoints()
    prefix = f"com.amazonaws.{story.choice.settings.region}."
    there = {endpoint["ServiceName"].removeprefix(prefix) for endpoint in answer["VpcEndpoints"]}

    assert called
    assert there == needed


def test_rollback_brings_the_version_before_back(story: Story) -> None:
    """A broken model is deployed; one command brings task and DAG of the version before back, and the next run is green."""
    broken = story.deployed.deployment["task_definition_arn"]
    done = _command(story, "tools.rollback", story.choice.settings.environment, story.choice.settings.project)
    assert done.returncode == 0, done.stderr
    story.deployed = DeployedProject(story.cloud, story.choice.settings)
    story.cloud.airflow.wait_for_sync()
    state, _ = story.run()

    assert "is back at image" in done.stdout
    assert story.deployed.deployment["task_definition_arn"] != broken
    assert state == "success"
