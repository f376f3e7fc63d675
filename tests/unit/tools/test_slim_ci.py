"""What a pull request is told of its models, and what is sent to be run."""

import io
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from constructs_lib.dbt_project_files import DbtProjectFiles
from stacks.environments import ENVIRONMENTS
from tests.unit.conftest import WriteProject
from tools.breaking_changes import Removed
from tools.slim_ci import Result, archive_of, last_tried, left_behind, main


def test_comment_says_what_failed_what_is_taken_away_and_where_the_report_is() -> None:
    """Models and what is not well; tests that passed are not listed, and a message cannot format the comment."""
    comment = Result(
        project="shop",
        pull_request=17,
        headline="model orders failed: column x does not exist",
        exit_code=1,
        removed=[Removed(node="customers", column="email", needed_by=("exposure crm of Sales",))],
        nodes={
            "model.shop.orders": {"status": "error", "seconds": 1.25, "message": "Database Error\n@everyone ![x](y)"},
            "model.shop.marts": {"status": "skipped", "seconds": 0.0},
            "test.shop.unique_id.1a2b": {"status": "success", "seconds": 0.1},
            "test.shop.not_null.3c4d": {"status": "warn", "seconds": 0.1},
        },
        seconds=34.4,
        state_of="nightly-0001",
        report="https://dbt.example.com/report.html",
    ).markdown()

    assert comment == (
        "### dbt project shop: ❌ failed\n\n"
        "    model orders failed: column x does not exist\n\n"
        "**A column is taken away that something needs**\n\n"
        "- `email` of `customers`: exposure crm of Sales\n\n"
        "| | model | seconds |\n| --- | --- | --: |\n"
        "| ❌ error | `orders` | 1.2 |\n"
        "| ⏭️ skipped | `marts` | 0.0 |\n"
        "| ⚠️ warn | `not_null` | 0.1 |\n\n"
        "`orders`:\n\n    Database Error\n    @everyone ![x](y)\n\n"
        "34 s · the rest is read from run `nightly-0001` · [report](https://dbt.example.com/report.html)\n"
    )


def test_comment_of_a_change_of_no_model_is_short() -> None:
    """Nothing was run, so there is nothing to link to."""
    comment = Result(project="shop", pull_request=17, headline="no model is changed", exit_code=0).markdown()

    assert comment == "### dbt project shop: ✅ passed\n\n    no model is changed\n"


def test_what_could_not_be_tried_says_why_in_the_comment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who reads the pull request does not have to look for a job's log."""
    comment = tmp_path / "build/c.md"
    code = main(["try", "dev", "no_such", "17", "--comment", str(comment)], ENVIRONMENTS)

    assert code == 3
    assert comment.read_text() == (
        "### dbt project no_such: ❌ was not tried\n\n    project must be one of bookshop, got 'no_such'\n"
    )
    assert "error: project must be one of bookshop" in capsys.readouterr().err


def test_archive_has_what_an_image_would_have(write_project: WriteProject) -> None:
    """Models and installed packages; no profile, which the runner brings, and nothing that dbt has written."""
    folder = write_project(
        {
            "models/a.sql": "select 1",
            "dbt_packages/p/dbt_project.yml": "name: p",
            "profiles.yml": "secret: x",
            "target/manifest.json": "{}",
        }
    )
    with tarfile.open(fileobj=io.BytesIO(archive_of(DbtProjectFiles(folder)))) as archive:
        names = archive.getnames()

    assert names == ["dbt_packages/p/dbt_project.yml", "dbt_project.yml", "models/a.sql"]


def test_schemas_that_nobody_has_dropped_go_after_some_days() -> None:
    """By the last push of their pull request; one's own are dropped in any case, before they are built."""
    day = datetime(2026, 11, 20, tzinfo=UTC)
    archives = [("pr_1/a.tar.gz", 1), ("pr_2/a.tar.gz", 1), ("pr_2/b.tar.gz", 19), ("pr_17/a.tar.gz", 1)]
    tried = last_tried((key, day.replace(day=number)) for key, number in archives)

    assert left_behind(tried, own="pr_17", before=day.replace(day=13)) == ["pr_1"]


@pytest.mark.parametrize("number", ["", "0", "17; drop", "main"])
def test_rejects_what_is_no_number_of_a_pull_request(
    number: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It becomes part of a schema's name."""
    with pytest.raises(SystemExit):
        main(["try", "dev", "bookshop", number, "--comment", str(tmp_path / "c.md")], ENVIRONMENTS)
    assert "PR must be the number of a pull request" in capsys.readouterr().err
