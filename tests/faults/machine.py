"""What one lane of trials runs on: a warehouse, an S3, the proxies before both, and processes that are real runners."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import boto3

from local_cloud.processes import Processes, free_port
from local_cloud.redshift_stand_in import RedshiftStandIn
from runner.store import Store
from tests.faults.project import write_project
from tests.faults.proxy import FaultyProxy, Mode

REPOSITORY = Path(__file__).parents[2]
PROJECT = "faults"
SCHEMA = "built"
_REGION = "eu-west-1"
_PREPARE_WAREHOUSE = f"""
    create table if not exists public.fault_builds (
        id bigserial, schema_name text, node text, invocation text, at timestamptz default clock_timestamp()
    );
    create table if not exists public.fault_pace (schema_name text primary key, seconds double precision);
    create table if not exists public.fault_arrivals (id int, loaded_at timestamp default now());
    truncate public.fault_arrivals;
    insert into public.fault_arrivals (id) values (1);
    grant select, insert on public.fault_builds, public.fault_arrivals, public.fault_pace to {RedshiftStandIn.user};
    grant usage on sequence public.fault_builds_id_seq to {RedshiftStandIn.user};
    -- As in Redshift, a query whose client is gone goes on: the runner must end it.
    alter role {RedshiftStandIn.user} set client_connection_check_interval = 0;
"""


class RunningAttempt(Protocol):
    """A runner that was started; it is the leader of a session of its own."""

    pid: int

    def wait(self, timeout: float) -> int:
        """Return the exit code, negative for a signal; raises subprocess.TimeoutExpired."""


class AwsEndpoint:
    """S3 and Secrets Manager on loopback: the emulator of the local cloud, without its IAM; shared by all lanes."""

    def __init__(self, folder: Path, *, python: Path) -> None:
        self._folder = folder
        self._python = python
        self._processes = Processes(folder / "processes")
        self.port = 0

    def __enter__(self) -> Self:
        """Start it."""
        self.port = free_port()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._processes.start(
            "aws",
            [self._python, "-m", "ministack"],
            environment={
                "PATH": os.defpath,
                "HOME": str(self._folder),
                "STATE_DIR": str(self._folder / "state"),
                "S3_DATA_DIR": str(self._folder / "s3"),
                "BIND_HOST": "127.0.0.1",
                "GATEWAY_PORT": str(self.port),
                "LOG_LEVEL": "WARNING",
            },
            log_file=self._folder / "aws.log",
        )
        self._processes.wait_for_port("aws", self.port, timeout_seconds=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what was started."""
        self._processes.stop_all()


