"""Which tokens of GitHub and GitLab become the roles of pipelines, by the roles' own trust in the emulator."""

import base64
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from aws_cdk.assertions import Template

from constructs_lib.ci_access import GitHub, GitLab, Pipeline
from stacks.platform import DbtPlatform, dbt_app
from tests.local_cloud.emulators import ACCOUNT, REGION, Aws
from tests.local_cloud.test_emulator_patches import refusal
from tests.unit.stacks.settings_of_a_stranger import environment

_HUB = GitHub(repository="owner/dbt", environment="try", tries_pull_requests=True)
_HUB_IDS = GitHub(repository="owner@1/dbt@2", branch="main", tries_pull_requests=True)
_LAB = GitLab(project="group/dbt", branch="main", tries_pull_requests=True)
_DEPLOYS, _TRIES = "try-dbt-deploy", "try-dbt-tiny-slim-ci"

Become = Callable[[str, Pipeline, str, str, str], str]


@pytest.fixture
def become(aws: Aws, tmp_path: Path, unique: str) -> Become:
    """Asks the emulator for the role of a name, as the template has it, with a token of an issuer, an audience and a subject."""
    (tmp_path / "models").mkdir()
    (tmp_path / "dbt_project.yml").write_text("name: tiny\nprofile: tiny\n")
    (tmp_path / "models/answers.sql").write_text("select 42 as answer\n")

    def ask(role_name: str, pipeline: Pipeline, issuer: str, audience: str, subject: str) -> str:
        iam, name = aws.client("iam"), f"{unique}-{role_name}"
        if name not in {role["RoleName"] for role in iam.list_roles()["Roles"]}:
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_trust(tmp_path, pipeline, role_name)))
        claims = {"iss": issuer, "aud": audience, "sub": subject}
        parts = (json.dumps(part).encode() for part in ({"alg": "RS256"}, claims))
        token = ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "signature"])
        return refusal(
            lambda: aws.client("sts").assume_role_with_web_identity(
                RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{name}", RoleSessionName="intruder", WebIdentityToken=token
            )
        )

    return ask


def _trust(folder: Path, pipeline: Pipeline, role_name: str) -> object:
    provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{pipeline.url.removeprefix('https://')}"
    named = dataclasses.replace(pipeline, provider_arn=provider)
    app = dbt_app([environment(folder, account=ACCOUNT, region=REGION, ci=named)])
    (platform,) = (found for found in app.node.children if isinstance(found, DbtPlatform))
    assert platform.ci_stack is not None
    stack = platform.ci_stack if role_name == _DEPLOYS else platform.project_stacks["tiny"]
    roles = Template.from_stack(stack).find_resources("AWS::IAM::Role", {"Properties": {"RoleName": role_name}})
    (role,) = roles.values()
    return role["Properties"]["AssumeRolePolicyDocument"]


@pytest.mark.parametrize(
    ("role_name", "pipeline", "subject", "others"),
    [
        (
            _DEPLOYS,
            _HUB,
            "repo:owner/dbt:environment:try",
            [
                "repo:owner/dbt:environment:live",
                "repo:owner/dbt:environment:try-eu",
                "repo:owner/dbt:environment:TRY",
                "repo:owner/dbt:environment:*",
                "repo:Owner/dbt:environment:try",
                "repo:owner/dbt-eu:environment:try",
                "repo:owner2/dbt:environment:try",
                "repo:owner@1/dbt@2:environment:try",
                "repo:owner/dbt:ref:refs/heads/main",
                "repo:owner/dbt:ref:refs/heads/environment:try",
                "repo:owner/dbt:pull_request",
                "repo:owner/dbt:environment:try:job_workflow_ref:owner/dbt/.github/workflows/deploy.yml",
                "",
            ],
        ),
        (
            _DEPLOYS,
            _HUB_IDS,
            "repo:owner@1/dbt@2:ref:refs/heads/main",
            [
                "repo:owner/dbt:ref:refs/heads/main",
                "repo:owner@9/dbt@2:ref:refs/heads/main",
                "repo:owner@1/dbt@9:ref:refs/heads/main",
                "repo:owner@1/dbt@2:ref:refs/heads/main2",
                "repo:owner@1/dbt@2:ref:refs/tags/main",
                "repo:owner@1/dbt@2:environment:main",
                "repo:owner@1/dbt@2:pull_request",
            ],
        ),
        (
            _TRIES,
            _HUB,
            "repo:owner/dbt:pull_request",
            [
                "repo:stranger/dbt:pull_request",
                "repo:owner/dbt:pull_request_target",
                "repo:owner/dbt:environment:pull_request",
                "repo:owner/dbt:environment:try",
                "repo:owner/dbt:ref:refs/heads/main",
                "repo:owner/dbt:ref:refs/pull/7/merge",
                "repo:owner/dbt-eu:pull_request",
            ],
        ),
        (
            _DEPLOYS,
            _LAB,
            "project_path:group/dbt:ref_type:branch:ref:main",
            [
                "project_path:group/dbt:ref_type:branch:ref:main2",
                "project_path:group/dbt:ref_type:branch:ref:feature/main",
                "project_path:group/dbt:ref_type:tag:ref:main",
                "project_path:stranger/dbt:ref_type:branch:ref:main",
                "project_path:group/sub/dbt:ref_type:branch:ref:main",
                "project_path:Group/dbt:ref_type:branch:ref:main",
            ],
        ),
        (
            _TRIES,
            _LAB,
            "project_path:group/dbt:ref_type:branch:ref:feature/any",
            [
                "project_path:stranger/dbt:ref_type:branch:ref:feature/any",
                "project_path:group/dbt-eu:ref_type:branch:ref:feature/any",
                "project_path:group/dbt/sub:ref_type:branch:ref:feature/any",
                "project_path:group/dbt:ref_type:tag:ref:v1",
            ],
        ),
    ],
    ids=[
        "github environment",
        "github branch with ids",
        "github pull request",
        "gitlab branch",
        "gitlab merge request",
    ],
)
def test_no_token_but_its_own_becomes_a_role_of_a_pipeline(
    become: Become, role_name: str, pipeline: Pipeline, subject: str, others: list[str]
) -> None:
    """Neither one of a name that is spelled or begins alike, nor one for another audience or of another provider."""
    own = (pipeline.url, pipeline.audience)

    assert become(role_name, pipeline, *own, subject) == "allowed"
    answers = {other: become(role_name, pipeline, *own, other) for other in others}
    answers["another audience"] = become(role_name, pipeline, pipeline.url, "another", subject)
    answers["another provider"] = become(role_name, pipeline, "https://tokens.example.com", pipeline.audience, subject)
    answers["an address that begins alike"] = become(
        role_name, pipeline, f"{pipeline.url}.example.com", pipeline.audience, subject
    )
    assert {what: given for what, given in answers.items() if given != "AccessDenied"} == {}
