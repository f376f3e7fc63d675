"""What is deleted, in which order, after which question, and what is said to be kept."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from stacks.environments import LIVE
from tools import destroy as module
from tools.destroy import DeployedStack, DestroyError, Destruction, Kept, destroy


class _Account:
    """CloudFormation and ECS with the stacks of an account, for a session and for the CDK's deploy role."""

    def __init__(self) -> None:
        self.stacks = {
            "live-dbt": "What the dbt projects of environment live share",
            "live-dbt-bookshop": "dbt project bookshop in environment live",
            "live-dbt-gone": "dbt project gone in environment live",
            # The one project of an environment `live-dbt-eu` would be named so, too.
            "live-dbt-eu-dbt-bookshop": "dbt project bookshop in environment live-dbt-eu",
        }
        self.deleted: list[str] = []

    def client(self, _service: str, **_: object) -> "_Account":
        return self

    def get_paginator(self, operation: str) -> Any:  # noqa: ANN401 - as boto3's
        account = self

        class Pages:
            def paginate(self, **arguments: str) -> list[dict[str, Any]]:
                return [account._page(operation, arguments)]

        return Pages()

    def _page(self, operation: str, arguments: dict[str, str]) -> dict[str, Any]:
        if operation == "list_task_definitions":
            family = arguments["familyPrefix"]
            arns = [f"arn:aws:ecs:x:1:task-definition/{name}" for name in (f"{family}:1", f"{family}-eu:1")]
            return {"taskDefinitionArns": arns if family in self.deleted and family != "live-dbt" else []}
        if operation == "list_stack_resources":
            logical_ids = ("Log", "Role")
            return {
                "StackResourceSummaries": [
                    {"LogicalResourceId": name, "ResourceType": f"AWS::{name}", "PhysicalResourceId": name.lower()}
                    for name in logical_ids
                ]
            }
        return {"Stacks": [{"StackName": name, "StackStatus": "CREATE_COMPLETE"} for name in self.stacks]}

    def describe_stacks(self, *, StackName: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        if StackName not in self.stacks:
            raise ClientError({"Error": {"Code": "ValidationError", "Message": "does not exist"}}, "DescribeStacks")
        return {"Stacks": [{"StackName": StackName, "StackStatus": "CREATE_COMPLETE"}]}

    def get_template(self, *, StackName: str, **_: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        resources = {"Log": {"DeletionPolicy": "Retain"}, "Role": {}}
        return {"TemplateBody": json.dumps({"Description": self.stacks[StackName], "Resources": resources})}

    def delete_stack(self, *, StackName: str) -> None:  # noqa: N803 - AWS's name
        self.deleted.append(StackName)

    def get_waiter(self, _name: str) -> Any:  # noqa: ANN401 - as boto3's
        class Waiter:
            def wait(self, **_: object) -> None:
                pass

        return Waiter()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> _Account:
    """An account whose deploy role is the account itself."""
    account = _Account()
    monkeypatch.setattr(module, "deployer", lambda _session, _environment: account)
    return account


def _destruction(account: _Account) -> Destruction:
    return Destruction(account, LIVE)  # type: ignore[arg-type] # it has of a session what is used


def test_projects_go_before_what_they_share(account: _Account, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that the settings no longer have, and none of another environment; what is kept is named."""
    code = destroy(_destruction(account), environment="live", project=None, is_sure=True)

    assert code == 0
    assert account.deleted == ["live-dbt-bookshop", "live-dbt-gone", "live-dbt"]
    kept = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines() if line.startswith("kept ")]
    assert kept == [
        *("AWS::Log log", "AWS::ECS::TaskDefinition live-dbt-bookshop:1"),
        *("AWS::Log log", "AWS::ECS::TaskDefinition live-dbt-gone:1"),
        "AWS::Log log",
    ]


def test_one_project_goes_alone(account: _Account) -> None:
    """Its stack and no other."""
    destroy(_destruction(account), environment="live", project="gone", is_sure=True)

    assert account.deleted == ["live-dbt-gone"]


def test_nothing_goes_unless_the_name_is_typed(account: _Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """`y` is typed too easily."""
    monkeypatch.setattr("builtins.input", lambda _question: "y")

    with pytest.raises(DestroyError, match="nothing was deleted: another name was typed"):
        destroy(_destruction(account), environment="live", project=None, is_sure=False)

    assert account.deleted == []


def test_a_protected_stack_is_refused_before_anything_goes(account: _Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command that takes the protection off."""
    stacks = [
        DeployedStack("live-dbt-bookshop", False, ()),
        DeployedStack("live-dbt", True, (Kept("AWS::Log", "log"),)),
    ]
    monkeypatch.setattr(Destruction, "stacks", lambda _self, _project: stacks)

    with pytest.raises(
        DestroyError, match=r"(?s)live-dbt is protected .*--no-enable-termination-protection --stack-name live-dbt"
    ):
        destroy(_destruction(account), environment="live", project=None, is_sure=True)

    assert account.deleted == []


def test_what_is_not_deployed_is_said(account: _Account, capsys: pytest.CaptureFixture[str]) -> None:
    """A second time is no error."""
    assert destroy(_destruction(account), environment="live", project="never", is_sure=True) == 0
    assert capsys.readouterr().out == "nothing of never is deployed in live\n"