class WarmStarter:
    """Starts runners as forks of a process that has imported dbt already, one at a time."""

    def __init__(self, log_file: Path) -> None:
        self._log: IO[bytes] = log_file.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.warm_start"],
            cwd=REPOSITORY,
            env={"PYTHONPATH": f"{REPOSITORY / 'container'}:{REPOSITORY}", **_COMMON_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        if self.line() != "ready":
            raise RuntimeError(f"dbt could not be imported, see {log_file}")

    def start(self, *, environment: Mapping[str, str], folder: Path, log: Path) -> "WarmAttempt":
        """Start one runner."""
        assert self._process.stdin is not None
        request = {"environment": dict(environment), "folder": str(folder), "log": str(log)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return WarmAttempt(int(self.line()), self)

    def line(self) -> str:
        """Wait for the next line of the process."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def stop(self) -> None:
        """End it; a runner that still runs must have been ended before."""
        self._process.kill()
        self._process.wait()
        self._log.close()


class WarmAttempt:
    """A runner that was forked; its parent waits for it and tells."""

    def __init__(self, pid: int, starter: WarmStarter) -> None:
        self.pid = pid
        self._starter = starter

    def wait(self, timeout: float) -> int:
        """Return the exit code, negative for a signal; raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while is_alive(self.pid):
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("runner", timeout)
            time.sleep(0.01)
        return int(self._starter.line())


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt under way."""

    number: int
    process: RunningAttempt
    log: Path
    scratch: Path


class Machine:
    """One lane: its trials run one after the other. Use it as a context manager."""

    def __init__(self, folder: Path, *, aws: AwsEndpoint) -> None:
        self.folder = folder.absolute()
        self._aws = aws
        self._warehouse_port = 0
        self.bucket = f"records-{folder.name}"
        self.stand_in = RedshiftStandIn(folder / "warehouse")
        self.s3_proxy = FaultyProxy(lambda: aws.port)
        self.warehouse_proxy = FaultyProxy(lambda: self._warehouse_port)
        self.project = write_project(folder / "project")
        self._warm: WarmStarter | None = None
        endpoint_url = f"http://127.0.0.1:{aws.port}"
        session = boto3.session.Session(region_name=_REGION)
        self._s3 = session.client("s3", endpoint_url=endpoint_url)
        self._secrets = session.client("secretsmanager", endpoint_url=endpoint_url)
        self._secret_arn = ""
        self.is_built = False
        """Whether the schema is as a whole run has left it."""

    def __enter__(self) -> Self:
        """Start everything; what an earlier run left behind in the folder is ended first."""
        self._warm = WarmStarter(self.folder / "warm-start.log")
        self._s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        self._secret_arn = self._secrets.create_secret(Name=self.bucket, SecretString="{}")["ARN"]
        self.s3_proxy.start()
        self.warehouse_proxy.start()
        self.start_warehouse()
        self.store = Store(self.bucket, f"{PROJECT}/")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what was started."""
        if self._warm is not None:
            self._warm.stop()
        self.s3_proxy.stop()
        self.warehouse_proxy.stop()
        self.stand_in.stop()

    def start_warehouse(self) -> None:
        """Start it, with another password than before, and tell Secrets Manager."""
        self.stand_in.start()
        self._warehouse_port = self.stand_in.port
        self.stand_in.run_sql(_PREPARE_WAREHOUSE)
        secret = {
            "host": self.stand_in.host,
            "port": self.warehouse_proxy.port,
            "dbname": self.stand_in.database,
            "username": self.stand_in.user,
            "password": self.stand_in.password,
        }
        self._secrets.put_secret_value(SecretId=self._secret_arn, SecretString=json.dumps(secret))

    def make_secret(self, name: str, content: Mapping[str, str]) -> str:
        """Make a secret in Secrets Manager; returns its ARN."""
        return str(self._secrets.create_secret(Name=name, SecretString=json.dumps(content))["ARN"])

    def set_pace(self, seconds: float) -> None:
        """Say how long the slowest model's query takes; others take parts of it."""
        self.stand_in.run_sql(
            f"insert into public.fault_pace values ('{SCHEMA}', {seconds}) "
            f"on conflict (schema_name) do update set seconds = excluded.seconds"
        )

    def empty_warehouse(self) -> None:
        """Drop all that was built."""
        self.stand_in.run_sql(f"drop schema if exists {SCHEMA} cascade")
        self.is_built = False

    def heal(self) -> None:
        """End all faults, and break connections that outlived them."""
        for proxy in (self.s3_proxy, self.warehouse_proxy):
            proxy.mode = Mode.PASS
            proxy.cut()

    def start_attempt(
        self,
        run_id: str,
        number: int,
        *,
        spec: Mapping[str, Any],
        stop_timeout_seconds: int,
        is_cold: bool,
        command: Sequence[str] = (sys.executable, "-m", "runner"),
        credentials: Mapping[str, Any] | None = None,
        lineage: Mapping[str, Any] | None = None,
    ) -> Attempt:
        """
        Start a runner: `command` in a new interpreter if `is_cold`, else a fork of one that has imported dbt.

        `credentials` and `lineage` are those of the deployment; without the first it reads the lane's secret.
        """
        scratch = self.folder / "scratch" / f"{run_id}-{number}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        log = self.folder / "logs" / f"{run_id}-{number}.jsonl"
        log.parent.mkdir(exist_ok=True)
        log.unlink(missing_ok=True)
        log.touch()
        deployment = {
            "format_version": 1,
            "environment": "dev",
            "project": PROJECT,
            "bucket": self.bucket,
            "schema": SCHEMA,
            "credentials": credentials or {"kind": "secret", "secret_arn": self._secret_arn},
            "stop_timeout_seconds": stop_timeout_seconds,
            "lineage": lineage,
        }
        environment = {
            **_COMMON_ENVIRONMENT,
            "PYTHONPATH": str(REPOSITORY / "container"),
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"http://127.0.0.1:{self._aws.port}",
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.s3_proxy.port}",
            "SSL_CERT_FILE": str(self.stand_in.ca_file),
            "RUNNER_DEPLOYMENT": json.dumps(deployment),
            "RUNNER_RUN_ID": run_id,
            "RUNNER_ATTEMPT": str(number),
            "RUNNER_SPEC": json.dumps(spec),
            "RUNNER_PROJECT_FOLDER": str(self.project),
            "RUNNER_SCRATCH_FOLDER": str(scratch),
        }
        if is_cold:
            with log.open("ab") as output:
                process: RunningAttempt = subprocess.Popen(
                    command,
                    cwd=scratch,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        else:
            assert self._warm is not None
            process = self._warm.start(environment=environment, folder=scratch, log=log)
        return Attempt(number=number, process=process, log=log, scratch=scratch)

    def objects(self, below: str) -> dict[str, bytes]:
        """All objects of the project whose key begins so, by key, without their compression."""
        return {key: self.store.get(key) or b"" for key in self.store.keys(below)}

    def written_at(self, below: str) -> dict[str, float]:
        """When S3 took each object of the project whose key begins so (epoch seconds)."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{PROJECT}/{below}")
        return {
            entry["Key"].removeprefix(f"{PROJECT}/"): entry["LastModified"].timestamp()
            for page in pages
            for entry in page.get("Contents", [])
        }

    def forget(self, run_id: str) -> None:
        """Delete what a run has left behind, so that hundreds of trials do not fill the machine."""
        for below in (f"runs/{run_id}/", f"docs/{run_id}-"):
            for key in self.store.keys(below):
                self._s3.delete_object(Bucket=self.bucket, Key=f"{PROJECT}/{key}")
        for folder in (self.folder / "scratch").glob(f"{run_id}-*"):
            shutil.rmtree(folder)
        for log in (self.folder / "logs").glob(f"{run_id}-*"):
            log.unlink()


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits for its parent does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def end_session(pid: int) -> None:
    """Kill a runner and whatever it has started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


_COMMON_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": _REGION,
    "AWS_DEFAULT_REGION": _REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
}
