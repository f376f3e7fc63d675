"""Many projects and environments in one app: each apart from the others, and a change of one is a change of one."""

import json
import shutil
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from benchmarks.synth import stacks
from stacks.platform import DbtPlatform, dbt_app
from stacks.settings import AirflowTarget, ExistingNetwork
from tests.unit.stacks.settings_of_a_stranger import NETWORK, environment, project

pytestmark = pytest.mark.slow

_PHYSICAL_NAMES = {
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::ECR::Repository": "RepositoryName",
    "AWS::ECS::TaskDefinition": "Family",
    "AWS::IAM::Role": "RoleName",
}


def _templates(platform: DbtPlatform) -> list[dict[str, Any]]:
    return [
        dict(Template.from_stack(stack).to_json())
        for stack in (platform.environment_stack, *platform.project_stacks.values())
    ]


def test_changed_model_of_one_project_changes_one_stack(tiny_project: Path, tmp_path: Path) -> None:
    """The other projects' templates and assets, and those of the environment, stay as they are, byte for byte."""
    folders = {name: Path(shutil.copytree(tiny_project, tmp_path / name)) for name in ("one", "two")}
    settings = environment(tiny_project, projects=tuple(project(folder, name=name) for name, folder in folders.items()))
    before = stacks(Path(dbt_app([settings]).synth().directory))
    (folders["one"] / "models/answers.sql").write_text("select 43 as answer\n")

    after = stacks(Path(dbt_app([settings]).synth().directory))

    (changed,) = {name for name in after if after[name] != before[name]}
    assert len(after) == 3
    assert "one" in changed
    moved = sum(size for hash_, size in after[changed].items() if hash_ not in before[changed])
    assert moved < sum(after[changed].values())


def test_environments_of_one_account_share_no_name(app: cdk.App, tiny_project: Path) -> None:
    """IAM's roles and CloudWatch's dashboards are of the whole account: two regions of it must not take each other's."""
    there = ExistingNetwork(**{**NETWORK, "availability_zones": ("us-east-1a", "us-east-1b")})
    platforms = [
        DbtPlatform(app, settings=environment(tiny_project, name="here")),
        DbtPlatform(app, settings=environment(tiny_project, name="here-too")),
        DbtPlatform(app, settings=environment(tiny_project, name="there", region="us-east-1", network=there)),
    ]
    named = [
        (resource["Type"], resource["Properties"][property_name])
        for platform in platforms
        for template in _templates(platform)
        for resource in template["Resources"].values()
        for kind, property_name in _PHYSICAL_NAMES.items()
        if resource["Type"] == kind and property_name in resource["Properties"]
    ]
    folders = [
        resource["Properties"]["DestinationBucketKeyPrefix"]
        for platform in platforms
        for template in _templates(platform)
        for resource in template["Resources"].values()
        if resource["Type"] == "Custom::CDKBucketDeployment"
        # The environment's own bucket is nobody else's.
        and resource["Properties"]["DestinationBucketName"] == "try-airflow"
    ]

    assert folders
    assert {kind for kind, _ in named} == set(_PHYSICAL_NAMES)
    assert len(set(named)) == len(named)
    assert len(set(folders)) == len(folders)


def test_project_stack_has_no_name_but_those_that_others_must_know(app: cdk.App, tiny_project: Path) -> None:
    """Every other name is CloudFormation's, so that two stacks can never want the same."""
    airflow = AirflowTarget(dags_bucket="b-1", dags_prefix="", role_arn="arn:aws:iam::333333333333:role/airflow")
    template = _templates(DbtPlatform(app, settings=environment(tiny_project, airflow=airflow)))[1]
    names = {
        (resource["Type"], name)
        for resource in template["Resources"].values()
        for name in resource.get("Properties", {})
        if name.endswith("Name") and isinstance(resource["Properties"][name], str)
    }

    assert {kind for kind, _ in names} <= {
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::IAM::Policy",
        "Custom::CDKBucketDeployment",
    }, json.dumps(sorted(names))
