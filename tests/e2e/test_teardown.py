"""The end of the deployment; it runs last."""

from tests.e2e.conftest import Story


def test_destroy_leaves_nothing(story: Story) -> None:
    """`cdk destroy` removes every resource that was deployed, and nothing of what Airflow's bucket held before."""
    with story.steps.step("cdk destroy"):
        story.cloud.cdk(story.choice.app).run("destroy", "local/**", "--force")
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
