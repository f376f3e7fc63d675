"""Pull requests of one repository may be tried where the settings say so, and by that do nothing else."""

import dataclasses
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from constructs_lib.ci_access import GitHub, GitLab, Pipeline
from constructs_lib.settings_error import SettingsError
from stacks.platform import DbtPlatform
from stacks.settings import OwnKey, check_together
from tests.unit.rights import statements_of
from tests.unit.stacks.settings_of_a_stranger import environment, project

_HUB = GitHub(repository="owner/dbt", environment="try", tries_pull_requests=True)
_HUB_HOST = "token.actions.githubusercontent.com"
_ROLE = "try-dbt-tiny-slim-ci"


def _template(app: cdk.App, path: Path, **changes: object) -> Template:
    return Template.from_stack(DbtPlatform(app, settings=environment(path, **changes)).project_stacks["tiny"])


def _role(template: Template) -> tuple[str, dict[str, Any]]:
    found = template.find_resources("AWS::IAM::Role", {"Properties": {"RoleName": _ROLE}})
    ((role_id, role),) = found.items()
    return role_id, role["Properties"]


def _statements(template: Template) -> list[dict[str, Any]]:
    role_id, _ = _role(template)
    return statements_of(template.to_json()["Resources"], role_id)


@pytest.mark.parametrize(
    ("pipeline", "host", "audience", "subject"),
    [
        (_HUB, _HUB_HOST, "sts.amazonaws.com", "repo:owner/dbt:pull_request"),
        (
            GitLab(project="group/dbt", branch="main", tries_pull_requests=True),
            "gitlab.com",
            "https://gitlab.com",
            "project_path:group/dbt:ref_type:branch:ref:*",
        ),
    ],
    ids=["github", "gitlab"],
)
def test_role_is_assumed_with_the_token_of_one_repositorys_pull_requests(
    app: cdk.App, tiny_project: Path, pipeline: Pipeline, host: str, audience: str, subject: str
) -> None:
    """A deployment's token is another one in GitHub; in GitLab a merge request's is of its source branch."""
    _, role = _role(_template(app, tiny_project, ci=pipeline))

    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement == {
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::333333333333:oidc-provider/{host}"},
        "Condition": {"StringEquals": {f"{host}:aud": audience}, "StringLike": {f"{host}:sub": subject}},
    }


def test_role_may_do_what_slim_ci_does_and_nothing_else(app: cdk.App, tiny_project: Path) -> None:
    """Start runs by the launch role, read what is deployed, and put a pull request's files into one folder."""
    template = _template(app, tiny_project, ci=_HUB, encryption_key=OwnKey())
    statements = _statements(template)

    assert [statement["Action"] for statement in statements] == [
        "sts:AssumeRole",
        "s3:GetObject",
        ["s3:DeleteObject", "s3:PutObject"],
        "kms:GenerateDataKey",
    ]
    (launch_role_id,) = (name for name in template.find_resources("AWS::IAM::Role") if name.startswith("LaunchRole"))
    assert statements[0]["Resource"] == {"Fn::GetAtt": [launch_role_id, "Arn"]}
    assert statements[1]["Resource"].endswith("/dbt_on_fargate_try_tiny/deployment.json")
    assert str(statements[2]["Resource"]["Fn::Join"][1][-1]) == "/tiny/slim-ci/*"


def test_launch_role_trusts_it(app: cdk.App, tiny_project: Path) -> None:
    """By name and only where it is there."""
    template = _template(app, tiny_project, ci=_HUB)
    role_id, _ = _role(template)
    (launch_role,) = (
        role["Properties"]
        for name, role in template.find_resources("AWS::IAM::Role").items()
        if name.startswith("LaunchRole")
    )

    (statement,) = launch_role["AssumeRolePolicyDocument"]["Statement"]
    trusted = statement["Principal"]["AWS"]
    assert {"Fn::GetAtt": [role_id, "Arn"]} in trusted


def test_nobody_tries_what_the_settings_do_not_say(app: cdk.App, tiny_project: Path) -> None:
    """A pipeline that deploys is not one whose pull requests may write into a warehouse."""
    template = _template(app, tiny_project, ci=GitHub(repository="owner/dbt", environment="try"))

    assert template.find_resources("AWS::IAM::Role", {"Properties": {"RoleName": _ROLE}}) == {}


def test_identity_provider_is_there_before_the_role(app: cdk.App, tiny_project: Path) -> None:
    """IAM refuses a role that trusts a provider which it does not know."""
    platform = DbtPlatform(app, settings=environment(tiny_project, ci=_HUB))

    assert platform.ci_stack in platform.project_stacks["tiny"].dependencies


def test_rejects_two_environments_that_would_try_one_project(tiny_project: Path) -> None:
    """A pull request has one verdict."""
    first, second = (environment(tiny_project, name=name, ci=_HUB) for name in ("one", "two"))
    provider = f"arn:aws:iam::333333333333:oidc-provider/{_HUB_HOST}"
    second = dataclasses.replace(second, ci=dataclasses.replace(_HUB, provider_arn=provider))
    with pytest.raises(
        SettingsError, match="pull requests of project 'tiny' must be tried in one environment, got one, two"
    ):
        check_together([first, second])


def test_rejects_names_that_are_too_long_for_a_role(tiny_project: Path) -> None:
    """IAM takes 64 characters, and the pipeline has to know the name."""
    longest = project(tiny_project, name="p" * 41)
    with pytest.raises(
        SettingsError, match="tries_pull_requests needs names of which IAM can make a role's, of at most 64"
    ):
        environment(tiny_project, name="e" * 21, projects=(longest,), ci=_HUB)


def test_rejects_pull_requests_without_airflow(tiny_project: Path) -> None:
    """They are started by the launch role, which is Airflow's."""
    alone = project(tiny_project, scheduler="none")
    with pytest.raises(SettingsError, match="tries_pull_requests needs an airflow"):
        environment(tiny_project, airflow=None, projects=(alone,), ci=_HUB)
