"""The runner with another dbt than its own, as a project may pin it, on the stand-in."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from constructs_lib.dbt_environment import dbt_python
from constructs_lib.dbt_requirements import DbtRequirements
from tests.faults.machine import REPOSITORY, Machine
from tests.runner.attempts import builds, ended, started
from tests.runner.strange_project import write_strange_project
from tests.runner.test_other_peoples_projects import EXPECTED, without_hash
from tests.unit.runner.support import validated_record

pytestmark = pytest.mark.usefixtures("schema")


@pytest.fixture(scope="module")
def runner() -> list[str]:
    """The command of a runner that has the dbt which is pinned, from the environment that synth makes."""
    requirements = DbtRequirements(REPOSITORY / "tests/pinned/dbt-1.10-requirements.txt")
    return [str(dbt_python(requirements, cache_folder=REPOSITORY / ".cache/dbt-graph/environments")), "-m", "runner"]


def test_a_run_with_a_pinned_dbt_ends_as_one_with_our_own(machine: Machine, runner: list[str], tmp_path: Path) -> None:
    """Every node of a project with all that dbt offers ends the same way, and the record names the version that built it."""
    machine.project = write_strange_project(tmp_path)
    attempt = started(machine, "pinned", spec={"steps": ["build", "docs"], "sample_failed_rows": True}, command=runner)
    code = ended(attempt)
    machine.stand_in.run_sql("drop schema if exists built_mart cascade")

    assert code == 1, attempt.log.read_text()
    record = validated_record(machine.store, "pinned")
    start, end = record["attempts/0001/start.json"], record["attempts/0001/end.json"]
    assert start["versions"]["dbt-core"].startswith("1.10.")
    assert start["versions"]["dbt-redshift"].startswith("1.10.")
    assert {without_hash(unique_id): node["status"] for unique_id, node in end["nodes"].items()} == EXPECTED


def test_an_image_with_a_pinned_dbt_keeps_what_that_generates(runner: list[str], tmp_path: Path) -> None:
    """The step of the image's build that reads a project of all kinds does so with any dbt that is supported."""
    file = tmp_path / "generated_code.marshal"
    subprocess.run(
        [
            runner[0],
            "-c",
            f"from pathlib import Path; from runner.generated_code import generate; generate(Path({str(file)!r}))",
        ],
        env={"PYTHONPATH": str(REPOSITORY / "container"), "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        check=True,
    )

    assert file.stat().st_size > 100_000


def test_a_run_goes_on_with_the_same_dbt_only(machine: Machine, runner: list[str]) -> None:
    """What one version has built is not proven done for another, nor is its parse taken: the next attempt builds it again."""
    # Of its own: other tests have left their parse of this project.
    spec = {"steps": ["build"], "vars": {"asked_by": "test_pinned_dbt"}}
    codes, built, parse_was_cached = [], [], []
    for number, command in enumerate((None, None, runner, runner), start=1):
        attempt = started(machine, "other-dbt", spec=spec, number=number, command=command)
        codes.append(ended(attempt))
        built.append(len(builds(machine)))
        lines = [json.loads(line) for line in attempt.log.read_text().splitlines()]
        parse_was_cached += [line["cached"] for line in lines if "cached" in line]

    assert codes == [0, 0, 0, 0]
    assert built == [built[0], built[0], 2 * built[0], 2 * built[0]]
    assert parse_was_cached == [False, True, False, True]
