"""
Runs the pipelines of this repository on this machine: GitHub's by act, GitLab's by gitlab-ci-local.

The files are the real ones. `make` writes down how it was called, for what it does is tested elsewhere; GitHub's own actions, which
cannot be had without a network, are played by a few lines of shell.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from constructs_lib.repository import REPOSITORY

WORKFLOWS = REPOSITORY / ".github" / "workflows"
GITLAB_FILE = REPOSITORY / ".gitlab-ci.yml"

# Writes down target, job and what lies in build/; makes what the real target makes; fails if it is to.
_MAKE = """#!/bin/sh
has=$(cat build/artifact/artifact.json 2>/dev/null || cat build/diff.txt 2>/dev/null || cat build/slim-ci.md 2>/dev/null)
echo "$* | has: $has | token: ${AWS_ID_TOKEN:-${GITHUB_TOKEN:-none}}" >>"$CALLS"
# What a trial says of its failure is there.
case "$1" in ci-try) mkdir -p build && echo "what was tried" >build/slim-ci.md ;; esac
case "$1" in
  "$FAILS") exit 1 ;;
  ci-build) mkdir -p build/artifact && echo "the artifact" >build/artifact/artifact.json ;;
  ci-diff) mkdir -p build && echo "the difference" >build/diff.txt ;;
esac
"""
# gitlab-ci-local starts a job's services by it, and asks for their ports.
_DOCKER = """#!/bin/sh
case "$1 $2" in "image inspect") echo '[{"Config": {}}]' ;; esac
"""
# As much of rsync as gitlab-ci-local uses, to copy a job's files: with -R below their own paths, without -R into the folder.
_RSYNC = """#!{python}
import shutil, sys
from pathlib import Path

left_out = shutil.ignore_patterns(".gitlab-ci-local", ".git")
options = [word for word in sys.argv[1:] if word.startswith("-") and not word.startswith("--")]
values = {{sys.argv[at + 1] for at, word in enumerate(sys.argv) if word == "--exclude"}}
words = [word for word in sys.argv[1:] if not word.startswith("-") and word not in values]
*sources, target = words
for source in sources:
    place = Path(target) / source if any("R" in option for option in options) else Path(target)
    place.parent.mkdir(parents=True, exist_ok=True)
    if Path(source).is_dir():
        shutil.copytree(source, place, ignore=left_out, dirs_exist_ok=True)
    else:
        shutil.copy2(source, place)
"""
_STORE = '"$STORE/${{ inputs.name }}"'
_ACTIONS = {
    "actions/checkout": 'echo "checkout ${{ inputs.ref }}" >>"$CALLS"',
    # Of a folder its content is kept.
    "actions/upload-artifact": f'mkdir -p {_STORE} && cd "${{{{ inputs.path }}}}" 2>/dev/null && cp -r . {_STORE} '
    f'|| cp "${{{{ inputs.path }}}}" {_STORE}',
    "actions/download-artifact": f'mkdir -p "${{{{ inputs.path }}}}" && cp -r {_STORE}/* "${{{{ inputs.path }}}}"'
    ' && echo "download ${{ inputs.name }} of run ${{ inputs.run-id }}" >>"$CALLS"',
}


def workflow(name: str) -> dict[Any, Any]:
    """A workflow of GitHub's; YAML reads its `on` as True."""
    content: dict[Any, Any] = yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))
    return content


def used_actions() -> set[str]:
    """Every action of GitHub's that a workflow uses, each with its commit."""
    return {
        step["uses"]
        for file in WORKFLOWS.glob("*.yml")
        for job in workflow(file.name)["jobs"].values()
        for step in job.get("steps", [])
        if "uses" in step
    }


@dataclass(frozen=True, slots=True)
class Ran:
    """How a pipeline ended, and what its jobs called."""

    succeeded: bool
    output: str
    calls: list[str]


