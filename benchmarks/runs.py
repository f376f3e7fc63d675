"""Runs containers of the compared images the way ECS would, and tells what each took."""

import json
import os
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.cloud import CA_FILE_IN_CONTAINER, FOLDER, GLUE_CONNECTION_NAME, BenchCloud
from benchmarks.images import ENVIRONMENT, Project
from benchmarks.measure import ControlGroup

BUCKET = "bench-artifacts"
ARTICLE_BUCKET = f"dbt-documentation-{ENVIRONMENT}"
_FIRST_QUERY_SECONDS = 300.0
# PostgreSQL's default log_line_prefix, then dbt's query comment.
_MODEL_QUERY = re.compile(r'^(\S+ \S+) UTC \[\d+\] .*"node_id": "model\.', re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a container may use; None is what the machine has."""

    cpus: float | None = None
    memory_mib: int | None = None

    def options(self) -> list[str]:
        """The limits as options of the container engine."""
        options = [] if self.cpus is None else ["--cpus", str(self.cpus)]
        if self.memory_mib is not None:
            options += ["--memory", f"{self.memory_mib}m", "--memory-swap", f"{self.memory_mib}m"]
        return options


HALF_VCPU = Limits(cpus=0.5, memory_mib=1024)
ONE_VCPU = Limits(cpus=1, memory_mib=2048)
FULL_SPEED = Limits()


@dataclass(frozen=True, kw_only=True, slots=True)
class Took:
    """What one container took from its start to its end."""

    wall_seconds: float
    cpu_seconds: float
    peak_memory_mib: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstQuery:
    """Seconds from the container's start to the first query of a model, and what they went into."""

    seconds: float
    until_parsing: float | None
    parsing: float | None
    until_query: float | None


class Containers:
    """Runs the two ways of doing the same job against one account and one warehouse."""

    def __init__(self, cloud: BenchCloud) -> None:
        self._cloud = cloud

    def product(self, image: str, project: Project, limits: Limits) -> Took:
        """Run the product's image once, to its end; raises RuntimeError if the run is not green."""
        return self._run(image, self._product_environment(project), limits, options=["--read-only"])

    def article(self, image: str, project: Project, limits: Limits) -> Took:
        """Run the article's script once, to its end; raises RuntimeError if it fails."""
        return self._run(image, self._article_environment(project), limits, options=[])

    def product_first_query(self, image: str, project: Project, limits: Limits) -> FirstQuery:
        """Run the product's image until the first query of a model."""
        return self._first_query(image, self._product_environment(project), limits, options=["--read-only"])

    def article_first_query(self, image: str, project: Project, limits: Limits) -> FirstQuery:
        """Run the article's script until the first query of a model."""
        return self._first_query(image, self._article_environment(project), limits, options=[])

    def _product_environment(self, project: Project) -> Mapping[str, str]:
        deployment = {
            "format_version": 1,
            "environment": ENVIRONMENT,
            "project": f"bench_{project.name}",
            "bucket": BUCKET,
            "schema": _schema(project),
            "credentials": {"kind": "glue_connection", "connection_name": GLUE_CONNECTION_NAME},
        }
        return {"RUNNER_DEPLOYMENT": json.dumps(deployment), "RUNNER_RUN_ID": f"bench-{uuid.uuid4().hex}"}

    def _article_environment(self, project: Project) -> Mapping[str, str]:
        return {
            "ENV": ENVIRONMENT,
            "GLUE_CONNECTION": GLUE_CONNECTION_NAME,
            "BASE_SCHEMA": _schema(project),
            # The sample project asks for its environment's name.
            "DBT_ENVIRONMENT": ENVIRONMENT,
            # In the article's favour: without it each of its processes waits where the network swallows the statistics.
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }

    def _run(self, image: str, environment: Mapping[str, str], limits: Limits, *, options: list[str]) -> Took:
        with self._container(image, environment, limits, options) as (name, group):
            engine = self._cloud.engine
            log = FOLDER / "logs" / f"{name}.log"
            log.parent.mkdir(exist_ok=True)
            with log.open("wb") as output:
                # In a session of its own: Ctrl-C ends this program, which then ends the container.
                done = subprocess.run(
                    [engine.executable, "start", "--attach", name],
                    env={"PATH": os.environ.get("PATH", os.defpath), **engine.environment},
                    check=False,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            if done.returncode != 0:
                tail = log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"{image} ended with exit code {done.returncode}, so nothing was measured:\n{tail}")
            state = json.loads(engine.run("inspect", "--format", "{{json .State}}", name))
            wall = _time(state["FinishedAt"]) - _time(state["StartedAt"])
            return Took(
                wall_seconds=wall.total_seconds(),
                cpu_seconds=group.cpu_seconds(),
                peak_memory_mib=group.peak_memory_mib(),
            )

    def _first_query(
        self, image: str, environment: Mapping[str, str], limits: Limits, *, options: list[str]
    ) -> FirstQuery:
        queries = FOLDER / "warehouse/logs/postgres.log"
        seen = queries.stat().st_size
        with self._container(image, environment, limits, options) as (name, _):
            engine = self._cloud.engine
            engine.run("start", name)
            found = _wait_for(lambda: _MODEL_QUERY.search(_from(queries, seen)), what=f"a query of a model by {image}")
            first = datetime.strptime(f"{found[1]} +0000", "%Y-%m-%d %H:%M:%S.%f %z")
            engine.run("kill", name)
            state = json.loads(engine.run("inspect", "--format", "{{json .State}}", name))
            lines = engine.run("logs", name).splitlines()
        started = _time(state["StartedAt"])
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        parsed = next((entry for entry in entries if entry.get("message") == "the project is parsed"), None)
        if parsed is None:
            return FirstQuery(
                seconds=(first - started).total_seconds(), until_parsing=None, parsing=None, until_query=None
            )
        parse_ended = _time(parsed["t"])
        return FirstQuery(
            seconds=(first - started).total_seconds(),
            until_parsing=(parse_ended - started).total_seconds() - parsed["seconds"],
            parsing=parsed["seconds"],
            until_query=(first - parse_ended).total_seconds(),
        )

    @contextmanager
    def _container(
        self, image: str, environment: Mapping[str, str], limits: Limits, options: list[str]
    ) -> Iterator[tuple[str, ControlGroup]]:
        """A container that is made and not started, in a control group of its own; both are gone in the end."""
        engine = self._cloud.engine
        name = f"bench-{uuid.uuid4().hex[:12]}"
        given = {**self._cloud.container_environment, **environment}
        with ControlGroup(name).opened() as group:
            command = ["create", "--name", name, "--network", "host", "--cgroup-parent", group.parent]
            command += [option for key, value in engine.labels.items() for option in ("--label", f"{key}={value}")]
            command += [option for key, value in given.items() for option in ("--env", f"{key}={value}")]
            command += ["--volume", f"{self._cloud.warehouse.ca_file}:{CA_FILE_IN_CONTAINER}:ro"]
            engine.run(*command, *limits.options(), *options, image)
            try:
                yield name, group
            finally:
                state = engine.run("inspect", "--format", "{{.State.Running}}", name).strip()
                if state == "true":
                    engine.run("kill", name)
                engine.run("rm", "--force", "--volumes", name)


def _schema(project: Project) -> str:
    # One schema for both: the article's script neither seeds nor takes snapshots, its models need what ours has built.
    return f"bench_{project.name}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _from(file: Path, offset: int) -> str:
    with file.open("rb") as opened:
        opened.seek(offset)
        return opened.read().decode(errors="replace")


def _wait_for(find: Callable[[], re.Match[str] | None], *, what: str) -> re.Match[str]:
    deadline = time.monotonic() + _FIRST_QUERY_SECONDS
    while time.monotonic() < deadline:
        found = find()
        if found is not None:
            return found
        time.sleep(0.2)
    raise TimeoutError(f"{what} did not come within {_FIRST_QUERY_SECONDS:.0f} s")
