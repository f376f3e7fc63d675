"""Everything here runs in an environment with Airflow (2.11 or 3.3): `<venv>/bin/python -m pytest tests/airflow`."""

import contextlib
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fake_aws import FakeAws, FakeContainer

REPOSITORY_ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(REPOSITORY_ROOT), str(REPOSITORY_ROOT / "dags")]
# Airflow writes its configuration where this points to, at the first import.
_AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="airflow-home-")
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME.name

from deployed import DEPLOYMENT, graph_node, write_dag_folder  # noqa: E402

from dbt_on_fargate import aws as dbt_on_fargate_aws  # noqa: E402 -- after the path is set
from dbt_on_fargate import compat  # noqa: E402
from dbt_on_fargate.deployment import Deployment  # noqa: E402
from local_cloud.airflow import AirflowApiError, LocalAirflow  # noqa: E402
from tests.documented import documented, typed  # noqa: E402

SEED = "seed.bookshop.regions"
ORDERS = "model.bookshop.stg_orders"
ORDERS_TEST = "test.bookshop.unique_stg_orders_id.1a2b"
MART = "model.bookshop.fct_orders"
REPORT = "model.bookshop.rpt_sales"
LONE = "model.bookshop.dim_dates"

GRAPH: dict[str, Any] = {
    "format_version": 1,
    "project": "bookshop",
    "nodes": [
        graph_node(LONE, folder="marts"),
        graph_node(MART, folder="marts", after=(ORDERS, SEED)),
        graph_node(REPORT, folder="marts", after=(MART,)),
        graph_node(ORDERS, folder="staging", after=("source.bookshop.raw.orders",), tests=(ORDERS_TEST,)),
        graph_node(SEED),
        graph_node("source.bookshop.raw.orders"),
    ],
}

TASK_OF = {
    LONE: "marts.dim_dates",
    MART: "marts.fct_orders",
    REPORT: "marts.rpt_sales",
    ORDERS: "staging.stg_orders",
    SEED: "seeds.regions",
}
ALL_NODES = (SEED, LONE, ORDERS, ORDERS_TEST, MART, REPORT)


# Whoever needs a model's data, or the project's, has DAGs such as these.
CONSUMERS = """
from datetime import UTC, datetime

try:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG, Asset
except ImportError:
    from airflow.datasets import Dataset as Asset
    from airflow.models.dag import DAG
    from airflow.operators.empty import EmptyOperator

for name, path in {
    "reads_orders": "/model.bookshop.stg_orders", "reads_mart": "/model.bookshop.fct_orders", "reads_project": ""
}.items():
    with DAG(name, start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=[Asset(f"x-dbt-on-fargate://dev/bookshop{path}")]) as dag:
        EmptyOperator(task_id="read")
    globals()[name] = dag
"""


# Projects of which the end of the DAG file differs from the deployed one; what Airflow's administrators set by a policy is set there.
VARIANTS = {
    # Nobody's schedule comes to pass in a test; a backfill does.
    "nightly": "dag.end_date = datetime(2026, 1, 31, tzinfo=UTC)",
    "bounded": "dag.dagrun_timeout = timedelta(seconds=45)",
    "impatient": 'dag.get_task("run_dbt").execution_timeout = timedelta(seconds=30)\ndag.get_task("run_dbt").retries = 0',
}


def variant_id(name: str) -> str:
    """The id of a variant's DAG."""
    return f"dbt_dev_{name}"


def write_variants(folder: Path) -> None:
    """Deploy the variants beside the sample, with its graph."""
    for name, lines in VARIANTS.items():
        family = f"dev-dbt-{name}"
        deployment = DEPLOYMENT | {
            "project": name,
            "dag_id": variant_id(name),
            "task_definition_family": family,
            "task_definition_arn": f"arn:aws:ecs:eu-west-1:111111111111:task-definition/{family}:7",
        }
        if name == "nightly":
            deployment |= {"schedule": "0 5 * * *"}
        file = write_dag_folder(folder, deployment, GRAPH) / "dag.py"
        file.write_text(f"{file.read_text()}\nfrom datetime import UTC, datetime, timedelta\n\n{lines}\n")


