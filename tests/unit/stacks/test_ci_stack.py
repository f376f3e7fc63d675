"""A pipeline may deploy its own environment with its own token, and nothing else."""

import dataclasses
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from constructs_lib.ci_access import GitHub, GitLab, Pipeline
from constructs_lib.settings_error import SettingsError
from stacks.platform import DbtPlatform
from stacks.settings import check_together
from tests.unit.stacks.settings_of_a_stranger import environment

_GITHUB_PROVIDER = "arn:aws:iam::333333333333:oidc-provider/token.actions.githubusercontent.com"
_HUB = GitHub(repository="owner/dbt", environment="try")
_LAB = GitLab(project="group/sub/dbt", branch="main")


def _template(app: cdk.App, path: Path, /, **changes: object) -> Template:
    stack = DbtPlatform(app, settings=environment(path, **changes)).ci_stack
    assert stack is not None
    return Template.from_stack(stack)


def _role(template: Template) -> dict[str, Any]:
    (role,) = template.find_resources("AWS::IAM::Role").values()
    properties: dict[str, Any] = role["Properties"]
    return properties


def test_role_may_assume_the_roles_of_the_cdk_and_of_the_registry_and_nothing_else(
    app: cdk.App, tiny_project: Path
) -> None:
    """It has no right of its own in the account: the bootstrap stack's roles say what a deployment may do."""
    template = _template(app, tiny_project, ci=_HUB)

    (policy,) = template.find_resources("AWS::IAM::Policy").values()
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    bootstrap = "arn:aws:iam::333333333333:role/cdk-hnb659fds-{}-role-333333333333-eu-west-1"
    assert (statement["Effect"], statement["Action"]) == ("Allow", "sts:AssumeRole")
    assert set(statement["Resource"]) == {
        *(bootstrap.format(name) for name in ("deploy", "file-publishing", "image-publishing", "lookup")),
        "arn:aws:iam::333333333333:role/try-dbt-image-publishing",
    }
    assert "ManagedPolicyArns" not in _role(template)


def test_bootstrap_stack_of_another_qualifier_is_the_one_that_is_used(app: cdk.App, tiny_project: Path) -> None:
    """It is read where the CDK itself reads it, from cdk.json."""
    app.node.set_context("@aws-cdk/core:bootstrapQualifier", "team1")
    template = _template(app, tiny_project, ci=_HUB)

    assert "role/cdk-team1-deploy-role-333333333333-eu-west-1" in str(template.to_json())
    assert "hnb659fds" not in str(template.find_resources("AWS::IAM::Policy"))


@pytest.mark.parametrize(
    ("pipeline", "host", "audience", "subject"),
    [
        (_HUB, "token.actions.githubusercontent.com", "sts.amazonaws.com", "repo:owner/dbt:environment:try"),
        (
            GitHub(repository="owner@1/dbt@22", branch="release/1.0"),
            "token.actions.githubusercontent.com",
            "sts.amazonaws.com",
            "repo:owner@1/dbt@22:ref:refs/heads/release/1.0",
        ),
        (_LAB, "gitlab.com", "https://gitlab.com", "project_path:group/sub/dbt:ref_type:branch:ref:main"),
        (
            GitLab(project="group/dbt", branch="main", url="https://git.example.com/lab", audience="dbt"),
            "git.example.com/lab",
            "dbt",
            "project_path:group/dbt:ref_type:branch:ref:main",
        ),
    ],
    ids=["github-environment", "github-ids-and-branch", "gitlab", "own-gitlab"],
)
def test_role_is_assumed_with_the_token_of_one_repository_and_one_place(
    app: cdk.App, tiny_project: Path, pipeline: Pipeline, host: str, audience: str, subject: str
) -> None:
    """Audience and subject are compared as they are: nothing in them is a pattern."""
    template = _template(app, tiny_project, ci=pipeline)

    (provider_id,) = template.find_resources(
        "AWS::IAM::OIDCProvider", {"Properties": {"Url": f"https://{host}", "ClientIdList": [audience]}}
    )
    (statement,) = _role(template)["AssumeRolePolicyDocument"]["Statement"]
    assert statement == {
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Effect": "Allow",
        "Principal": {"Federated": {"Ref": provider_id}},
        "Condition": {"StringEquals": {f"{host}:aud": audience, f"{host}:sub": subject}},
    }


def test_provider_that_is_there_already_is_used(app: cdk.App, tiny_project: Path) -> None:
    """An account can hold one provider for an address, and another stack may have made it."""
    template = _template(app, tiny_project, ci=dataclasses.replace(_HUB, provider_arn=_GITHUB_PROVIDER))

    template.resource_count_is("AWS::IAM::OIDCProvider", 0)
    (statement,) = _role(template)["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Federated": _GITHUB_PROVIDER}


def test_pipeline_finds_role_and_audience_in_the_template(app: cdk.App, tiny_project: Path) -> None:
    """As plain text: it reads them in the artifact, before it may ask AWS for anything."""
    template = _template(app, tiny_project, ci=_LAB, role_path="/data/")

    outputs = {name: output["Value"] for name, output in template.find_outputs("*").items()}
    assert outputs == {
        "DeployRoleArn": "arn:aws:iam::333333333333:role/data/try-dbt-deploy",
        "TokenAudience": "https://gitlab.com",
    }
    assert _role(template)["RoleName"] == "try-dbt-deploy"


def test_without_the_setting_nobody_is_let_in(app: cdk.App, tiny_project: Path) -> None:
    """No stack, no provider, no role."""
    assert DbtPlatform(app, settings=environment(tiny_project)).ci_stack is None


