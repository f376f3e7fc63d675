"""A settings file that nobody here wrote needs no edit anywhere else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from constructs_lib.repository import REPOSITORY

pytestmark = pytest.mark.slow

_ENVIRONMENTS = {"x", "x-1", "a1234567890123456789z", "no-airflow", "cn"}


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stranger's environments, synthesized with every check on."""
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "project/models").mkdir(parents=True)
    (folder / "project/dbt_project.yml").write_text("name: tiny\nprofile: tiny\n")
    (folder / "project/models/answers.sql").write_text("select 42 as answer\n")
    output = folder / "cdk.out"
    environment = {name: value for name, value in os.environ.items() if name != "CDK_VALIDATION"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.stacks.stranger", str(folder / "project")],
        cwd=REPOSITORY,
        env={**environment, "CDK_OUTDIR": str(output)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return output


def _templates(assembly: Path) -> list[Path]:
    return sorted(assembly.glob("assembly-*/*.template.json"))


def test_strangers_environments_pass_all_checks(assembly: Path) -> None:
    """All packs of cdk-nag, CDK's own validator and cfn-lint find nothing that nobody accepted."""
    templates = _templates(assembly)
    lint = subprocess.run(
        [str(Path(sys.executable).parent / "cfn-lint"), *map(str, templates)],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )

    assert {path.parent.name for path in templates} == {f"assembly-{name}" for name in _ENVIRONMENTS}
    assert lint.returncode == 0, lint.stdout[-4000:]


def test_strangers_roles_have_the_boundary_and_the_path(assembly: Path) -> None:
    """Where an account demands them, no role is without, those of CDK's own functions included."""
    roles = [
        resource["Properties"]
        for name in ("x", "x-1", "no-airflow")
        for template in assembly.glob(f"assembly-{name}/*.template.json")
        for resource in json.loads(template.read_text())["Resources"].values()
        if resource["Type"] == "AWS::IAM::Role"
    ]

    assert roles
    assert all("Boundary" in json.dumps(role.get("PermissionsBoundary")) for role in roles)
    assert {role.get("Path") for role in roles} == {"/teams/data/", "/x/"}


def test_strangers_other_partitions_have_their_own_arns(assembly: Path) -> None:
    """In China and GovCloud no ARN is of the commercial partition."""
    for name, partition in (("no-airflow", "aws-us-gov"), ("cn", "aws-cn")):
        texts = [template.read_text() for template in assembly.glob(f"assembly-{name}/*.template.json")]

        assert any(f"arn:{partition}:" in text for text in texts)
        assert not [text for text in texts if '"arn:aws:' in text]
