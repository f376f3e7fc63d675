"""`make dbt ARGS="…"`: the locked dbt on this machine, against one's own schema and never a deployed one."""

import argparse
import contextlib
import fcntl
import getpass
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from constructs_lib.repository import REPOSITORY
from constructs_lib.settings_error import SettingsError as StackSettingsError
from constructs_lib.warehouse_credentials import runner_entry
from local_cloud.redshift_stand_in import RedshiftStandIn
from runner.credentials import Warehouse, credentials_source
from runner.outcome import SettingsError
from stacks.settings import DbtProject, Environment
from tools import my_credentials
from tools.deployed import AnalystError, Chosen, DeployedProject, choose
from tools.local_dbt import LocalDbt
from tools.pages import PagesError, bucket_reader

TARGET = "sandbox"
_PREFIX = "dbt_"
_COMMANDS = frozenset(
    {
        "build",
        "compile",
        "debug",
        "deps",
        "docs",
        "list",
        "ls",
        "parse",
        "run",
        "seed",
        "show",
        "snapshot",
        "source",
        "test",
    }
)
_WITHOUT_A_MANIFEST = frozenset({"debug", "deps"})
_DEFERRING = frozenset({"build", "compile", "run", "seed", "show", "snapshot", "test"})
_OURS = ("--target", "--profile", "--profiles-dir", "--project-dir")
_LONGEST_USER = 40
_CACHE = REPOSITORY / ".cache" / "sandbox"
_OFFLINE = REPOSITORY / ".local-cloud" / "sandbox"


def schema_of(user: str) -> str:
    """`dbt_` and the user's name as the warehouse takes it; raises AnalystError for a name with nothing in it."""
    name = re.sub(r"[^a-z0-9]+", "_", user.lower()).strip("_")[:_LONGEST_USER]
    if not name:
        raise AnalystError(f"a sandbox needs a user's name with letters or digits, got {user!r}")
    return f"{_PREFIX}{name}"


def check_schema(schema: str, environments: Sequence[Environment]) -> None:
    """
    Raise AnalystError if a schema is, or could be taken for, one that any environment of the settings deploys to.

    dbt appends a model's own schema with an underscore, so `analytics_ana` is of the deployed `analytics`, too.
    """
    mine = schema.lower()
    for environment in environments:
        for project in environment.projects:
            deployed = project.schema.lower()
            if f"{mine}_".startswith(f"{deployed}_") or f"{deployed}_".startswith(f"{mine}_"):
                raise AnalystError(
                    f"schema {schema!r} belongs to {project.schema!r}, which {project.name} is deployed to in "
                    f"{environment.name}; take another sandbox: SANDBOX=name"
                )


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise AnalystError for a command that may write anywhere, and for options that lead out of the sandbox."""
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    if command in _COMMANDS and command != arguments[0]:
        raise AnalystError(
            f"ARGS must begin with the command {command!r}: options that dbt takes before a command it takes after it, too"
        )
    if command not in _COMMANDS:
        raise AnalystError(f"ARGS must begin with one of {', '.join(sorted(_COMMANDS))}, got {command!r}")
    for argument in arguments:
        if argument.partition("=")[0] in _OURS or re.match(r"-t(?!-)", argument):
            raise AnalystError(f"{argument.partition('=')[0]} is set by make dbt: see ENV, PROJECT and SANDBOX")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sandbox:
    """
    A project, the schema that it is built in, and the warehouse that this is in.

    `ca_file`: the authority of the warehouse's certificate, if it is none that this machine trusts.
    """

    project: DbtProject
    schema: str
    warehouse: Warehouse
    ca_file: Path | None = None

    def dbt(self, arguments: Sequence[str], *, state: Path | None) -> int:
        """
        Run a dbt command, its output as it comes; returns dbt's exit code.

        What is not selected, and not in the sandbox, is read where the manifest in `state` has it. It returns 3, and has touched
        nothing, if any node would be built outside of the sandbox.
        """
        dbt = LocalDbt(
            project=self.project,
            profiles_folder=_CACHE / "profiles",
            warehouse=self.warehouse,
            target=TARGET,
            schema=self.schema,
            environment={
                "DBT_SANDBOX_USER": self.schema.removeprefix(_PREFIX),
                **({} if self.ca_file is None else {"SSL_CERT_FILE": str(self.ca_file)}),
            },
        )
        if state is not None and arguments[0] in _DEFERRING:
            arguments = [*arguments, "--defer", "--state", str(state)]
        parses = arguments[0] not in _WITHOUT_A_MANIFEST
        return dbt.run(arguments, variables=_variables(arguments), parses=parses).returncode


def _variables(arguments: Sequence[str]) -> list[str]:
    for position, argument in enumerate(arguments):
        if argument == "--vars":
            return list(arguments[position : position + 2])
        if argument.startswith("--vars="):
            return [argument]
    return []


def warehouse_of(chosen: Chosen, *, file: Path = my_credentials.FILE) -> Warehouse:
    """Who one is in the environment's warehouse: by one's own file if it says so, else as the container, by one's own AWS login."""
    try:
        found = my_credentials.read(file, chosen.environment.name)
    except my_credentials.CredentialsFileError as error:
        raise AnalystError(str(error)) from error
    if found is not None:
        return found
    # The runner's sources ask the default session.
    boto3.setup_default_session(region_name=chosen.environment.region)
    try:
        return credentials_source(runner_entry(chosen.project.credentials)).fetch()
    except SettingsError as error:
        told = str(error).replace("the task role lacks", "your AWS login lacks")
        raise AnalystError(f"{told}; or make credentials ENV={chosen.environment.name}") from error


