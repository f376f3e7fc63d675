"""Projects and environments of one account whose names begin alike open nothing of each other."""

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Template

from constructs_lib.warehouse_credentials import SsmParameters
from stacks.platform import DbtPlatform, dbt_app
from tests.local_cloud.emulators import ACCOUNT, REGION, REPO_ROOT
from tests.unit.rights import statements_by_role
from tests.unit.stacks.settings_of_a_stranger import environment, project

_PROJECTS = ("sales", "sales_eu", "sales2")
_ENVIRONMENTS = ("try", "try-eu")
_SHARED_BY_ALL = {
    # IAM knows no resource for it.
    "ecr:GetAuthorizationToken",
    # What `cdk deploy` uploads of all stacks lies in one bucket of the account; CDK's function for the files of a DAG reads it.
    "s3:GetObject",
}
_SHARED_IN_ENVIRONMENT = _SHARED_BY_ALL | {
    # They are restricted to the cluster, which is one for an environment: neither names a family.
    "ecs:ListTasks",
    "ecs:DescribeTasks",
    # The guard and its queues are one for an environment, and only schedules of EventBridge act as who may call them.
    "lambda:InvokeFunction",
    "sqs:SendMessage",
}
"""What a project may do to the very thing that another project may do it to."""


@dataclass(frozen=True)
class _Grant:
    """One action on one resource, with what its conditions ask for."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Project:
    """All policies of one project's roles, and what they grant."""

    environment: str
    name: str
    policies: list[Any]
    grants: set[_Grant]


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> list[_Project]:
    """The projects of two environments, as their templates have them."""
    folder = tmp_path_factory.mktemp("alike")
    (folder / "models").mkdir()
    (folder / "dbt_project.yml").write_text("name: tiny\nprofile: tiny\n")
    (folder / "models/answers.sql").write_text("select 42 as answer\n")
    app = dbt_app(
        [
            environment(
                folder,
                name=name,
                account=ACCOUNT,
                region=REGION,
                projects=[
                    project(folder, name=each, credentials=SsmParameters(path=f"/dbt/{name}/{each}/"))
                    for each in _PROJECTS
                ],
            )
            for name in _ENVIRONMENTS
        ]
    )
    return [
        _project(platform.stage_name, name, stack.stack_name, Template.from_stack(stack).to_json()["Resources"])
        for platform in app.node.children
        if isinstance(platform, DbtPlatform)
        for name, stack in platform.project_stacks.items()
    ]


def _project(environment_name: str, name: str, stack: str, resources: Mapping[str, Any]) -> _Project:
    policies = [
        _known({"Version": "2012-10-17", "Statement": statements}, stack, resources)
        for statements in statements_by_role(resources).values()
    ]
    return _Project(environment_name, name, policies, {grant for policy in policies for grant in _grants(policy)})


def _known(value: Any, stack: str, resources: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any value of a template
    """A value of a template with names and ARNs in the places of what only a deployment knows."""
    match value:
        case {"Fn::Join": [str(between), [*parts]]}:
            return between.join(_known(part, stack, resources) for part in parts)
        case {"Fn::GetStackOutput": {"StackName": str(owner), "OutputName": str(name)}}:
            return f"{owner}-{name}"
        case {"Ref": str(name)}:
            return f"{stack}-{name}"
        case {"Fn::GetAtt": [str(name), str()]}:
            service, _, kind = resources[name]["Type"].removeprefix("AWS::").partition("::")
            return f"arn:aws:{service.lower()}:{REGION}:{ACCOUNT}:{kind.lower()}/{stack}-{name}"
        case dict():
            return {key: _known(inner, stack, resources) for key, inner in value.items()}
    return [_known(inner, stack, resources) for inner in value] if isinstance(value, list) else value


def _grants(policy: Mapping[str, Any]) -> Iterator[_Grant]:
    for statement in policy["Statement"]:
        context = tuple(
            (key, _one(_listed(pattern)[0]))
            for comparisons in statement.get("Condition", {}).values()
            for key, pattern in comparisons.items()
        )
        for action in _listed(statement["Action"]):
            for resource in _listed(statement["Resource"]):
                yield _Grant(action, _one(resource), context)


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - policies write one value with or without a list
    return value if isinstance(value, list) else [value]


def _one(pattern: str) -> str:
    """Something that the pattern means."""
    return pattern.replace("*", "x1")


def _allowed(asked: Iterable[tuple[_Project, _Grant]], python: Path) -> set[tuple[str, _Grant]]:
    """Those of the questions that IAM answers with yes, by the environment and the name of who asks."""
    questions = [(f"{project.environment}.{project.name}", project, grant) for project, grant in asked]
    done = subprocess.run(
        [python, "-m", "tests.local_cloud.policy_questions"],
        cwd=REPO_ROOT,
        input=json.dumps(
            {
                "policies": {caller: project.policies for caller, project, _ in questions},
                "questions": [
                    {
                        "caller": caller,
                        "action": grant.action,
                        "resource": grant.resource,
                        "context": dict(grant.context),
                    }
                    for caller, _, grant in questions
                ],
            }
        ),
        check=True,
        capture_output=True,
        text=True,
    )
    decisions = json.loads(done.stdout)
    return {
        (caller, grant)
        for (caller, _, grant), decision in zip(questions, decisions, strict=True)
        if decision == "Allow"
    }


def test_each_project_may_do_what_its_own_policies_grant(projects: list[_Project], emulator_python: Path) -> None:
    """Without it the refusals below would prove nothing."""
    own = [(project, grant) for project in projects for grant in project.grants]

    assert _allowed(own, emulator_python) == {
        (f"{project.environment}.{project.name}", grant) for project, grant in own
    }


@pytest.mark.parametrize(
    ("same_environment", "shared"), [(True, _SHARED_IN_ENVIRONMENT), (False, _SHARED_BY_ALL)], ids=str
)
def test_project_opens_nothing_of_another_whose_name_begins_alike(
    projects: list[_Project], emulator_python: Path, *, same_environment: bool, shared: set[str]
) -> None:
    """What one project is granted, no role of another may do anything to that some role of a project may do."""
    attacks = {
        (attacker.environment, attacker.name, grant): (attacker, grant)
        for attacker in projects
        for victim in projects
        if (attacker.environment == victim.environment) is same_environment and attacker is not victim
        for granted in victim.grants
        for action in {each.action for each in attacker.grants}
        if action.partition(":")[0] == granted.action.partition(":")[0]
        for grant in [_Grant(action, granted.resource, granted.context)]
    }

    allowed = _allowed(attacks.values(), emulator_python)

    assert len(attacks) > len(projects) * len(shared)
    assert {grant.action for _, grant in allowed} == shared
    readable = {grant.resource.rpartition("/")[0] for _, grant in allowed if grant.action == "s3:GetObject"}
    assert readable == {f"arn:aws:s3:::cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"}