@pytest.fixture(scope="session")
def aws() -> Iterator[FakeAws]:
    """AWS as far as the DAG needs it."""
    server = FakeAws()
    yield server
    server.close()


@pytest.fixture
def own_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    """AWS for one test alone, which the clients of this process talk to."""
    server = FakeAws()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    dbt_on_fargate_aws.client.cache_clear()
    yield server
    dbt_on_fargate_aws.client.cache_clear()
    server.close()


@pytest.fixture
def deployment() -> Deployment:
    """The sample deployment."""
    return Deployment.from_mapping(DEPLOYMENT)


def slack_connection(aws: FakeAws) -> str:
    """An Airflow connection to a Slack that is the stand-in."""
    connection = {"conn_type": "slack", "password": "xoxb-1", "extra": {"base_url": f"{aws.endpoint_url}/slack/"}}
    return json.dumps(connection)


@pytest.fixture(scope="session")
def real_airflow(aws: FakeAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAirflow]:
    """A real Airflow of the version that runs the tests, with the DAG of the sample deployment."""
    deployed = tmp_path_factory.mktemp("deployed")
    write_dag_folder(deployed, DEPLOYMENT, GRAPH)
    write_variants(deployed)
    (deployed / "consumers.py").write_text(CONSUMERS)
    for file in deployed.rglob("*"):
        if file.is_file():
            aws.put("airflow", f"dags/{file.relative_to(deployed).as_posix()}", file.read_bytes())
    airflow = LocalAirflow(
        tmp_path_factory.mktemp("airflow"),
        venv=Path(sys.prefix),
        dags_bucket="airflow",
        dags_prefix="dags",
        aws_environment=aws.environment | {"AIRFLOW_CONN_TEAM_SLACK": slack_connection(aws)},
    )
    try:
        airflow.start(timeout_seconds=300)
        variants = [variant_id(name) for name in VARIANTS]
        for dag_id in (DEPLOYMENT["dag_id"], "reads_orders", "reads_mart", "reads_project", *variants):
            airflow.wait_for_dag(dag_id, timeout_seconds=60)
        yield airflow
    finally:
        airflow.stop()


