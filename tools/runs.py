"""`make run`, `make retry`, `make stop`, `make logs`, `make report`: runs in an account, from a terminal."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape

from dbt_on_fargate.containers import Container
from dbt_on_fargate.record import RunRecord
from runner.settings import manual_run_id
from stacks.settings import Environment
from tools import pages
from tools.deployed import AnalystError, DeployedProject, choose
from tools.follow import ExitCode, RunView, follow
from tools.launch import at_work, caller, start

_NOT_DONE = frozenset({"fail", "error", "skipped", "not_run"})
_SECONDS_BETWEEN_LOOKS = 2.0
_LEVEL_STYLES = {"warning": "yellow", "error": "red", "critical": "red"}


def main(arguments: Sequence[str], environments: Sequence[Environment]) -> int:
    """Do what the first argument says; returns the exit code, which docs/analyst.md explains."""
    chosen = _parser().parse_args(arguments)
    console = Console(highlight=False)
    try:
        found = choose(environments, chosen.environment, chosen.project)
        own = boto3.Session(region_name=found.environment.region)
        commands: Mapping[str, Callable[..., int]] = {
            "run": run,
            "retry": retry,
            "stop": stop,
            "logs": logs,
            "report": report,
        }
        return commands[chosen.command](DeployedProject(found, own), chosen, console)
    except (AnalystError, pages.PagesError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ExitCode.NOTHING_DONE
    except (ClientError, BotoCoreError) as error:
        print(f"error: AWS refused: {error}", file=sys.stderr)
        return ExitCode.NOTHING_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="runs", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "retry", "stop", "logs", "report"):
        command = commands.add_parser(name)
        command.add_argument("environment")
        command.add_argument("project", nargs="?", default="")
        if name in {"run", "retry"}:
            command.add_argument("--wait", type=float, default=0.0, help="minutes to wait for another run's end")
        if name != "run":
            command.add_argument("--run", default="", help="a run's id (default: the last)")
    run_parser = commands.choices["run"]
    run_parser.add_argument("--select", default="")
    run_parser.add_argument("--exclude", default="")
    run_parser.add_argument("--vars", default="")
    run_parser.add_argument("--full-refresh", action="store_true")
    commands.choices["retry"].add_argument("--model", default="", help="one that failed, with all that depends on it")
    commands.choices["report"].add_argument("--to", default="", help="write it to this file instead of showing it")
    return parser


def run(project: DeployedProject, chosen: argparse.Namespace, console: Console) -> int:
    """Start a run and follow it."""
    spec = spec_of(chosen.select, chosen.exclude, chosen.vars, full_refresh=chosen.full_refresh)
    run_id = manual_run_id()
    container = start(project, run_id=run_id, attempt=1, spec=spec, wait_seconds=chosen.wait * 60, say=_saying(console))
    return _follow(project, container, run_id, 1, console)


def spec_of(select: str, exclude: str, variables: str, *, full_refresh: bool) -> dict[str, Any]:
    """The run spec of what was typed; raises AnalystError. Selections are split as a shell does."""
    spec: dict[str, Any] = {}
    for name, text in (("select", select), ("exclude", exclude)):
        if text.strip():
            spec[name] = shlex.split(text)
    if variables.strip():
        try:
            spec["vars"] = yaml.safe_load(variables)
        except yaml.YAMLError as error:
            raise AnalystError(f"VARS must be YAML or JSON, got {variables!r}") from error
    if full_refresh:
        spec["full_refresh"] = True
    return spec


def retry(project: DeployedProject, chosen: argparse.Namespace, console: Console) -> int:
    """Start the next attempt of a run that failed, on its own code and settings, and follow it."""
    run_id = chosen.run or project.last_run()
    record = project.record(run_id)
    numbers = record.attempt_numbers()
    last = (project.json(f"runs/{run_id}/attempts/{max(numbers):04d}/start.json") if numbers else None) or {}
    if not last:
        raise AnalystError(f"there is no run {run_id!r} of {project.deployment.project}")
    spec = retry_spec(last["spec"], _undone(record), chosen.model)
    container = start(
        project,
        run_id=run_id,
        attempt=max(numbers) + 1,
        spec=spec,
        task_definition=last.get("task_definition"),
        wait_seconds=chosen.wait * 60,
        say=_saying(console),
    )
    console.print(f"attempt {max(numbers) + 1} of run {run_id}: what is done already is not repeated", soft_wrap=True)
    return _follow(project, container, run_id, max(numbers) + 1, console)


def retry_spec(spec: Mapping[str, Any], undone: Mapping[str, str], model: str) -> dict[str, Any]:
    """
    The spec of another attempt: the run's own, for one `model` cut down to it and what depends on it.

    `undone` has the status of each node that is not done, by unique id. Raises AnalystError if nothing is, or not that model.
    """
    if not undone:
        raise AnalystError("nothing of this run is left to do: all that it was asked for is done")
    if not model:
        return {**spec, "start_over": False}
    known = sorted({unique_id.split(".")[2] for unique_id in undone})
    if model not in known:
        raise AnalystError(f"model must be one that is not done, {', '.join(known)}, got {model!r}")
    return {**spec, "select": [f"{model}+"], "exclude": [], "selector": None, "start_over": False}


def _undone(record: RunRecord) -> dict[str, str]:
    """What no attempt has done, by unique id; also what a killed one had planned and did not come to."""
    record.read_new(look_for_attempts=True)
    left: dict[str, str] = {}
    for _, attempt in sorted(record.attempts.items()):
        for unique_id in set().union(*attempt.planned.values()):
            result = attempt.results.get(unique_id)
            status = result.status if result else "not_run"
            if status in _NOT_DONE:
                left[unique_id] = status
            else:
                left.pop(unique_id, None)
    if not record.attempts or not any(attempt.planned for attempt in record.attempts.values()):
        # It ended before anything was planned: all is left.
        left["run.all.everything"] = "not_run"
    return left


def stop(project: DeployedProject, chosen: argparse.Namespace, console: Console) -> int:
    """Stop the project's container, or that of one run, and wait until it has written its end; a trial is stopped by its id only."""
    found = [
        container
        for container in at_work(project)
        if (container.record_id == chosen.run if chosen.run else not container.is_trial)
    ]
    if not found:
        what = f"run {chosen.run!r} is not at work" if chosen.run else "no run is at work"
        raise AnalystError(f"{what} in project {project.deployment.project} of {project.deployment.environment}")
    for container in found:
        project.containers.stop(container.arn, f"make stop, by {caller(project)}")
        console.print(f"stopping {container.record_id or container.task_id}", soft_wrap=True)
    arns = [container.arn for container in found]
    while any(not container.is_gone for container in project.containers.describe(arns)):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    for container in found:
        if container.record_id is not None and container.attempt is not None:
            end = project.record(container.record_id).end(container.attempt)
            console.print(end["headline"] if end else "it left no end in its record", markup=False, soft_wrap=True)
    return ExitCode.SUCCESS


