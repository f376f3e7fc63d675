"""All environments as one app."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from constructs_lib.repository import REPOSITORY
from constructs_lib.settings_error import SettingsError
from stacks.platform import dbt_app, synthesize
from tests.unit.stacks.settings_of_a_stranger import environment, project

pytestmark = pytest.mark.slow


def test_environments_are_stages_with_a_stack_for_each_project(tiny_project: Path) -> None:
    """`cdk deploy 'try/**'` deploys one environment, `cdk deploy try/other` one project after what it needs."""
    settings = environment(tiny_project, projects=(project(tiny_project), project(tiny_project, name="other_one")))

    assembly = dbt_app([settings]).synth().get_nested_assembly("assembly-try")

    stacks = {stack.hierarchical_id: stack for stack in assembly.stacks}
    assert {name: stack.stack_name for name, stack in stacks.items()} == {
        "try/Environment": "try-dbt",
        "try/tiny": "try-dbt-tiny",
        "try/other_one": "try-dbt-other-one",
    }
    environment_id = stacks["try/Environment"].id
    for name in ("try/tiny", "try/other_one"):
        assert environment_id in {dependency.id for dependency in stacks[name].dependencies}
    assert stacks["try/tiny"].id not in {dependency.id for dependency in stacks["try/other_one"].dependencies}


def test_image_goes_into_the_registry_of_the_environment_stack(tiny_project: Path) -> None:
    """The CDK CLI pushes with our role into our registry, not into the bootstrap stack's."""
    assembly = dbt_app([environment(tiny_project)]).synth().get_nested_assembly("assembly-try")

    manifest = next(Path(assembly.directory).glob("*tiny*.assets.json"))
    (image,) = json.loads(manifest.read_text())["dockerImages"].values()
    (destination,) = image["destinations"].values()
    assert destination["repositoryName"] == "try/dbt/tiny"
    assert destination["assumeRoleArn"] == "arn:aws:iam::333333333333:role/try-dbt-image-publishing"


def test_wrong_setting_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Not a traceback: the person who edits settings reads what is wrong."""

    def environments() -> tuple[()]:
        raise SettingsError("environment 'live': account must be 12 digits")

    assert synthesize(environments) == 1
    assert capsys.readouterr().err == "error: environment 'live': account must be 12 digits\n"


def test_bug_is_not_taken_for_a_wrong_setting() -> None:
    """Only settings errors are shortened; a bug keeps its traceback."""

    def environments() -> tuple[()]:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        synthesize(environments)


def _run(arguments: list[str], *, output: Path) -> subprocess.CompletedProcess[str]:
    """Run Python as the CDK CLI starts the app, with the checks of templates on."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        # No AWS variable, no home: nothing of this machine is in the templates.
        env={
            "CDK_OUTDIR": str(output),
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(output.parent),
        },
        check=False,
        capture_output=True,
        text=True,
    )


_CHECKED_APP = """
from stacks.environments import ENVIRONMENTS
from stacks.checks import check_when_synthesized
from stacks.platform import dbt_app

app = dbt_app(ENVIRONMENTS)
check_when_synthesized(app)
app.synth()
"""


def test_synth_passes_all_checks_and_gives_identical_bytes_twice(tmp_path: Path) -> None:
    """
    The same commit gives the same templates and assets.

    CDK's own validator finds nothing, and every finding of both packs of cdk-nag is fixed, or accepted beside its resource with a reason.
    """

    def contents(folder: Path) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        }

    folders = [tmp_path / "first", tmp_path / "second"]
    results = [_run(["-c", _CHECKED_APP], output=folder) for folder in folders]

    assert [result.returncode for result in results] == [0, 0], results[0].stderr
    first, second = map(contents, folders)
    assert first == second
    assert any(name.endswith(".template.json") for name in first)


_CARELESS_APP = """
from aws_cdk import Stack, aws_s3
from stacks.environments import DEV
from stacks.checks import check_when_synthesized
from stacks.platform import dbt_app

app = dbt_app([DEV])
check_when_synthesized(app)
aws_s3.Bucket(Stack(app, "Careless"), "Bucket")
app.synth()
"""


def test_finding_that_nobody_accepted_fails_synth(tmp_path: Path) -> None:
    """The checks are really on: a bucket that takes requests without TLS does not pass."""
    result = _run(["-c", _CARELESS_APP], output=tmp_path / "out")

    assert result.returncode != 0
    report = (tmp_path / "out" / "validation-report.json").read_text()
    assert "AwsSolutions-S10" in report
    assert "NIST.800.53.R5-S3BucketLoggingEnabled" in report
