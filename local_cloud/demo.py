"""The main job on one machine: deploy a dbt project, let Airflow run it, show what came of it."""

import dataclasses
import json
import shlex
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from local_cloud.cdk_cli import REPOSITORY_ROOT
from local_cloud.cloud import LocalCloud
from local_cloud.local_settings import LocalSettings, read_local_settings
from local_cloud.progress import Step, Steps
from local_cloud.run_records import Attempt, RunRecords

_DAG_TIMEOUT_SECONDS = 120.0
_RUN_TIMEOUT_SECONDS = 3600.0
_RUN_OVER = frozenset({"success", "failed"})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What is deployed: a project, the command that synthesizes it, and the SQL that plays the loader of its sources."""

    settings: LocalSettings
    app: tuple[str, ...] = ("python", "app.py")
    raw_data: Path | None = None

    @classmethod
    def make(cls, project_path: Path | None, raw_sql: Path | None) -> "Choice":
        """
        The sample project, or the one at `project_path`.

        Raises WrongSettingsError for a path that holds no dbt project, FileNotFoundError for a missing SQL file.
        """
        if raw_sql is not None and not raw_sql.is_file():
            raise FileNotFoundError(f"the file with raw data does not exist: {raw_sql}")
        if project_path is None:
            settings = read_local_settings()
            sources = REPOSITORY_ROOT / f"local_cloud/sources/{settings.project}.sql"
            return cls(settings=settings, raw_data=raw_sql or sources)
        path = project_path.expanduser().resolve()
        return cls(
            settings=read_local_settings(path),
            app=("python", "-m", "local_cloud.app", shlex.quote(str(path))),
            raw_data=raw_sql,
        )


class DeployedProject:
    """A project that is deployed to the local cloud, reached through what the deployment wrote beside its DAG."""

    def __init__(self, cloud: LocalCloud, settings: LocalSettings) -> None:
        self.cloud = cloud
        self.project = settings.project
        self.deployment = self._read_deployment(settings)
        self.records = RunRecords(
            cloud.account.client("s3"), bucket=self.deployment["bucket_name"], project=self.project
        )

    @property
    def dag_id(self) -> str:
        """The id of the project's DAG in Airflow."""
        return str(self.deployment["dag_id"])

    def run(self, step: Step, conf: Mapping[str, Any] | None = None) -> tuple[str, Attempt]:
        """
        Let Airflow run the DAG once and wait for its end; `step` is told how far it is.

        Returns the state of the DAG run and the last attempt's record. Raises TimeoutError after an hour, RuntimeError without a record.
        """
        airflow = self.cloud.airflow
        # An id of such characters is also the id of the run record.
        run_id = f"local-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        airflow.trigger(self.dag_id, conf=dict(conf or {}), run_id=run_id)
        deadline = time.monotonic() + _RUN_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            state = airflow.dag_run(self.dag_id, run_id)["state"]
            attempt = self.records.attempt(run_id)
            step.say(attempt.progress() if attempt else f"Airflow: {state}")
            if state in _RUN_OVER:
                if attempt is None:
                    raise RuntimeError(
                        f"run {run_id} of {self.dag_id} ended {state} and left no record; see Airflow's log of it"
                    )
                return state, attempt
            time.sleep(0.5)
        raise TimeoutError(f"run {run_id} of {self.dag_id} did not end within {_RUN_TIMEOUT_SECONDS:.0f} s")

    def _read_deployment(self, settings: LocalSettings) -> dict[str, Any]:
        s3 = self.cloud.account.client("s3")
        answer = s3.get_object(Bucket=settings.dags_bucket, Key=settings.deployment_key)
        deployment: dict[str, Any] = json.loads(answer["Body"].read())
        return deployment


def start_and_deploy(cloud: LocalCloud, steps: Steps, choice: Choice) -> DeployedProject:
    """Start the local cloud, deploy `choice` into it with the CDK CLI, and wait until Airflow has its DAG."""
    cloud.start(choice.settings)
    if choice.raw_data is not None:
        with steps.step(f"Load raw data into the warehouse ({choice.raw_data.name})"):
            cloud.warehouse.run_sql(choice.raw_data.read_text())
    with ThreadPoolExecutor() as pool:
        # Airflow takes about as long to start as the deployment does.
        airflow = pool.submit(_start_airflow, cloud, steps)
        try:
            with steps.step("cdk bootstrap") as step:
                cloud.cdk().bootstrap(choice.settings.account, choice.settings.region, say=step.say)
            deploy(cloud, steps, choice, is_first=True)
            airflow.result()
        except BaseException:
            # Nobody waits for an Airflow that starts for nothing.
            cloud.stop()
            raise
    deployed = DeployedProject(cloud, choice.settings)
    with steps.step(f"Airflow finds the DAG {deployed.dag_id}"):
        cloud.airflow.wait_for_dag(deployed.dag_id, timeout_seconds=_DAG_TIMEOUT_SECONDS)
    with steps.step("Restart Airflow's triggerer, which loads the plugin of the first deployment"):
        cloud.airflow.restart_component("triggerer")
    return deployed


