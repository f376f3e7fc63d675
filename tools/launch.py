"""Starts one run of a deployed project in the account, as Airflow does: same role, same task, same overrides."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

from dbt_on_fargate import explain
from dbt_on_fargate.containers import Container, Containers, LaunchRefusedError, launch_environment, launch_token
from runner.outcome import SettingsError
from runner.run_spec import run_spec_from
from tools.deployed import AnalystError, DeployedProject

_TASK_ID = "by-hand"
_SECONDS_BETWEEN_LOOKS = 5.0


def start(
    project: DeployedProject,
    *,
    run_id: str,
    attempt: int,
    spec: Mapping[str, Any],
    task_definition: str | None = None,
    wait_seconds: float = 0.0,
    say: Callable[[str], None] = print,
) -> Container:
    """
    Start an attempt of a run, unless another run of the project is at work, which is named, and waited for up to `wait_seconds`.

    A spec with a `trial` waits for none, and none waits for it: it builds in schemas of its own.
    `task_definition`: `family:revision`. Default: the deployed one. Raises AnalystError for a wrong spec, another run, or what AWS
    refuses; nothing was started then.
    """
    try:
        run_spec_from(("what was asked for", spec))
    except SettingsError as error:
        raise AnalystError(str(error)) from error
    is_trial = bool(spec.get("trial"))
    if not is_trial:
        _wait_until_free(project, wait_seconds=wait_seconds, say=say)
    deployment = project.deployment
    if task_definition is not None:
        revisions, _, _ = deployment.task_definition_arn.rpartition("/")
        deployment = dataclasses.replace(deployment, task_definition_arn=f"{revisions}/{task_definition}")
    environment = launch_environment(
        record_id=run_id,
        attempt=attempt,
        launched_by={"kind": "person", "name": caller(project)},
        spec=spec,
        write_spec=project.record(run_id).write_spec,
    )
    # The same call twice, say after a lost answer, is the same container.
    token = launch_token(
        dag_id=deployment.dag_id, run_id=run_id, task_id=_TASK_ID, try_number=attempt, is_trial=is_trial
    )
    containers = Containers(deployment, client=project.ecs)
    try:
        return containers.launch(token=token, environment=environment)
    except LaunchRefusedError as refusal:
        raise AnalystError(explain.refused_launch(str(refusal))) from refusal


def caller(project: DeployedProject) -> str:
    """Who is logged in, as AWS names them; every identity may ask this."""
    arn: str = project.own.client("sts").get_caller_identity()["Arn"]
    return arn.rpartition(":")[2]


def at_work(project: DeployedProject) -> list[Container]:
    """The project's containers that run or are about to, whoever started them, trials of pull requests among them."""
    return [container for container in project.containers.all() if not container.is_gone]


def _wait_until_free(project: DeployedProject, *, wait_seconds: float, say: Callable[[str], None]) -> None:
    until = time.monotonic() + wait_seconds
    told = False
    while others := [container for container in at_work(project) if not container.is_trial]:
        named = ", ".join(f"{other.record_id or 'without a record'} (container {other.task_id})" for other in others)
        if time.monotonic() >= until:
            raise AnalystError(
                f"another run of {project.deployment.project} is at work: {named}; wait for it (WAIT=30, in minutes) or "
                "end it (make stop)"
            )
        if not told:
            say(f"waiting until another run is over: {named}")
            told = True
        time.sleep(_SECONDS_BETWEEN_LOOKS)