@pytest.mark.parametrize(
    "repository",
    [
        "*",
        "owner/*",
        "*/dbt",
        "repo:*",
        "owner/dbt:*",
        "owner",
        "owner/dbt/more",
        "",
        "owner/${aws:x}",
        "o?ner/dbt",
    ],
)
def test_rejects_a_github_repository_that_is_not_one(repository: str) -> None:
    """A wildcard would let in repositories that anyone can make."""
    with pytest.raises(SettingsError, match=r"one repository such as 'owner/name' or .*, without wildcards, got "):
        GitHub(repository=repository, environment="live")


@pytest.mark.parametrize("project", ["*", "group/*", "group", "group//dbt", "/dbt", "group/dbt:ref", ""])
def test_rejects_a_gitlab_project_that_is_not_one(project: str) -> None:
    """A wildcard would let in projects that anyone can make."""
    with pytest.raises(SettingsError, match="one project's path such as 'group/name', got "):
        GitLab(project=project, branch="main")


@pytest.mark.parametrize("branch", ["", "*", "release/*", "ma?n", "a:b", "a..b", "main/", "${aws:x}", "a b"])
def test_rejects_a_branch_that_is_not_one(branch: str) -> None:
    """Neither in GitHub nor in GitLab."""
    with pytest.raises(SettingsError, match="branch must be the name of one branch such as 'main'"):
        GitHub(repository="owner/dbt", branch=branch)
    with pytest.raises(SettingsError, match="branch must be the name of one branch such as 'main'"):
        GitLab(project="group/dbt", branch=branch)


@pytest.mark.parametrize("name", ["", "*", "live*", "a:b", " live", "live "])
def test_rejects_a_github_environment_that_is_not_one(name: str) -> None:
    """An empty one would be every job's."""
    with pytest.raises(SettingsError, match="a GitHub environment must be the name of one environment, got"):
        GitHub(repository="owner/dbt", environment=name)


@pytest.mark.parametrize("places", [{}, {"environment": "live", "branch": "main"}])
def test_rejects_github_without_one_place(places: dict[str, Any]) -> None:
    """A token names an environment or a branch, never both; without either, pull requests could deploy."""
    with pytest.raises(SettingsError, match="GitHub takes either environment or branch, got"):
        GitHub(repository="owner/dbt", **places)


@pytest.mark.parametrize(
    "url",
    [
        "http://gitlab.example.com",
        "gitlab.com",
        "https://*",
        "https://gitlab.com/",
        "https://localhost",
        "https://a.com:8443",
        "",
    ],
)
def test_rejects_an_address_that_is_no_provider(url: str) -> None:
    """AWS asks a provider over TLS, and compares its address to the letter."""
    with pytest.raises(SettingsError, match="url must be an https address of an identity provider"):
        GitLab(project="group/dbt", branch="main", url=url)


@pytest.mark.parametrize("audience", ["*", "sts.*", "a b", "a?"])
def test_rejects_an_audience_that_is_a_pattern(audience: str) -> None:
    """A token is asked for one audience."""
    with pytest.raises(SettingsError, match="audience must be"):
        GitHub(repository="owner/dbt", branch="main", audience=audience)


@pytest.mark.parametrize(
    ("provider_arn", "words"),
    [
        ("token.actions.githubusercontent.com", "provider_arn must be the ARN of an OIDC provider of IAM"),
        ("arn:aws:iam::333333333333:oidc-provider/gitlab.com", "must be of the provider 'https://token.actions"),
    ],
)
def test_rejects_a_provider_of_something_else(provider_arn: str, words: str) -> None:
    """The conditions of the role are about one provider's tokens."""
    with pytest.raises(SettingsError, match=words):
        dataclasses.replace(_HUB, provider_arn=provider_arn)


def test_rejects_what_is_no_pipeline_and_a_provider_of_another_account(tiny_project: Path) -> None:
    """The error names the environment."""
    with pytest.raises(SettingsError, match="environment 'try': ci must be GitHub, GitLab or None, got 'owner/dbt'"):
        environment(tiny_project, ci="owner/dbt")
    elsewhere = dataclasses.replace(_HUB, provider_arn=_GITHUB_PROVIDER.replace("3" * 12, "4" * 12))
    with pytest.raises(SettingsError, match="provider_arn must be of account '333333333333', got 'arn:aws:iam::444"):
        environment(tiny_project, ci=elsewhere)


def test_rejects_two_providers_for_one_address_in_an_account(tiny_project: Path) -> None:
    """IAM would refuse the second in the middle of a deployment."""
    first, second = (environment(tiny_project, name=name, ci=_HUB) for name in ("one", "two"))
    with pytest.raises(SettingsError, match="2 environments of account 333333333333 make one; give all but the first"):
        check_together([first, second])

    check_together([first, dataclasses.replace(second, ci=dataclasses.replace(_HUB, provider_arn=_GITHUB_PROVIDER))])
    check_together([first, dataclasses.replace(second, ci=_LAB)])


def test_rejects_an_environment_whose_ci_stack_has_the_name_of_a_project_stack(tiny_project: Path) -> None:
    """Project `ci` of environment `a` and the pipeline of environment `a-dbt` would be one stack."""
    projects = (dataclasses.replace(environment(tiny_project).projects[0], name="ci"),)
    with pytest.raises(SettingsError, match="the names of stacks must differ, got 'a-dbt-ci' more than once"):
        check_together(
            [environment(tiny_project, name="a", projects=projects), environment(tiny_project, name="a-dbt", ci=_HUB)]
        )