class Story:
    """One DAG run on the real Airflow, and the containers that it had."""

    _numbers = itertools.count(1)

    def __init__(self, airflow: LocalAirflow, aws: FakeAws, dag_id: str = DEPLOYMENT["dag_id"]) -> None:
        self.airflow = airflow
        self.aws = aws
        self.dag_id = dag_id
        self.run_id = f"test-{next(self._numbers)}"
        self._earlier = len(aws.containers)
        self._earlier_messages = len(aws.slack_messages)

    @property
    def containers(self) -> list[FakeContainer]:
        """The containers since the story began."""
        return self.aws.containers[self._earlier :]

    def message(self, words: str, *, timeout_seconds: float = 120) -> str:
        """
        The first message with these words that Slack got since the story began.

        Airflow keeps a callback that comes while it parses the DAG's file until it parses it again: by default twice a minute, here
        when the file changes.
        """
        project = self.dag_id.removeprefix("dbt_dev_")
        file = self.airflow.dags_folder / f"{DEPLOYMENT['package']}_{project}" / "dag.py"
        deadline = time.monotonic() + timeout_seconds
        next_parse = time.monotonic() + 15
        while time.monotonic() < deadline:
            for message in self.aws.slack_messages[self._earlier_messages :]:
                if words in message["text"]:
                    return str(message["text"])
            if time.monotonic() > next_parse:
                file.touch()
                next_parse += 15
            time.sleep(0.2)
        raise AssertionError(f"nobody was told {words!r}")

    def begin(self, **conf: object) -> None:
        """Trigger the run."""
        self.airflow.trigger(self.dag_id, conf=conf, run_id=self.run_id)

    def end(self) -> str:
        """The state in which the run ended."""
        return self.airflow.wait_for_run(self.dag_id, self.run_id, timeout_seconds=240)

    def states(self) -> dict[str, str | None]:
        """The states of the run's tasks."""
        return {
            task_id: instance["state"]
            for task_id, instance in self.airflow.task_instances(self.dag_id, self.run_id).items()
        }

    def updated_assets(self) -> list[str]:
        """The addresses of the assets that the run updated, in order, without what they have in common."""
        name, uri = ("asset", "uri") if compat.IS_AIRFLOW_3 else ("dataset", "dataset_uri")
        events = self._data_events(f"/{name}s/events?source_run_id={self.run_id}&limit=100")
        return sorted(event[uri].removeprefix("x-dbt-on-fargate://dev/bookshop") for event in events)

    def started_by_data(self, dag_id: str) -> int:
        """How often data of this run has started a DAG."""
        name = "Asset" if compat.IS_AIRFLOW_3 else "Dataset"
        runs = self.airflow.request("GET", f"/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
        events = [
            self._data_events(f"/dags/{dag_id}/dagRuns/{quote(run['dag_run_id'])}/upstream{name}Events") for run in runs
        ]
        return sum(any(event["source_run_id"] == self.run_id for event in found) for found in events)

    def _data_events(self, path: str) -> list[dict[str, Any]]:
        """The asset events (Airflow 2: dataset events) at an address of the API, asked for again while a run that one of them created is queued."""
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = self.airflow.request("GET", path)
            except AirflowApiError as error:
                # Airflow 3.3.2 answers 500 for an event whose run has no start date yet: https://github.com/apache/airflow/issues/71360
                if "answered 500" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return list(answer["asset_events" if compat.IS_AIRFLOW_3 else "dataset_events"])

    def of_variant(self, name: str) -> "Story":
        """A run of another DAG, at the same time."""
        return Story(self.airflow, self.aws, variant_id(name))

    def types(self, command: str) -> str:
        """What a command writes on the machine that Airflow runs on."""
        return typed(command, environment=self.airflow.environment())

    def backfill(self, first: str, last: str) -> list[str]:
        """Backfill the DAG over these days, one run at a time, as Airflow's command does; returns the states of the runs in order."""
        if compat.IS_AIRFLOW_3:
            window = f"--dag-id {self.dag_id} --from-date {first} --to-date {last}"
            command = documented("docs/airflow.md", "airflow backfill create", {"…": window})
        else:
            window = f"--start-date {first} --end-date {last} {self.dag_id}"
            command = documented("docs/airflow.md", "airflow dags backfill", {"…": window})
        # Airflow 3 reads and then writes within a savepoint, which SQLite refuses when another part wrote in between. Its command
        # only leaves runs for the scheduler; that of Airflow 2 goes through them itself.
        with self._without(*(("scheduler", "triggerer", "dag-processor") if compat.IS_AIRFLOW_3 else ())):
            self.types(command)
        runs = self.airflow.request("GET", f"/dags/{self.dag_id}/dagRuns")["dag_runs"]
        names = sorted(run["dag_run_id"] for run in runs)
        return [self.airflow.wait_for_run(self.dag_id, name, timeout_seconds=200) for name in names]

    @contextlib.contextmanager
    def _without(self, *components: str) -> Iterator[None]:
        for name in components:
            self.airflow.stop_component(name)
        try:
            yield
        finally:
            for name in components:
                self.airflow.start_component(name)

    def log(self, task_id: str, try_number: int = 1) -> str:
        """The log of a task."""
        return self.airflow.task_log(self.dag_id, self.run_id, task_id, try_number)


@pytest.fixture
def story(real_airflow: LocalAirflow, aws: FakeAws) -> Iterator[Story]:
    """A run to tell; whatever it left at work is ended."""
    told = Story(real_airflow, aws)
    yield told
    aws.refusals.clear()
    aws.launches_are_answered.set()
    for container in aws.live():
        container.stop_requested.set()
