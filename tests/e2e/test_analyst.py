"""
The analyst's day: runs are started, followed, stopped and repeated from a terminal, with a person's own login.

That login has the permissions of docs/analyst.md and no others, and every command is the Makefile's.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from local_cloud.cdk_cli import REPOSITORY_ROOT
from tests.documented import documented, typed
from tests.e2e.analyst import Analyst, ended
from tests.e2e.conftest import Story, wait_for, warehouse_that_hangs

_MODEL = "stg_bookshop__customers"


@pytest.fixture(scope="module", autouse=True)
def _own_alerts(story: Story) -> Iterator[None]:
    """Alerts of what fails here are not left for others."""
    yield
    story.alerts()


@pytest.fixture(scope="module")
def green_run(analyst: Analyst) -> str:
    """What `make run` wrote about a run of all models."""
    code, output = analyst.make("run")
    assert code == 0, output
    return output


def test_run_is_followed_model_by_model_to_its_end(analyst: Analyst, green_run: str) -> None:
    """A line for each model that the record has, its headline, and exit code 0."""
    attempt = analyst.last_attempt(green_run)
    assert attempt.end is not None
    models = {name for name in attempt.end["nodes"] if name.startswith("model.")}

    assert models
    assert {name for name in models if not re.search(rf"success  model +{name.split('.')[2]}  ", green_run)} == set()
    assert attempt.end["headline"] in green_run
    assert attempt.start["launched_by"] == {"kind": "person", "name": "assumed-role/analyst/ana"}
    assert attempt.start["task_definition"] in analyst.story.deployed.deployment["task_definition_arn"]


def test_log_and_report_of_the_last_run(analyst: Analyst, green_run: str, tmp_path: Path) -> None:
    """By one command each, without looking for its id."""
    assert green_run
    logged, log = analyst.make("logs")
    reported, said = analyst.make("report", TO=tmp_path / "report.html")

    assert (logged, reported) == (0, 0), log + said
    assert "step build starts" in log
    assert b"<html" in (tmp_path / "report.html").read_bytes()


def test_one_failed_model_is_run_again_by_one_command(analyst: Analyst) -> None:
    """
    A hotfix: a source has lost a column, is mended, and the model is built with what depends on it.

    In the failed run's own record, on its code; what it had done is not repeated.
    """
    warehouse = analyst.story.cloud.warehouse
    analyst.story.alerts()
    warehouse.run_sql("alter table raw_bookshop.customers rename column email to e_mail")
    try:
        # As a script does, to which make would not hand the exit code on.
        command = documented(
            "docs/analyst.md",
            "PYTHONPATH=container:dags",
            {"run dev bookshop": "run local bookshop", "…": f"'{_MODEL}+ book_categories'"},
        )
        output = typed(f'{{ {command} || echo "exit code $?"; }} 2>&1', environment=analyst.environment)
    finally:
        warehouse.run_sql("alter table raw_bookshop.customers rename column e_mail to email")
    first = analyst.last_attempt(output)
    (alert,) = analyst.story.alerts()
    code, again = analyst.make("retry", MODEL=_MODEL)
    second = analyst.last_attempt(again)
    assert first.end is not None
    assert second.end is not None

    assert output.endswith("exit code 1\n"), output
    assert "dbt project bookshop in local failed" in alert
    assert re.search(rf'error +model +{_MODEL} .*\n.*\n? *column "email" does not exist', output), output
    assert code == 0, again
    assert (first.start["run_id"], 2) == (second.start["run_id"], second.start["attempt"])
    assert first.start["task_definition"] == second.start["task_definition"]
    assert second.end["nodes"][f"model.bookshop.{_MODEL}"]["status"] == "success"
    assert "seed.bookshop.book_categories" in first.end["nodes"]
    assert "seed.bookshop.book_categories" not in second.end["nodes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hung:
    """What is written about a run that hangs: a second one, the one who leaves it, and its stop; each with its exit code."""

    run_id: str
    second: tuple[int, str]
    left: tuple[int, str]
    stop: tuple[int, str]


@pytest.fixture(scope="module")
def hung(analyst: Analyst, green_run: str) -> Hung:
    """A run that hangs in the warehouse, and what one does about it."""
    assert green_run
    story = analyst.story
    with warehouse_that_hangs(story.cloud.warehouse, threading.Event()):
        running = analyst.start("run", SELECT=_MODEL)
        run_id = wait_for(lambda: _started(running), "the run is started", timeout_seconds=60)
        wait_for(lambda: _is_building(story, run_id), "a model of the run begins", timeout_seconds=120)
        second = analyst.make("run")
        os.killpg(running.pid, signal.SIGINT)
        return Hung(run_id=run_id, second=second, left=ended(running), stop=analyst.make("stop"))


def _started(command: subprocess.Popen[str]) -> str | None:
    """The id of the run that the next line of a command names."""
    output: IO[str] | None = command.stdout
    assert output is not None
    told = re.match(r"run (\S+), container", output.readline())
    return told[1] if told else None


def _is_building(story: Story, run_id: str) -> bool:
    attempt = story.deployed.records.attempt(run_id)
    return attempt is not None and any(event["type"] == "node_started" for event in attempt.events)


def test_second_run_is_refused_while_one_is_at_work(hung: Hung) -> None:
    """It names the one that is; an exit code of its own says that nothing was started."""
    code, output = hung.second

    assert (code, f"another run of bookshop is at work: {hung.run_id}" in output) == (3, True), output


def test_ctrl_c_leaves_the_run_at_work(hung: Hung) -> None:
    """The one who looked leaves and hears how to stop it; it was still there to be stopped."""
    code, output = hung.left

    assert (code, f"make stop ENV=local PROJECT=bookshop RUN={hung.run_id}" in output) == (130, True), output


def test_stop_ends_the_run_in_order(analyst: Analyst, hung: Hung) -> None:
    """The container completes its record, and what was at work is not called failed."""
    code, output = hung.stop
    attempt = analyst.story.deployed.records.attempt(hung.run_id)

    assert (code, f"stopping {hung.run_id}" in output) == (0, True), output
    assert attempt is not None
    assert attempt.end is not None
    assert attempt.end["outcome"] == "interrupted"
    assert attempt.end["headline"] in output


def _relations(story: Story, schema: str) -> set[str]:
    """The tables and views whose schema begins so."""
    rows = story.cloud.warehouse.query(
        "select table_schema || '.' || table_name from information_schema.tables where table_schema like %s",
        [f"{schema}%"],
    )
    return {name for (name,) in rows}


def test_dbt_builds_in_a_sandbox_and_reads_the_rest_where_it_is_deployed(analyst: Analyst, green_run: str) -> None:
    """One model, by one's own AWS login, of upstream models that nobody rebuilds; no deployed relation is touched."""
    assert green_run
    story = analyst.story
    deployed = _relations(story, "analytics")
    code, output = analyst.make("dbt", ARGS="build -s dim_customers --exclude resource_type:test", SANDBOX="ana")
    (view,) = story.cloud.warehouse.query("select count(*) from dbt_ana.dim_customers")
    (original,) = story.cloud.warehouse.query("select count(*) from analytics.dim_customers")

    assert code == 0, output
    assert "what is neither selected nor in the sandbox is read where the last run built it" in output
    assert _relations(story, "dbt_ana") == {"dbt_ana.dim_customers"}
    assert _relations(story, "analytics") == deployed
    assert view == original
    assert story.cloud.warehouse.password not in output