def logs(project: DeployedProject, chosen: argparse.Namespace, console: Console) -> int:
    """Print what the containers of a run have said; of one that is at work until it has ended."""
    client = project.own.client("logs")
    for stream in _streams(project, chosen.run or project.last_run()):
        token: str | None = None
        while True:
            # Asked first: what is written between the two questions is read all the same.
            is_live = _is_live(project, stream.task_arn)
            options: dict[str, Any] = {"nextToken": token} if token else {}
            try:
                answer = client.get_log_events(
                    logGroupName=stream.group, logStreamName=stream.name, startFromHead=True, **options
                )
            except client.exceptions.ResourceNotFoundException:
                events, following = [], token
            else:
                events, following = answer["events"], answer["nextForwardToken"]
            for event in events:
                console.print(log_line(event["message"], event["timestamp"]), soft_wrap=True)
            # The same token again is the end:
            # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html
            is_at_the_end = following == token or not events
            token = following
            if is_at_the_end and not is_live:
                break
            if is_at_the_end:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
    return ExitCode.SUCCESS


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stream:
    """Where one container of a run writes its log."""

    group: str
    name: str
    task_arn: str


def _streams(project: DeployedProject, run_id: str) -> list[_Stream]:
    """The log of each attempt of a run; of one that has not begun to write its record, too."""
    deployment = project.deployment
    found: list[_Stream] = []
    for number in project.record(run_id).attempt_numbers():
        begun = project.json(f"runs/{run_id}/attempts/{number:04d}/start.json") or {}
        place = begun.get("log") or {}
        if place.get("group") and place.get("stream"):
            found.append(_Stream(group=place["group"], name=place["stream"], task_arn=begun.get("task_arn", "")))
    told = {stream.name for stream in found}
    for container in at_work(project):
        name = f"{deployment.log_stream_prefix}/{deployment.container_name}/{container.task_id}"
        if container.record_id == run_id and name not in told:
            found.append(_Stream(group=deployment.log_group_name, name=name, task_arn=container.arn))
    if not found:
        raise AnalystError(f"no container of run {run_id!r} is known")
    return found


