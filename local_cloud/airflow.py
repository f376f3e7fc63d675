"""A real Airflow (scheduler, triggerer, DAG processor, API server) on this machine, below one folder."""

import base64
import json
import os
import secrets
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local_cloud.processes import Processes, free_port

_SYNC_SCRIPT = Path(__file__).with_name("dag_folder_sync.py")
_POLL_SECONDS = 0.25
_FINISHED = frozenset({"success", "failed"})


class AirflowNotHealthyError(RuntimeError):
    """Airflow, or a DAG of it, did not come up in time; the message says what was seen last."""


class AirflowApiError(RuntimeError):
    """Airflow's REST API refused a request; the message holds its answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Release:
    """What differs between Airflow 2 and 3 for those who start it and call its REST API."""

    server_command: tuple[str, ...]
    health_path: str
    api_path: str
    components: tuple[str, ...]


_AIRFLOW_2 = _Release(
    server_command=("webserver", "--workers", "1"),
    health_path="/health",
    api_path="/api/v1",
    # Its scheduler parses the DAG files: a processor of its own refuses SQLite.
    components=("scheduler", "triggerer"),
)
_AIRFLOW_3 = _Release(
    server_command=("api-server",),
    health_path="/api/v2/monitor/health",
    api_path="/api/v2",
    components=("scheduler", "triggerer", "dag-processor"),
)


class LocalAirflow:
    """
    Airflow with everything it writes below `folder`, on a free port of loopback, without logins.

    `venv` is the virtual environment with Airflow 2.11 or 3.3 and the amazon provider.
    The DAG files are those below `dags_prefix` of `dags_bucket`, mirrored every second.
    `aws_environment` holds the variables that boto3 needs (credentials, region, end point); Airflow's processes get no others of AWS.
    What another process started can be asked and stopped through an instance made with the same arguments.
    """

    def __init__(
        self,
        folder: Path,
        *,
        venv: Path,
        dags_bucket: str,
        dags_prefix: str,
        aws_environment: Mapping[str, str],
    ) -> None:
        self._folder = folder.resolve()
        self._venv = venv.resolve()
        self._dags_bucket = dags_bucket
        self._dags_prefix = dags_prefix
        self._aws_environment = dict(aws_environment)
        self._processes = Processes(self._folder / "processes")

    @property
    def dags_folder(self) -> Path:
        """Where the DAG files of the bucket are mirrored to."""
        return self._folder / "dags"

    @property
    def url(self) -> str:
        """The address of Airflow's pages; raises FileNotFoundError before the first start."""
        return f"http://127.0.0.1:{self._settings()['port']}"

    def start(self, *, timeout_seconds: float = 300) -> None:
        """
        Start all of Airflow and return as soon as every part of it reports to be healthy.

        Raises ProcessDiedError when a part ends, AirflowNotHealthyError when one is not healthy within `timeout_seconds`.
        """
        deadline = time.monotonic() + timeout_seconds
        self.dags_folder.mkdir(parents=True, exist_ok=True)
        self._write_settings()
        self._start_dag_folder_sync()
        self._migrate_database()
        # The DAG processor parses at once: let it find the files.
        self._wait_for(self._mirror_file.exists, "the DAG folder was not mirrored", deadline)
        release = self._release()
        port = str(self._settings()["port"])
        self._start_component("api-server", *release.server_command, "--port", port)
        for component in release.components:
            self.start_component(component)
        self._wait_for(self._is_healthy, "Airflow is not healthy", deadline)

    def stop(self) -> None:
        """End every process of this Airflow; its folder stays."""
        self._processes.stop_all()

    def start_component(self, name: str) -> None:
        """Start one of the parts, e.g. `scheduler` or `triggerer` after it was killed in a test."""
        # Log files are read from the disk that all parts share; the servers for them would listen on all addresses.
        options = ("--skip-serve-logs",) if name in {"scheduler", "triggerer"} else ()
        self._start_component(name, name, *options)

    def stop_component(self, name: str) -> None:
        """End a part in order, as an operator does."""
        self._processes.stop(name)

    def restart_component(self, name: str) -> None:
        """End a part in order and start it again, as an operator does; returns before it works again."""
        self.stop_component(name)
        self.start_component(name)

    def kill_component(self, name: str) -> None:
        """Kill a part with SIGKILL, as a machine that is lost does; nothing of it is left when this returns."""
        self._processes.stop(name, first_signal=signal.SIGKILL)

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run of a DAG by hand, with `conf` over the DAG's params; returns the run's id."""
        body: dict[str, Any] = {"conf": dict(conf or {})}
        if self._release() is _AIRFLOW_3:
            body["logical_date"] = None
        if run_id is not None:
            body["dag_run_id"] = run_id
        answer = self.request("POST", f"/dags/{_quoted(dag_id)}/dagRuns", body)
        started: str = answer["dag_run_id"]
        return started

    def dag_run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run as Airflow's REST API describes it, e.g. its `state`."""
        return self.request("GET", f"/dags/{_quoted(dag_id)}/dagRuns/{_quoted(run_id)}")

    def task_instances(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """The task instances of a run by task id, as Airflow's REST API describes them."""
        path = f"/dags/{_quoted(dag_id)}/dagRuns/{_quoted(run_id)}/taskInstances"
        found: dict[str, dict[str, Any]] = {}
        while True:
            page = self.request("GET", f"{path}?limit=100&offset={len(found)}")["task_instances"]
            found.update({instance["task_id"]: instance for instance in page})
            if len(page) < 100:
                return found

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """The log of one try of a task as plain text, a line for each entry."""
        path = f"/dags/{_quoted(dag_id)}/dagRuns/{_quoted(run_id)}/taskInstances/{_quoted(task_id)}/logs/{try_number}"
        if self._release() is _AIRFLOW_2:
            return self._ask("GET", f"{path}?full_content=true", None, "text/plain").decode()
        return "\n".join(_log_line(entry) for entry in self.request("GET", f"{path}?full_content=true")["content"])

    def clear(self, dag_id: str, run_id: str, task_ids: list[str], *, include_downstream: bool = False) -> None:
        """Clear tasks of a run, as the button of that name does."""
        self.request(
            "POST",
            f"/dags/{_quoted(dag_id)}/clearTaskInstances",
            {
                "dry_run": False,
                "dag_run_id": run_id,
                "task_ids": task_ids,
                "include_downstream": include_downstream,
                "only_failed": False,
                "reset_dag_runs": True,
            },
        )

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Set a task's state by hand: `success` or `failed`."""
        if self._release() is _AIRFLOW_3:
            path = f"/dags/{_quoted(dag_id)}/dagRuns/{_quoted(run_id)}/taskInstances/{_quoted(task_id)}"
            self.request("PATCH", path, {"new_state": state})
            return
        self.request(
            "POST",
            f"/dags/{_quoted(dag_id)}/updateTaskInstancesState",
            {
                "dry_run": False,
                "task_id": task_id,
                "dag_run_id": run_id,
                "include_upstream": False,
                "include_downstream": False,
                "include_future": False,
                "include_past": False,
                "new_state": state,
            },
        )

    def import_errors(self) -> list[dict[str, Any]]:
        """What the DAG processor could not import, as Airflow's REST API describes it."""
        errors: list[dict[str, Any]] = self.request("GET", "/importErrors")["import_errors"]
        return errors

    def wait_for_dag(self, dag_id: str, timeout_seconds: float) -> None:
        """Return when Airflow knows the DAG and may run it; raises AirflowNotHealthyError with the import errors otherwise."""

        def is_known() -> bool:
            try:
                self.request("GET", f"/dags/{_quoted(dag_id)}")
            except AirflowApiError:
                return False
            return True

        deadline = time.monotonic() + timeout_seconds
        while not is_known():
            if time.monotonic() > deadline:
                raise AirflowNotHealthyError(
                    f"DAG {dag_id!r} did not appear within {timeout_seconds:.0f} s; "
                    f"import errors: {json.dumps(self.import_errors(), indent=1)}"
                )
            time.sleep(_POLL_SECONDS)

    def wait_for_sync(self, *, timeout_seconds: float = 120) -> None:
        """
        Return when what is in the bucket now is in the DAG folder and Airflow has parsed it.

        Raises AirflowNotHealthyError if that takes longer.
        """
        asked_at = time.time()
        deadline = time.monotonic() + timeout_seconds
        self._wait_for(lambda: self._mirror()["began_at"] > asked_at, "the DAG folder was not mirrored", deadline)
        changed_at = datetime.fromtimestamp(self._mirror()["changed_at"], tz=UTC)

        def is_parsed() -> bool:
            dags = self.request("GET", "/dags?limit=100")["dags"]
            known = [dag for dag in dags if Path(dag["fileloc"]).is_file()]
            parsed = [dag for dag in known if _time(dag["last_parsed_time"]) >= changed_at]
            broken = [error for error in self.import_errors() if _time(error["timestamp"]) >= changed_at]
            files = {path.parent for path in self.dags_folder.glob("*/deployment.json")}
            return len(parsed) + len(broken) >= len(files)

        self._wait_for(is_parsed, "Airflow has not parsed the DAG files", deadline)

    def wait_for_run(self, dag_id: str, run_id: str, timeout_seconds: float) -> str:
        """Return the state of a run, `success` or `failed`, when it has ended; raises AirflowNotHealthyError if it does not in time."""
        deadline = time.monotonic() + timeout_seconds
        while (state := self.dag_run(dag_id, run_id)["state"]) not in _FINISHED:
            if time.monotonic() > deadline:
                states = {task: found["state"] for task, found in self.task_instances(dag_id, run_id).items()}
                raise AirflowNotHealthyError(
                    f"run {run_id!r} of {dag_id!r} is still {state} after {timeout_seconds:.0f} s; tasks: {states}"
                )
            time.sleep(_POLL_SECONDS)
        return str(state)

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call Airflow's REST API at `path` below its version; raises AirflowApiError when it refuses."""
        answer: dict[str, Any] = json.loads(self._ask(method, path, body, "application/json") or b"{}")
        return answer

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None, content_type: str) -> bytes:
        request = urllib.request.Request(  # noqa: S310 -- the address is this object's own, on loopback
            f"{self.url}{self._release().api_path}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Accept": content_type},
        )
        try:
            with _opener().open(request, timeout=30) as response:
                answer: bytes = response.read()
                return answer
        except urllib.error.HTTPError as error:
            raise AirflowApiError(
                f"{method} {path} answered {error.code}: {error.read().decode(errors='replace')}"
            ) from error

    @property
    def _mirror_file(self) -> Path:
        return self._folder / "dag-folder-mirror.json"

    def _mirror(self) -> dict[str, float]:
        state: dict[str, float] = json.loads(self._mirror_file.read_text())
        return state

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = json.loads((self._folder / "airflow.json").read_text())
        return settings

    def _write_settings(self) -> None:
        settings = {
            "port": free_port(),
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "secret_key": secrets.token_urlsafe(64),
        }
        if (self._folder / "airflow.json").exists():
            # What the database holds was encrypted with the key of the first start.
            settings["fernet_key"] = self._settings()["fernet_key"]
        settings_file = self._folder / "airflow.json"
        settings_file.touch(mode=0o600)
        settings_file.write_text(json.dumps(settings))
        # Airflow 2 only: everyone who reaches the loopback port may do everything, as in Airflow 3's "all admins".
        (self._folder / "webserver_config.py").write_text('AUTH_ROLE_PUBLIC = "Admin"\nWTF_CSRF_ENABLED = True\n')

    def _release(self) -> _Release:
        return _AIRFLOW_3 if self._major_version() >= 3 else _AIRFLOW_2

    def _major_version(self) -> int:
        (installed,) = self._venv.glob("lib/python*/site-packages/apache_airflow-*.dist-info")
        return int(installed.name.removeprefix("apache_airflow-").partition(".")[0])

    def environment(self) -> dict[str, str]:
        """The environment of all parts of this Airflow; raises FileNotFoundError before the first start."""
        settings = self._settings()
        port = settings["port"]
        environment = {
            "PATH": f"{self._venv / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self._folder),
            "LANG": "C.UTF-8",
            "AIRFLOW_HOME": str(self._folder),
            # The triggerer of Airflow 3 finds triggers on Python's own path only, not in DAG bundles (docs/airflow.md).
            "PYTHONPATH": str(self.dags_folder),
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags_folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "8",
            "AIRFLOW__CORE__FERNET_KEY": settings["fernet_key"],
            # Writers take turns. On a busy machine one waits for longer than the 5 s after which SQLite gives up by itself.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self._folder / 'airflow.db'}?timeout=60",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self._folder / "logs" / "tasks"),
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            # New files of a deployment show up within seconds.
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "1",
            # A file is parsed anew when it changes; the mirror sees to that for its neighbours, too.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
            "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "3600",
            "AIRFLOW__DAG_PROCESSOR__FILE_PARSING_SORT_MODE": "modified_time",
            "AIRFLOW__SCHEDULER__FILE_PARSING_SORT_MODE": "modified_time",
            "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "1",
            # Who is gone is noticed within seconds, too.
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": settings["secret_key"],
            "AIRFLOW__API_AUTH__JWT_SECRET": settings["secret_key"],
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        }
        if self._release() is _AIRFLOW_2:
            del environment["AIRFLOW__API__BASE_URL"]
            environment |= {
                # SQLite does not lock for readers; a test has one scheduler.
                "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
                "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
                "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
                "AIRFLOW__WEBSERVER__BASE_URL": f"http://127.0.0.1:{port}",
                "AIRFLOW__WEBSERVER__SECRET_KEY": settings["secret_key"],
                "AIRFLOW__WEBSERVER__EXPOSE_CONFIG": "False",
                # On a busy machine it would take its own server for dead, and end.
                "AIRFLOW__WEBSERVER__WEB_SERVER_MASTER_TIMEOUT": "600",
            }
        return environment | self._aws_environment

    def _start_dag_folder_sync(self) -> None:
        self._mirror_file.unlink(missing_ok=True)
        self._processes.start(
            "dag-folder-sync",
            [
                self._venv / "bin" / "python",
                _SYNC_SCRIPT,
                self._dags_bucket,
                self._dags_prefix,
                self.dags_folder,
                self._mirror_file,
            ],
            environment=self.environment(),
            log_file=self._folder / "logs" / "dag-folder-sync.log",
        )

    def _migrate_database(self) -> None:
        log_file = self._folder / "logs" / "database.log"
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            result = subprocess.run(
                [self._venv / "bin" / "airflow", "db", "migrate"],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if result.returncode != 0:
            raise AirflowNotHealthyError(f"`airflow db migrate` ended with {result.returncode}; see {log_file}")

    def _start_component(self, name: str, *arguments: str) -> None:
        self._processes.start(
            name,
            [self._venv / "bin" / "airflow", *arguments],
            environment=self.environment(),
            log_file=self._folder / "logs" / f"{name}.log",
        )

    def _is_healthy(self) -> bool:
        for name in ("dag-folder-sync", "api-server", *self._release().components):
            self._processes.check(name)
        try:
            with _opener().open(f"{self.url}{self._release().health_path}", timeout=5) as response:
                health = json.loads(response.read())
        except OSError:
            return False
        # A part that does not exist has no status.
        return all(part["status"] in {"healthy", None} for part in health.values())

    def _wait_for(self, condition: Callable[[], bool], complaint: str, deadline: float) -> None:
        while not condition():
            self._processes.check("dag-folder-sync")
            if time.monotonic() > deadline:
                raise AirflowNotHealthyError(f"{complaint}; the logs are in {self._folder / 'logs'}")
            time.sleep(_POLL_SECONDS)


def _opener() -> urllib.request.OpenerDirector:
    # A proxy of the machine's must not see calls on loopback.
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _time(text: str | None) -> datetime:
    return datetime.min.replace(tzinfo=UTC) if text is None else datetime.fromisoformat(text)


def _quoted(identifier: str) -> str:
    return urllib.parse.quote(identifier, safe="")


def _log_line(entry: Mapping[str, Any]) -> str:
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in entry.get("error_detail") or []]
    return "\n".join([str(entry.get("event", "")), *errors])