def deploy(cloud: LocalCloud, steps: Steps, choice: Choice, *, is_first: bool) -> None:
    """
    Deploy what the app of `choice` says now.

    The first deployment asks the CLI not to build images before it has deployed the stack that holds their registry.
    """
    flags = ["--asset-prebuild=false"] if is_first else []
    title = f"cdk deploy '{choice.settings.environment}/**' (synthesize, build the image, push, deploy)"
    with steps.step(title) as step:
        cloud.cdk(choice.app).run(
            "deploy", f"{choice.settings.environment}/**", *flags, "--require-approval", "never", say=step.say
        )


def run_demo(*, project_path: Path | None, raw_sql: Path | None, keep: bool) -> int:
    """Run the whole demo; returns 0 when the dbt run was green, 1 when it was not."""
    choice = Choice.make(project_path, raw_sql)
    started = time.monotonic()
    with Steps() as steps, LocalCloud(steps=steps) as cloud:
        steps.console.print(f"dbt project [bold]{choice.settings.project}[/] at {choice.settings.project_path}\n")
        deployed = start_and_deploy(cloud, steps, choice)
        with steps.step(f"Airflow runs {deployed.dag_id}") as step:
            state, attempt = deployed.run(step)
            step.say("")
        output = cloud.folder / "demo"
        shutil.rmtree(output, ignore_errors=True)
        deployed.records.download(output)
        _print_summary(steps, deployed, attempt, output)
        if keep:
            cloud.keep()
            url = f"{cloud.airflow.url}/dags/{deployed.dag_id}"
            steps.console.print(f"  {'Airflow':<11} {url}\n\nLeft running; `make demo-stop` ends it.", soft_wrap=True)
        else:
            with steps.step("Stop everything"):
                cloud.stop()
        steps.console.print(f"\n{time.monotonic() - started:.0f} s in all")
    return 0 if state == "success" else 1


def _start_airflow(cloud: LocalCloud, steps: Steps) -> None:
    with steps.step("Start Airflow (scheduler, triggerer, DAG processor, API server)"):
        cloud.airflow.start()


def _print_summary(steps: Steps, deployed: DeployedProject, attempt: Attempt, output: Path) -> None:
    end = attempt.end
    if end is None:
        steps.console.print("The run left no end in its record: it was killed.", style="red")
        return
    steps.console.print()
    steps.console.print(
        end["headline"], style="bold green" if end["outcome"] == "success" else "bold red", soft_wrap=True
    )
    table = Table("step", "outcome", "seconds", title_justify="left")
    for step in end["steps"]:
        table.add_row(step["name"], step["outcome"], f"{step['seconds']:.1f}")
    steps.console.print(table)
    kinds = Table("what ran", "number", "outcome")
    for kind, outcomes in _outcomes_by_kind(attempt).items():
        told = ", ".join(f"{number} {status}" for status, number in outcomes.most_common())
        kinds.add_row(kind, str(outcomes.total()), told)
    steps.console.print(kinds)
    project_folder = output / deployed.project
    docs = sorted(project_folder.glob("docs/*/index.html"))
    places = {
        "dbt docs": docs[-1].as_uri() if docs else "none: see the run report",
        "run report": (output / attempt.prefix / "report.html").as_uri(),
        "run record": (output / attempt.prefix).as_uri(),
        "logs": (deployed.cloud.folder / "logs").as_uri(),
    }
    steps.console.print("where to look", style="bold")
    for name, place in places.items():
        # Whole on one line, so that a terminal makes it a link.
        steps.console.print(f"  {name:<11} {place}", soft_wrap=True)


def _outcomes_by_kind(attempt: Attempt) -> dict[str, Counter[str]]:
    kinds: dict[str, Counter[str]] = {}
    for event in attempt.events:
        if event["type"] == "node_finished":
            kinds.setdefault(event["resource_type"], Counter())[event["status"]] += 1
    return kinds