def _is_live(project: DeployedProject, arn: str) -> bool:
    return any(not container.is_gone for container in project.containers.describe([arn]))


def log_line(message: str, timestamp_ms: int) -> str:
    """A line of the container's log as a person reads it, in rich's markup; what is no JSON stays as it is."""
    at = datetime.fromtimestamp(timestamp_ms / 1000, UTC).astimezone().strftime("%H:%M:%S")
    try:
        content = json.loads(message)
        level, text = str(content["level"]), str(content["message"])
    except (ValueError, KeyError, TypeError):
        return f"{at}  {escape(message)}"
    style = _LEVEL_STYLES.get(level)
    told = escape(text if "traceback" not in content else f"{text}\n{content['traceback']}")
    return f"{at}  {level:<7}  " + (f"[{style}]{told}[/]" if style else told)


def report(project: DeployedProject, chosen: argparse.Namespace, console: Console) -> int:
    """Show a run's report in the browser, or write it to a file."""
    run_id = chosen.run or project.last_run()
    numbers = project.record(run_id).attempt_numbers()
    with_report = [number for number in numbers if project.record(run_id).end(number) is not None]
    if not with_report:
        raise AnalystError(f"run {run_id!r} has no report: it has not ended, or was killed; see make logs")
    key = f"{project.deployment.project_prefix}runs/{run_id}/attempts/{max(with_report):04d}/report.html"
    read = pages.bucket_reader(project.s3, project.deployment.bucket_name)
    if chosen.to:
        body = read(key)
        if body is None:
            raise AnalystError(f"s3://{project.deployment.bucket_name}/{key} is not there")
        Path(chosen.to).write_bytes(body.content())
        console.print(f"the report of {run_id} is in {chosen.to}", soft_wrap=True)
        return ExitCode.SUCCESS
    pages.show(read, quote(key), port=0)
    return ExitCode.SUCCESS


def _follow(project: DeployedProject, container: Container, run_id: str, attempt: int, console: Console) -> int:
    deployment = project.deployment
    place = f"ENV={deployment.environment} PROJECT={deployment.project}"
    console.print(f"run {run_id}, container {container.task_id}; Ctrl-C leaves it running", soft_wrap=True)
    try:
        ending = follow(
            containers=project.containers,
            record=project.record(run_id),
            arn=container.arn,
            attempt=attempt,
            view=RunView(console),
        )
    except KeyboardInterrupt:
        console.print(
            f"\nthe run goes on: make logs {place} RUN={run_id} follows it, make stop {place} RUN={run_id} ends it",
            soft_wrap=True,
        )
        return ExitCode.LEFT
    style = "bold green" if ending.exit_code == ExitCode.SUCCESS else "bold red"
    console.print(escape(ending.text), style=style, soft_wrap=True)
    console.print(f"make report {place} RUN={run_id} shows all of it", soft_wrap=True)
    return ending.exit_code


def _saying(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(text, markup=False, soft_wrap=True)


if __name__ == "__main__":
    from stacks.environments import ENVIRONMENTS

    raise SystemExit(main(sys.argv[1:], ENVIRONMENTS))
