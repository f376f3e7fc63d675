"""
`make slim-ci`: a pull request's models, in the account, in schemas of its own.

Only what changed and what depends on it is built; the rest is read from the last good run. `make slim-ci-drop` takes the schemas away.
"""

import argparse
import io
import json
import re
import secrets
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from constructs_lib.dbt_project_files import DbtProjectFiles
from dbt_on_fargate import addresses
from runner.profile import BUILD_WAREHOUSE
from stacks.settings import Environment
from tools.breaking_changes import Removed, removed_columns
from tools.deployed import AnalystError, Chosen, DeployedProject, choose
from tools.follow import Ending, ExitCode, RunView, follow
from tools.launch import at_work, start
from tools.local_dbt import LocalDbt
from tools.pages import PagesError, bucket_reader

SELECTION = "state:modified+"
_FOLDER = "slim-ci/"
_MOST_MODELS = 60
_SECONDS_BETWEEN_LOOKS = 2.0
_VERDICTS = {
    ExitCode.SUCCESS: "✅ passed",
    ExitCode.FAILED: "❌ failed",
    ExitCode.DID_NOT_FINISH: "❌ did not finish",
    ExitCode.NOTHING_DONE: "❌ was not tried",
}
_SIGNS = {"success": "✅", "warn": "⚠️", "fail": "❌", "error": "❌", "skipped": "⏭️", "not_run": "⏭️"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a comment on the pull request says."""

    project: str
    pull_request: int
    headline: str
    exit_code: int
    removed: Sequence[Removed] = ()
    nodes: Mapping[str, Mapping[str, Any]] | None = None
    seconds: float | None = None
    state_of: str = ""
    report: str = ""

    def markdown(self) -> str:
        """The comment."""
        verdict = _VERDICTS[ExitCode(self.exit_code)]
        lines = [f"### dbt project {self.project}: {verdict}", "", _quoted(self.headline), ""]
        if self.removed:
            lines += ["**A column is taken away that something needs**", ""]
            lines += [f"- `{found.column}` of `{found.node}`: {', '.join(found.needed_by)}" for found in self.removed]
            lines.append("")
        shown = self._shown()
        if shown:
            lines += ["| | model | seconds |", "| --- | --- | --: |"]
            lines += [
                f"| {_SIGNS.get(node['status'], '')} {node['status']} | `{_name(unique_id)}` | {node['seconds']:.1f} |"
                for unique_id, node in shown[:_MOST_MODELS]
            ]
            lines += [f"| | and {len(shown) - _MOST_MODELS} more | |"] if len(shown) > _MOST_MODELS else []
            lines.append("")
            for unique_id, node in shown:
                if node["status"] in {"fail", "error"}:
                    lines += [f"`{_name(unique_id)}`:", "", _quoted(node.get("message") or "no message"), ""]
        facts = [f"{self.seconds:.0f} s"] if self.seconds is not None else []
        facts += [f"the rest is read from run `{self.state_of}`"] if self.state_of else []
        facts += [f"[report]({self.report})"] if self.report else []
        return "\n".join([*lines, " · ".join(facts)]).rstrip() + "\n"

    def _shown(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Models, seeds and snapshots, and what of the rest is not as it should be."""
        return [
            (unique_id, node)
            for unique_id, node in (self.nodes or {}).items()
            if unique_id.partition(".")[0] in {"model", "seed", "snapshot"}
            or node["status"] in {"fail", "error", "warn"}
        ]


def _name(unique_id: str) -> str:
    parts = unique_id.split(".")
    return parts[2] if len(parts) > 2 else unique_id


def _quoted(text: str) -> str:
    # As code: a message of the database may hold anything, a mention of somebody or an image among it.
    return "\n".join(f"    {line}" for line in text.strip().splitlines())


def main(arguments: Sequence[str], environments: Sequence[Environment]) -> int:
    """Try a pull request, or drop what it left; returns the exit code of docs/analyst.md."""
    parser = argparse.ArgumentParser(prog="slim_ci", description=__doc__)
    parser.add_argument("command", choices=["try", "drop"])
    parser.add_argument("environment")
    parser.add_argument("project")
    parser.add_argument("pull_request", type=_pull_request)
    parser.add_argument("--comment", default="build/slim-ci.md", help="the file that the comment is written to")
    parser.add_argument("--days", type=int, default=7, help="schemas of other pull requests that are older are dropped")
    chosen = parser.parse_args(arguments)
    try:
        found = choose(environments, chosen.environment, chosen.project)
        own = boto3.Session(region_name=found.environment.region)
        trial = PullRequest(DeployedProject(found, own), found, chosen.pull_request)
        if chosen.command == "drop":
            return trial.drop()
        result = trial.run(days=chosen.days)
    except (AnalystError, PagesError) as error:
        return _not_done(chosen, str(error))
    except (ClientError, BotoCoreError) as error:
        return _not_done(chosen, f"AWS refused: {error}")
    _write(result, Path(chosen.comment))
    return result.exit_code


def _not_done(chosen: argparse.Namespace, reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    if chosen.command == "try":
        result = Result(
            project=chosen.project,
            pull_request=chosen.pull_request,
            headline=reason,
            exit_code=int(ExitCode.NOTHING_DONE),
        )
        _write(result, Path(chosen.comment))
    return ExitCode.NOTHING_DONE


def _write(result: Result, comment: Path) -> None:
    comment.parent.mkdir(parents=True, exist_ok=True)
    comment.write_text(result.markdown(), encoding="utf-8")
    print(f"the comment is in {comment}")


def _pull_request(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"PR must be the number of a pull request, got {text!r}")
    return int(text)


class PullRequest:
    """
    One pull request of a deployed project.

    What it was tried with lies in the project's part of the bucket below `slim-ci/pr_<number>/`, which the caller's own login
    writes and deletes; it tells, too, which schemas may be there and since when.
    """

    def __init__(self, project: DeployedProject, chosen: Chosen, number: int) -> None:
        self._project = project
        self._chosen = chosen
        self._number = number
        self._suffix = f"pr_{number}"
        self._run_prefix = f"pr-{number}-"
        self._console = Console(highlight=False)
        self._bucket = project.deployment.bucket_name
        self._prefix = f"{project.deployment.project_prefix}{_FOLDER}"

    def run(self, *, days: int) -> Result:
        """Build what is changed and what depends on it; raises AnalystError if nothing could be started."""
        state_of, state = self._last_good_state()
        with tempfile.TemporaryDirectory(prefix="slim-ci-") as folder:
            (Path(folder) / "manifest.json").write_text(json.dumps(state), encoding="utf-8")
            listed, manifest = self._changed(Path(folder))
        if manifest is None or listed.returncode != 0:
            return self._result(listed.stderr.removeprefix("error: ") or listed.stdout, ExitCode.DID_NOT_FINISH)
        unique_ids = [json.loads(line)["unique_id"] for line in listed.stdout.splitlines() if line.startswith("{")]
        changed = [name for name in unique_ids if not name.startswith(("exposure.", "source."))]
        removed = removed_columns(state, manifest)
        if not changed:
            return self._result("no model is changed, so nothing is to be built", ExitCode.SUCCESS, removed=removed)
        return self._try(state_of, removed, days=days)

    def drop(self) -> int:
        """Drop the schemas of the pull request; returns the exit code."""
        if self._suffix not in self._tried():
            self._console.print(f"pull request {self._number} has left nothing")
            return ExitCode.SUCCESS
        trial = {"schema_suffix": self._suffix, "drop": [self._suffix]}
        ending, _, _ = self._follow({"trial": trial})
        if ending.exit_code == ExitCode.SUCCESS:
            self._forget([self._suffix])
        return ending.exit_code

    def _try(self, state_of: str, removed: Sequence[Removed], *, days: int) -> Result:
        old = left_behind(self._tried(), own=self._suffix, before=datetime.now(UTC) - timedelta(days=days))
        archive = f"{self._prefix}{self._suffix}/{secrets.token_hex(8)}.tar.gz"
        s3 = self._project.own.client("s3")
        s3.put_object(Bucket=self._bucket, Key=archive, Body=archive_of(DbtProjectFiles(self._chosen.project.folder)))
        deployment = self._project.deployment
        spec = {
            "steps": ["build"],
            "select": [SELECTION],
            "defer_state": f"s3://{self._bucket}/{deployment.project_prefix}docs/{state_of}",
            "trial": {
                "schema_suffix": self._suffix,
                "project_archive": f"s3://{self._bucket}/{archive}",
                # Its own, too: what an earlier push has built is not to be found.
                "drop": [self._suffix, *old],
            },
        }
        ending, run_id, task_id = self._follow(spec)
        end = self._project.record(run_id).end(1)
        if end is None:
            return self._result(ending.text, ending.exit_code, removed=removed, state_of=state_of)
        if end["nodes"]:
            self._forget(old)
        return self._result(
            ending.text,
            ending.exit_code,
            removed=removed,
            nodes=end["nodes"],
            seconds=end["seconds"],
            state_of=state_of,
            report=self._report(run_id, task_id),
        )

    def _follow(self, spec: Mapping[str, Any]) -> tuple[Ending, str, str]:
        self.stop_earlier()
        run_id = f"{self._run_prefix}{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        container = start(
            self._project,
            run_id=run_id,
            attempt=1,
            spec=spec,
        )
        self._console.print(f"run {run_id}, container {container.task_id}", soft_wrap=True)
        ending = follow(
            containers=self._project.containers,
            record=self._project.record(run_id),
            arn=container.arn,
            attempt=1,
            view=RunView(self._console),
        )
        self._console.print(ending.text, markup=False, soft_wrap=True)
        return ending, run_id, container.task_id

    def stop_earlier(self) -> None:
        """Stop what an earlier push still builds in the same schemas: nobody wants to hear of it any more."""
        earlier = [found for found in at_work(self._project) if (found.record_id or "").startswith(self._run_prefix)]
        for container in earlier:
            self._console.print(f"stopping run {container.record_id}, of an earlier push", soft_wrap=True)
            self._project.containers.stop(container.arn, "a newer push of the pull request is tried")
        arns = [container.arn for container in earlier]
        while any(not container.is_gone for container in self._project.containers.describe(arns)):
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _last_good_state(self) -> tuple[str, dict[str, Any]]:
        """The name of the last good run's docs, and their manifest."""
        runs: list[dict[str, Any]] = (self._project.json("history/runs.json") or {}).get("runs", [])
        read = bucket_reader(self._project.s3, self._bucket)
        for run in reversed(runs):
            if run["outcome"] == "success" and run.get("docs"):
                name = f"{run['run_id']}-{run['attempt']:04d}"
                found = read(f"{self._project.deployment.project_prefix}docs/{name}/manifest.json")
                if found is not None:
                    return name, json.loads(found.content())
        deployment = self._project.deployment
        raise AnalystError(
            f"{deployment.project} in {deployment.environment} has no good run with docs yet to compare with"
        )

    def _changed(self, state_folder: Path) -> tuple["subprocess.CompletedProcess[str]", dict[str, Any] | None]:
        """What dbt says of all that is changed or depends on a change, and the pull request's manifest, if it has one."""
        project = self._chosen.project
        dbt = LocalDbt(
            project=project,
            profiles_folder=state_folder / "profiles",
            warehouse=BUILD_WAREHOUSE,
            target=self._chosen.environment.name,
            schema=f"{project.schema}_{self._suffix}",
            environment={
                "DBT_TARGET_PATH": str(state_folder / "target"),
                "DBT_LOG_PATH": str(state_folder / "logs"),
            },
        )
        selection = [
            "--select",
            SELECTION,
            "--state",
            str(state_folder),
            "--output",
            "json",
            "--output-keys",
            "unique_id",
        ]
        manifest_file = state_folder / "of-the-pull-request.json"
        listed = dbt.run(["--quiet", "ls", *selection], manifest_file=manifest_file, captures=True)
        if not manifest_file.is_file():
            return listed, None
        manifest: dict[str, Any] = json.loads(manifest_file.read_text(encoding="utf-8"))
        return listed, manifest

    def _tried(self) -> dict[str, datetime]:
        """By suffix of a pull request, when it was tried last."""
        return last_tried((key.removeprefix(self._prefix), modified) for key, modified in self._archives())

    def _archives(self) -> Iterable[tuple[str, datetime]]:
        pages = self._project.s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        return [(entry["Key"], entry["LastModified"]) for page in pages for entry in page.get("Contents", [])]

    def _forget(self, suffixes: Sequence[str]) -> None:
        s3 = self._project.own.client("s3")
        for key, _ in self._archives():
            if key.removeprefix(self._prefix).partition("/")[0] in suffixes:
                s3.delete_object(Bucket=self._bucket, Key=key)

    def _report(self, run_id: str, task_id: str) -> str:
        hosting = self._chosen.environment.pages
        if hosting is not None and hosting.domain_name:
            prefix = self._project.deployment.project_prefix
            return f"https://{hosting.domain_name}/{quote(prefix)}runs/{quote(run_id)}/attempts/0001/report.html"
        found = addresses.addresses(self._project.deployment, task_id=task_id, record=run_id, attempt=1)
        return found[addresses.REPORT]

    def _result(self, headline: str, exit_code: int, **fields: Any) -> Result:  # noqa: ANN401 - the fields of Result
        return Result(
            project=self._chosen.project.name,
            pull_request=self._number,
            headline=headline,
            exit_code=int(exit_code),
            **fields,
        )


def last_tried(archives: Iterable[tuple[str, datetime]]) -> dict[str, datetime]:
    """By suffix of a pull request, when its last archive was written; `archives` are keys such as `pr_17/a.tar.gz` and times."""
    tried: dict[str, datetime] = {}
    for key, modified in archives:
        suffix = key.partition("/")[0]
        tried[suffix] = max(modified, tried.get(suffix, modified))
    return tried


def left_behind(tried: Mapping[str, datetime], *, own: str, before: datetime) -> list[str]:
    """The suffixes of other pull requests than `own` that were tried last before a time."""
    return sorted(suffix for suffix, last in tried.items() if last < before and suffix != own)


def archive_of(files: DbtProjectFiles) -> bytes:
    """The files that an image would have, as a compressed archive."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz", dereference=True) as archive:
        for path in files.relative_paths:
            archive.add(files.folder / path, arcname=path.as_posix(), recursive=False)
    return body.getvalue()


if __name__ == "__main__":
    from stacks.environments import ENVIRONMENTS

    raise SystemExit(main(sys.argv[1:], ENVIRONMENTS))
