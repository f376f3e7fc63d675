"""The end of the deployment, and what its roles have used until then."""

import subprocess
from collections.abc import Mapping

from local_cloud.cdk_cli import REPOSITORY_ROOT
from tests.e2e.conftest import Story
from tests.e2e.grants import Role, decisions, unused


def make(
    target: str, *, environment: Mapping[str, str], answer: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that asks the person at the terminal something."""
    named = [f"{name}={value}" for name, value in variables.items()]
    return subprocess.run(
        ["make", target, *named],
        cwd=REPOSITORY_ROOT,
        env=dict(environment),
        input=f"{answer}\n",
        check=False,
        capture_output=True,
        text=True,
    )


def test_destroy_leaves_nothing(story: Story, roles: dict[str, Role]) -> None:
    """`make destroy` of the project, and then of the environment, removes every resource that was deployed, and nothing of what Airflow's bucket held before."""
    assert roles, "they must be looked at while they are there"
    environment = story.cloud.client_environment()
    with story.steps.step("make destroy, of the project and then of all"):
        alone = make("destroy", environment=environment, answer="bookshop", ENV="local", PROJECT="bookshop")
        destroyed = make("destroy", environment=environment, answer="local", ENV="local")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert destroyed.returncode == 0, destroyed.stdout + destroyed.stderr
    account = story.cloud.account
    stacks = [
        stack["StackName"]
        for stack in account.client("cloudformation").describe_stacks()["Stacks"]
        if stack["StackStatus"] != "DELETE_COMPLETE"
    ]
    log_groups = [group["logGroupName"] for group in account.client("logs").describe_log_groups()["logGroups"]]
    buckets = [bucket["Name"] for bucket in account.client("s3").list_buckets()["Buckets"]]
    repositories = [
        repository["repositoryName"] for repository in account.client("ecr").describe_repositories()["repositories"]
    ]

    assert stacks == ["CDKToolkit"]
    assert [name for name in log_groups if "dbt" in name.lower()] == []
    assert {"local-airflow"} == {name for name in buckets if not name.startswith("cdk-")}
    assert [name for name in repositories if not name.startswith("cdk-")] == []
    assert [
        item["Key"] for item in account.client("s3").list_objects_v2(Bucket="local-airflow").get("Contents", [])
    ] == []


def test_no_role_was_denied_anything(story: Story, roles: dict[str, Role]) -> None:
    """Deployments, green, red and stopped runs, and the teardown got by with what was granted."""
    names = {role.name for role in roles.values()}

    assert [found for found in decisions(story) if found.role_name in names and found.answer != "Allow"] == []


def test_every_grant_is_used_or_explained(story: Story, roles: dict[str, Role]) -> None:
    """A permission that nothing made use of has a reason in the template, beside the role."""
    made = decisions(story)
    without_reason = [
        (role.logical_id, grant.action, grant.resource)
        for role in roles.values()
        for grant in unused(role.grants, made)
        if grant.action not in role.reasons
    ]

    assert without_reason == []