def fetch_state(chosen: Chosen) -> Path | None:
    """Fetch the manifest of the last docs that a run has published, None if there are none; raises AnalystError."""
    project = DeployedProject(chosen, boto3.Session(region_name=chosen.environment.region))
    prefix = (project.json("latest.json") or {}).get("docs_prefix")
    found = bucket_reader(project.s3, project.deployment.bucket_name)(f"{prefix}manifest.json") if prefix else None
    if found is None:
        return None
    folder = _CACHE / "state" / chosen.environment.name / chosen.project.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_bytes(found.content())
    return folder


@contextlib.contextmanager
def offline_warehouse(project: str, raw_sql: Path | None) -> Iterator[tuple[Warehouse, Path]]:
    """
    A stand-in for Redshift on this machine until the block ends, and its authority's certificate; what was built in it is there the next time.

    `raw_sql` makes what the project's sources name, when the stand-in is new. Raises AnalystError while another command uses it.
    """
    folder = _OFFLINE / project
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AnalystError(f"another make dbt OFFLINE=1 of {project} is at work: wait for it") from error
        stand_in = RedshiftStandIn(folder)
        try:
            stand_in.start()
            loaded = folder / "raw-data-is-loaded"
            if raw_sql is not None and not loaded.exists():
                stand_in.run_sql(raw_sql.read_text(encoding="utf-8"))
                loaded.touch()
            warehouse = Warehouse(
                host=stand_in.host,
                port=stand_in.port,
                database=stand_in.database,
                user=stand_in.user,
                password=stand_in.password,
            )
            yield warehouse, stand_in.ca_file
        finally:
            stand_in.stop()


def main(arguments: Sequence[str], environments: Sequence[Environment], *, environ: Mapping[str, str]) -> int:
    """Run dbt for the analyst; returns dbt's exit code, or 3 if nothing was done."""
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    parser.add_argument("--environment", default="")
    parser.add_argument("--project", default="")
    parser.add_argument("--user", default="", help="whose sandbox (default: who is logged in to this machine)")
    parser.add_argument("--offline", action="store_true")
    parser.add_argument("--raw-sql", default="")
    parser.add_argument("dbt", help="dbt's command line, as one text")
    chosen = parser.parse_args(arguments)
    try:
        found = choose(environments, chosen.environment or environments[0].name, chosen.project)
        schema = schema_of(chosen.user or environ.get("USER") or getpass.getuser())
        check_schema(schema, environments)
        dbt = shlex.split(chosen.dbt)
        check_arguments(dbt)
        if chosen.offline:
            return _offline(found, schema, dbt, chosen.raw_sql)
        return _online(found, schema, dbt)
    except (AnalystError, PagesError, StackSettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    except (ClientError, BotoCoreError) as error:
        print(f"error: AWS refused: {error}", file=sys.stderr)
        return 3


def _online(chosen: Chosen, schema: str, dbt: Sequence[str]) -> int:
    warehouse = warehouse_of(chosen)
    wants_state = "--no-defer" not in dbt and "--state" not in dbt
    state = fetch_state(chosen) if wants_state else None
    print(f"schema {schema} in database {warehouse.database} of {chosen.environment.name}", flush=True)
    if wants_state:
        what = "is read where the last run built it" if state else "is not there: no run has published docs yet"
        print(f"what is neither selected nor in the sandbox {what}", flush=True)
    return Sandbox(project=chosen.project, schema=schema, warehouse=warehouse).dbt(dbt, state=state)


def _offline(chosen: Chosen, schema: str, dbt: Sequence[str], raw_sql: str) -> int:
    sources = Path(raw_sql) if raw_sql else REPOSITORY / f"local_cloud/sources/{chosen.project.name}.sql"
    if raw_sql and not sources.is_file():
        raise AnalystError(f"RAW_SQL must be a file, got {raw_sql!r}")
    loads = sources if sources.is_file() else None
    with offline_warehouse(chosen.project.name, loads) as (warehouse, ca_file):
        print(f"schema {schema} in a stand-in for Redshift on this machine", flush=True)
        sandbox = Sandbox(project=chosen.project, schema=schema, warehouse=warehouse, ca_file=ca_file)
        return sandbox.dbt(dbt, state=None)


if __name__ == "__main__":
    from stacks.environments import ENVIRONMENTS

    raise SystemExit(main(sys.argv[1:], ENVIRONMENTS, environ=os.environ))