def test_project_is_built_by_hand_as_its_readme_says(story: Story, tmp_path: Path) -> None:
    """Without the commands of this repository, into one's own schema and nowhere else."""
    project, warehouse = tmp_path / "bookshop", story.cloud.warehouse
    shutil.copytree(REPOSITORY_ROOT / "projects/bookshop", project)
    deployed = _relations(story, "analytics")
    said = story.types(
        "projects/bookshop/README.md",
        "export DBT_ENVIRONMENT",
        {
            "HOST=…": f"HOST={warehouse.host}",
            "USER=…": f"USER={warehouse.user}",
            "DB=…": f"DB={warehouse.database}",
            "PASSWORD=…": f"PASSWORD={shlex.quote(warehouse.password)}",
        },
        folder=project,
        DBT_REDSHIFT_PORT=str(warehouse.port),
        SSL_CERT_FILE=str(warehouse.ca_file),
    )
    built = _relations(story, "analytics") - deployed
    warehouse.run_sql("drop schema analytics_sandbox_anna cascade")

    assert "ERROR=0 SKIP=0" in said
    assert "analytics_sandbox_anna.dim_customers" in built
    assert {name.partition(".")[0] for name in built} == {"analytics_sandbox_anna"}


def _deployed(story: Story) -> set[str]:
    """The tables and views in the schemas of the deployment."""
    return {name for name in _relations(story, "analytics") if not name.startswith("analytics_pr_")}