@dataclass(slots=True)
class Runners:
    """Both runners, for one checkout below `folder`."""

    folder: Path
    programs: dict[str, str] = field(default_factory=dict)

    @property
    def checkout(self) -> Path:
        """The repository as the pipelines see it."""
        return self.folder / "checkout"

    @property
    def commit(self) -> str:
        """The commit that is checked out."""
        return self._git("rev-parse", "HEAD")

    def prepare(self) -> None:
        """Make the checkout, the programs and the actions."""
        (self.checkout / ".github/workflows").mkdir(parents=True)
        for file in [*WORKFLOWS.glob("*.yml"), GITLAB_FILE]:
            copy = self.checkout / file.relative_to(REPOSITORY)
            copy.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
        self._git("init", "--quiet", "--initial-branch=main")
        self._git("remote", "add", "origin", "https://github.com/owner/dbt.git")
        self._git("add", ".")
        self._git("-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "--message=files")
        scripts = {"make": _MAKE, "docker": _DOCKER, "rsync": _RSYNC.format(python=sys.executable), **self.programs}
        for name, script in scripts.items():
            program = self.folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(script, encoding="utf-8")
            program.chmod(0o755)
        for name, script in _ACTIONS.items():
            inputs = {word: {"default": ""} for word in ("name", "path", "ref", "run-id")}
            step = {"run": script, "shell": "sh"}
            action = {"name": name, "inputs": inputs, "runs": {"using": "composite", "steps": [step]}}
            file = self._action(name) / "action.yml"
            file.parent.mkdir(parents=True)
            file.write_text(yaml.safe_dump(action), encoding="utf-8")

    def github(self, event: str, content: Mapping[str, object], *, fails: str = "nothing", only: str = "") -> Ran:
        """
        Let act run all workflows of `event`, or the one of the file `only`; the target `fails` of make fails.

        act knows no types of events, by which GitHub tells a pull request that is closed from one that is pushed to.
        """
        file = self.folder / "event.json"
        file.write_text(json.dumps(content), encoding="utf-8")
        mapped = [f"--local-repository={used}={self._action(used.split('@')[0])}" for used in sorted(used_actions())]
        runner = ["act", event, "--platform=ubuntu-24.04=-self-hosted", f"--eventpath={file}", "--no-skip-checkout"]
        named = [f"--workflows=.github/workflows/{only}"] if only else []
        return self._run([*runner, *named, "--secret=GITHUB_TOKEN=of-the-job", *mapped], fails=fails)

    def gitlab(self, *arguments: str, fails: str = "nothing", **variables: str) -> Ran:
        """Let gitlab-ci-local run a pipeline, or the jobs that `arguments` name."""
        given = [f"--variable={name}={value}" for name, value in variables.items()]
        runner = ["gitlab-ci-local", "--force-shell-executor", "--shell-isolation", "--no-artifacts-to-source"]
        return self._run([*runner, *given, *arguments], fails=fails)

    def step(self, file: str, job: str, **variables: str) -> tuple[int, str]:
        """Run the first step of a job of GitHub's as its runner does, with `variables`; returns exit code and output."""
        script: str = workflow(file)["jobs"][job]["steps"][0]["run"]
        output = self.folder / "output"
        environment = self._environment(fails="nothing") | {"GITHUB_OUTPUT": str(output)} | variables
        # https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idstepsshell
        done = self._done(["bash", "-e", "-c", script], environment)
        return done.returncode, done.stdout

    def _run(self, command: list[str], *, fails: str) -> Ran:
        calls = self.folder / "calls"
        calls.write_text("")
        done = self._done(command, self._environment(fails=fails))
        return Ran(done.returncode == 0, done.stdout, calls.read_text().splitlines())

    def _done(self, command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.checkout,
            env=dict(environment),
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _environment(self, *, fails: str) -> dict[str, str]:
        # Nothing of the pipeline that may run this test.
        programs = (self.folder / "bin", Path(sys.executable).parent, REPOSITORY / "node_modules/.bin")
        return {
            "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
            "HOME": str(self.folder),
            "CALLS": str(self.folder / "calls"),
            "STORE": str(self.folder / "store"),
            "FAILS": fails,
        }

    def _action(self, name: str) -> Path:
        return self.folder / "actions" / name

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.checkout, check=True, capture_output=True, text=True)
        return done.stdout.strip()
