"""An Airflow that runs this product's DAG and those of Astronomer Cosmos, of one dbt project and against one database."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from benchmarks.airflow_database import airflow_database
from benchmarks.airflow_processes import cpu_seconds
from benchmarks.generated_project import generate_project
from benchmarks.patience import patiently
from local_cloud.airflow import AirflowNotHealthyError
from local_cloud.cloud import DEFAULT_FOLDER, LocalCloud, share_installed
from local_cloud.demo import Choice, DeployedProject, start_and_deploy
from local_cloud.local_settings import read_local_settings
from local_cloud.progress import Step, Steps

FOLDER = DEFAULT_FOLDER / "bench-airflow"
"""Of its own, so that a demo may run at the same time."""

THREADS = 4
# Cosmos local took a quarter of an hour for 300 models on two quiet cores, and had not ended after 2,400 s on busy ones.
_RUN_SECONDS = 7200.0
_DAG_SECONDS = 300.0
_AIRFLOW_FOLDER = FOLDER / "airflow"
_COSMOS_DAG = Path(__file__).parent / "cosmos_dag.py"


@dataclass(frozen=True, kw_only=True, slots=True)
class DagRun:
    """What one run of a DAG took."""

    wall_seconds: float
    worker_processes: int
    scheduler_cpu_seconds: float
    triggerer_cpu_seconds: float
    s3_requests: int
    ended_at: float
    task_ends: Mapping[str, float]
    run_id: str


class AirflowCloud(LocalCloud):
    """
    The local cloud with `models` models deployed, and beside them two DAGs of Cosmos for the same project.

    Airflow keeps its own state in PostgreSQL: in SQLite its parts lock each other out.
    """

    def __init__(self, models: int, *, steps: Steps) -> None:
        super().__init__(FOLDER, steps=steps, airflow_venv="airflow-cosmos")
        self._models = models
        self._project = FOLDER / f"project-{models}"
        self.cosmos_project = FOLDER / f"cosmos-{models}"
        self.deployed: DeployedProject

    def __enter__(self) -> Self:
        """Deploy everything; the first run of each DAG is up to the caller."""
        try:
            self._start_all()
        except BaseException:
            self.stop()
            raise
        return self

    def airflow_environment(self) -> Mapping[str, str]:
        """Airflow's database, and what Cosmos needs to reach the warehouse."""
        return {
            **airflow_database(self.warehouse),
            # Cosmos makes an object for each of many tasks; on a busy machine that may take longer than Airflow allows.
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
            "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
            **self.dbt_environment,
        }

    @property
    def dbt_environment(self) -> Mapping[str, str]:
        """What dbt needs to reach the warehouse as the product's container does."""
        return {
            "BENCH_PORT": str(self.warehouse.port),
            "BENCH_PASSWORD": self.warehouse.password,
            "SSL_CERT_FILE": str(self.warehouse.ca_file),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }

    def dbt_build(self) -> float:
        """Seconds that `dbt build` takes from a shell; raises RuntimeError if it fails."""
        started = time.monotonic()
        self._dbt("build")
        return time.monotonic() - started

    def run(self, dag_id: str, step: Step) -> DagRun:
        """Run a DAG to its end; raises RuntimeError if it is not green."""
        run_id = f"bench-{time.time_ns()}"
        before = cpu_seconds(_AIRFLOW_FOLDER, "scheduler"), cpu_seconds(_AIRFLOW_FOLDER, "triggerer")
        seen = self.emulator.iam_log.stat().st_size
        patiently(lambda: self.airflow.trigger(dag_id, run_id=run_id))
        deadline = time.monotonic() + _RUN_SECONDS
        # Looking often would cost the API server what is measured here.
        while (run := patiently(lambda: self.airflow.dag_run(dag_id, run_id)))["state"] not in {
            "success",
            "failed",
        }:
            if time.monotonic() > deadline:
                raise AirflowNotHealthyError(f"{dag_id} did not end within {_RUN_SECONDS:.0f} s")
            step.say(f"{dag_id} is {run['state']}")
            time.sleep(1)
        instances = patiently(lambda: self.airflow.task_instances(dag_id, run_id))
        if run["state"] != "success":
            failed = sorted(task_id for task_id, found in instances.items() if found["state"] == "failed")
            raise RuntimeError(f"{dag_id} failed, so nothing was measured; failed tasks: {', '.join(failed)}")
        return DagRun(
            wall_seconds=_time(run["end_date"]) - _time(run["queued_at"]),
            worker_processes=sum(found["pid"] is not None for found in instances.values()),
            scheduler_cpu_seconds=cpu_seconds(_AIRFLOW_FOLDER, "scheduler") - before[0],
            triggerer_cpu_seconds=cpu_seconds(_AIRFLOW_FOLDER, "triggerer") - before[1],
            s3_requests=self._s3_requests_of_airflow(seen),
            ended_at=_time(run["end_date"]),
            task_ends={task_id: _time(found["end_date"]) for task_id, found in instances.items() if found["end_date"]},
            run_id=run_id,
        )

    def parse_milliseconds(self, file: Path) -> float:
        """CPU milliseconds that a DAG file takes in a new process, beyond `import airflow.sdk`."""
        done = subprocess.run(
            [self._python, "-P", Path(__file__).with_name("parse_dag.py"), file],
            env=self.airflow.environment(),
            check=True,
            capture_output=True,
            text=True,
        )
        return float(done.stdout.splitlines()[-1])

    def cosmos_dag_id(self, mode: str) -> str:
        """The DAG of Cosmos in `mode`: `local` or `watcher`."""
        return f"cosmos_{mode}"

    def cosmos_dag_file(self, mode: str) -> Path:
        """Its file in Airflow's DAG folder."""
        return self.airflow.dags_folder / f"cosmos_{mode}/dag.py"

    @property
    def dag_file(self) -> Path:
        """The product's DAG file of the project."""
        (file,) = self.airflow.dags_folder.glob("dbt_on_fargate_*_*/dag.py")
        return file

    @property
    def _python(self) -> Path:
        return FOLDER / "venvs/airflow-cosmos/bin/python"

    def _start_all(self) -> None:
        share_installed(FOLDER)
        _write_project(self._project, self._models)
        choice = Choice(
            settings=read_local_settings(self._project),
            app=("python", "-m", "local_cloud.app", str(self._project)),
        )
        self.deployed = start_and_deploy(self, self._steps, choice)
        with self._steps.step("Airflow finds the DAGs of Cosmos"):
            self._put_cosmos_dags(choice.settings.dags_bucket, choice.settings.dags_prefix)
            for mode in ("local", "watcher"):
                self.airflow.wait_for_dag(self.cosmos_dag_id(mode), timeout_seconds=_DAG_SECONDS)

    def _put_cosmos_dags(self, bucket: str, prefix: str) -> None:
        shutil.rmtree(self.cosmos_project, ignore_errors=True)
        shutil.copytree(self._project, self.cosmos_project)
        (self.cosmos_project / "profiles.yml").write_text(json.dumps(_PROFILES))
        self._dbt("parse")
        for mode in ("local", "watcher"):
            settings = {"dag_id": self.cosmos_dag_id(mode), "mode": mode, "project": str(self.cosmos_project)}
            files = {"dag.py": _COSMOS_DAG.read_text(), "settings.json": json.dumps(settings)}
            for name, content in files.items():
                self.account.client("s3").put_object(
                    Bucket=bucket, Key=f"{prefix}/cosmos_{mode}/{name}", Body=content.encode()
                )

    def _dbt(self, command: str) -> None:
        done = subprocess.run(
            [FOLDER / "venvs/airflow-cosmos/bin/dbt", command, "--profiles-dir", ".", "--threads", str(THREADS)],
            cwd=self.cosmos_project,
            env={"PATH": os.defpath, "HOME": str(FOLDER / "home"), **self.dbt_environment},
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"dbt {command} ended with exit code {done.returncode}:\n{done.stdout[-3000:]}")

    def _s3_requests_of_airflow(self, offset: int) -> int:
        with self.emulator.iam_log.open("rb") as log:
            log.seek(offset)
            entries = [json.loads(line) for line in log]
        launch_role = str(self.deployed.deployment["launch_role_arn"]).rpartition("/")[2]
        return sum(
            entry["action"].startswith("s3:") and f":assumed-role/{launch_role}/" in entry["principal"]
            for entry in entries
        )


def _write_project(folder: Path, models: int) -> None:
    """
    The generated project without its tests and its source.

    In favour of Cosmos, which would show a task more for each model with tests.
    """
    shutil.rmtree(folder, ignore_errors=True)
    generate_project(folder, models=models, sources_schema="raw_generated")
    properties_file = folder / "models/properties.yml"
    properties = json.loads(properties_file.read_text())
    entries = [{"name": model["name"], "description": model["description"]} for model in properties["models"]]
    properties_file.write_text(json.dumps({"version": 2, "models": entries}))


# JSON is YAML, and needs no second writer.
_PROFILES = {
    "generated": {
        "target": "bench",
        "outputs": {
            "bench": {
                "type": "redshift",
                "host": "127.0.0.1",
                "port": "{{ env_var('BENCH_PORT') | as_number }}",
                "user": "dbt",
                "password": "{{ env_var('BENCH_PASSWORD') }}",
                "dbname": "warehouse",
                "schema": "bench_cosmos",
                "sslmode": "verify-full",
                "threads": THREADS,
            }
        },
    }
}


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