class PullRequest:
    """A checkout of the sample project with a change, and the commands of CI about it."""

    def __init__(self, analyst: Analyst, folder: Path) -> None:
        self.analyst = analyst
        self.project = folder / "bookshop"
        self.comment = folder / "comment.md"
        shutil.copytree(REPOSITORY_ROOT / "projects/bookshop", self.project)

    def try_it(self) -> tuple[int, str]:
        """Try it as `make slim-ci` does, which takes the project of this repository; returns exit code and comment."""
        done = subprocess.run(
            [sys.executable, "-c", _TRY, str(self.project), str(self.comment)],
            cwd=REPOSITORY_ROOT,
            env={**self.analyst.environment, "PYTHONPATH": "container:dags:."},
            check=False,
            capture_output=True,
            text=True,
        )
        assert self.comment.exists(), done.stdout + done.stderr
        return done.returncode, self.comment.read_text()


_TRY = """
import sys
from pathlib import Path
from local_cloud.app import local_environment
from tools.slim_ci import main

project, comment = sys.argv[1:]
sys.exit(main(["try", "local", "bookshop", "17", "--comment", comment], (local_environment(Path(project)),)))
"""


@pytest.fixture(scope="module")
def pull_request(analyst: Analyst, green_run: str, tmp_path_factory: pytest.TempPathFactory) -> PullRequest:
    """A pull request that is not merged yet."""
    assert green_run
    return PullRequest(analyst, tmp_path_factory.mktemp("pull-request"))


def test_pull_request_that_changes_no_model_starts_nothing(analyst: Analyst, green_run: str, tmp_path: Path) -> None:
    """The repository's own checkout is what is deployed."""
    assert green_run
    code, output = analyst.make("slim-ci", PR=17, COMMENT=tmp_path / "comment.md")

    assert code == 0, output
    assert "no model is changed" in (tmp_path / "comment.md").read_text()


def test_pull_request_that_breaks_a_model_says_which_and_why_and_rings_nothing(
    analyst: Analyst, pull_request: PullRequest
) -> None:
    """
    What changed and what depends on it is built in schemas of its own; the deployed ones and latest.json are as before.

    What failed is said in the database's words, with the column that a contract has promised; nobody is woken up.
    """
    story = analyst.story
    deployed, latest = _deployed(story), story.deployed.records.json("bookshop/latest.json")
    story.alerts()
    marts = pull_request.project / "models/marts"
    (changed,), (broken,), (documented,) = (
        list(marts.glob(f"**/{name}")) for name in ("dim_books.sql", "bestsellers.sql", "_core.yml")
    )
    changed.write_text(changed.read_text() + "\n-- changed\n")
    broken.write_text(f"select no_such_column from (\n{broken.read_text()}\n) as broken\n")
    text = documented.read_text()
    column = "      - name: customer_name\n        data_type: varchar(201)\n        description: First and last name.\n"
    assert column in text
    documented.write_text(text.replace(column, ""))
    code, comment = pull_request.try_it()
    built = {name.partition(".")[2] for name in _relations(story, "analytics_pr_17") if "dbt_tmp" not in name}

    assert code == 1, comment
    assert 'column "no_such_column" does not exist' in comment
    assert re.search(r"`customer_name` of `dim_customers`: its own contract, exposure newsletter", comment), comment
    assert re.search(r"✅ success \| `dim_books` \| \d", comment), comment
    assert "report.html" in comment
    assert {"dim_books", "author_sales"} <= built
    assert "bestsellers" not in built
    assert _deployed(story) == deployed
    assert story.deployed.records.json("bookshop/latest.json") == latest
    assert story.alerts() == []


def test_schemas_of_a_closed_pull_request_are_dropped(analyst: Analyst, pull_request: PullRequest) -> None:
    """All of its own, and none else; what it was tried with is gone from the bucket."""
    story = analyst.story
    assert pull_request.comment.exists()
    deployed = _deployed(story)
    code, output = analyst.make("slim-ci-drop", PR=17)

    assert code == 0, output
    assert story.cloud.warehouse.query("select nspname from pg_namespace where nspname like 'analytics_pr_17%'") == []
    assert _deployed(story) == deployed
    assert story.deployed.records.keys("bookshop/slim-ci/") == []
