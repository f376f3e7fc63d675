"""From the push of a changed model to its deployment: the commands of the pipelines, in a fork that this machine deploys."""

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from functools import partial

from benchmarks.measure import Result, compare
from local_cloud.cloud import DEFAULT_FOLDER, LocalCloud, share_installed
from local_cloud.fork import Fork
from local_cloud.local_settings import read_local_settings
from local_cloud.progress import Steps

_FOLDER = DEFAULT_FOLDER / "bench-push"
_MODEL = "projects/bookshop/models/marts/core/dim_customers.sql"
_NAME = "push_to_deployed"


def names() -> list[str]:
    """The figures, in order."""
    return [_NAME, *(f"{_NAME}_{command}" for command in ("check", "build", "deploy"))]


def measure(*, repeat: int, steps: Steps) -> Iterator[Result]:
    """Yield all figures; the fork has been checked, built and deployed once before, as any that is in use."""
    shutil.rmtree(_FOLDER / "fork", ignore_errors=True)
    share_installed(_FOLDER)
    settings = read_local_settings()
    took: list[dict[str, float]] = []
    with LocalCloud(_FOLDER, steps=steps) as cloud:
        cloud.start(settings)
        with steps.step("cdk bootstrap") as step:
            cloud.cdk().bootstrap(settings.account, settings.region, say=step.say)
        fork = Fork(_FOLDER / "fork")
        for number in range(repeat + 1):
            fork.edit(_MODEL, partial(_changed, number=number))
            with steps.step(f"push to deployed: {f'{number} of {repeat}' if number else 'for the first time'}") as step:
                one = _push(fork, cloud.client_environment(), settings.environment)
                step.say(", ".join(f"{command} {seconds:.1f} s" for command, seconds in one.items()))
            if number:
                took.append(one)
    # Pipelines check and build at the same time, on a machine each.
    yield compare(_NAME, "s", ours=[max(one["check"], one["build"]) + one["deploy"] for one in took])
    for command in ("check", "build", "deploy"):
        yield compare(f"{_NAME}_{command}", "s", ours=[one[command] for one in took])


def _changed(text: str, *, number: int) -> str:
    return f"{text.rstrip()}\n\n-- Change {number}\n"


def _push(fork: Fork, environment: Mapping[str, str], name: str) -> dict[str, float]:
    """Seconds of each command, in the order of the pipeline."""
    commands = {"check": ["ci-check", "BASE=HEAD~1"], "build": ["ci-build"], "deploy": ["ci-deploy", f"ENV={name}"]}
    shutil.rmtree(fork.folder / "build", ignore_errors=True)
    took: dict[str, float] = {}
    for what, command in commands.items():
        started = time.monotonic()
        done = subprocess.run(
            ["make", *command], cwd=fork.folder, env=dict(environment), check=False, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"make {' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
        took[what] = time.monotonic() - started
    return took
