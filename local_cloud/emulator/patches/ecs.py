"""The ECS API: what RunTask refuses, how it is made idempotent, and how StopTask lets a task end."""

import hashlib
import json
import threading
from collections.abc import Callable

from local_cloud.emulator.patches import fargate
from local_cloud.emulator.patches.iam import caller_may, role_trusts
from local_cloud.emulator.patches.stock import (
    Json,
    Response,
    ecs,
    iam_evaluator,
    refusal,
    replace,
    resource_lock,
    responses,
)

# "The total amount of … overrides … up to 8192 characters" (ECS API reference, TaskOverride).
_LONGEST_OVERRIDES = 8192
_LONGEST_STARTED_BY = 128
_LONGEST_CLIENT_TOKEN = 64

_ECS_TASKS = "ecs-tasks.amazonaws.com"


def apply() -> None:
    """Apply the patches of this module."""
    # Each wraps the one before: what is refused is not remembered, and what is remembered is not run.
    replace(ecs, "_run_task", "data", by=_group_by_family)
    replace(ecs, "_run_task", "data", by=_refuse_what_ecs_refuses)
    replace(ecs, "_run_task", "data", by=_check_roles)
    replace(ecs, "_run_task", "data", by=_run_once_for_each_client_token)
    _let_tasks_end_in_order()
    # The table that dispatches requests was made of the stock functions.
    replace(ecs._ACTION_MAP, "RunTask", "data", by=lambda _stock: ecs._run_task)
    replace(ecs._ACTION_MAP, "StopTask", "data", by=lambda _stock: ecs._stop_task)


def _group_by_family(stock: Callable[[Json], Response]) -> Callable[[Json], Response]:
    """A task's group is by default `family:` and its family (ECS API reference, RunTask); the stock emulator leaves it empty."""

    def run_task(data: Json) -> Response:
        definition = ecs._task_defs.get(ecs._resolve_td_key(data.get("taskDefinition", "")))
        return stock({"group": f"family:{definition['family']}", **data} if definition else data)

    return run_task


def _refuse_what_ecs_refuses(stock: Callable[[Json], Response]) -> Callable[[Json], Response]:
    """The stock emulator makes missing clusters, ignores unknown containers and takes overrides of any length."""

    def run_task(data: Json) -> Response:
        cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
        if cluster not in ecs._clusters:
            return refusal("ClusterNotFoundException", "Cluster not found.")
        definition = ecs._task_defs.get(ecs._resolve_td_key(data.get("taskDefinition", "")))
        if definition is None:
            return refusal("ClientException", "Unable to find task definition.")
        if definition["status"] != "ACTIVE":
            return refusal("ClientException", "TaskDefinition is inactive")
        problem = _problem(data, definition)
        return refusal("InvalidParameterException", problem) if problem else stock(data)

    return run_task


def _problem(data: Json, definition: Json) -> str | None:
    if definition["networkMode"] == "awsvpc" and not data.get("networkConfiguration", {}).get("awsvpcConfiguration"):
        return "Network Configuration must be provided when networkMode 'awsvpc' is specified."
    overrides = data.get("overrides") or {}
    if len(json.dumps(overrides, separators=(",", ":"))) > _LONGEST_OVERRIDES:
        return f"Container Overrides length must be at most {_LONGEST_OVERRIDES}"
    names = {container["name"] for container in definition["containerDefinitions"]}
    for override in overrides.get("containerOverrides", []):
        if override.get("name") not in names:
            return f"Override for container named {override.get('name')} is not a container in the TaskDefinition."
    if len(data.get("startedBy", "")) > _LONGEST_STARTED_BY:
        return f"startedBy must be at most {_LONGEST_STARTED_BY} characters long."
    if len(data.get("clientToken", "")) > _LONGEST_CLIENT_TOKEN:
        return f"clientToken must be at most {_LONGEST_CLIENT_TOKEN} characters long."
    return None


def _check_roles(stock: Callable[[Json], Response]) -> Callable[[Json], Response]:
    """RunTask needs iam:PassRole for both roles, and each must trust ECS; the stock emulator checks neither."""

    def run_task(data: Json) -> Response:
        definition = ecs._task_defs.get(ecs._resolve_td_key(data.get("taskDefinition", ""))) or {}
        overrides = data.get("overrides") or {}
        named = (overrides.get(name) or definition.get(name) for name in ("taskRoleArn", "executionRoleArn"))
        roles = [role for role in named if role]
        for role in roles:
            if not caller_may("iam:PassRole", role, {"iam:PassedToService": _ECS_TASKS}):
                caller = iam_evaluator.caller_arn()
                return refusal(
                    "AccessDeniedException",
                    f"User: {caller} is not authorized to perform: iam:PassRole on resource: {role} "
                    "because no identity-based policy allows the iam:PassRole action",
                )
        # ECS tries them only after IAM has allowed the call.
        for role in roles:
            if not role_trusts(role, _ECS_TASKS):
                return refusal(
                    "ClientException",
                    f"ECS was unable to assume the role '{role}' that was provided for this task. Please verify that the role "
                    "being passed has the proper trust relationship and permissions and that your IAM user has permissions "
                    "to pass this role.",
                )
        return stock(data)

    return run_task


def _run_once_for_each_client_token(stock: Callable[[Json], Response]) -> Callable[[Json], Response]:
    """The same token with the same request is the same task (ECS API reference, RunTask); the stock emulator ignores it."""
    answers: dict[tuple[str, str, str], tuple[str, list[str]]] = {}
    lock = threading.Lock()

    def run_task(data: Json) -> Response:
        token = data.get("clientToken")
        if not token:
            return stock(data)
        key = (responses.get_account_id(), responses.get_region(), token)
        fingerprint = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
        # Held while the task is being made: two calls at once must not both find nothing.
        with lock:
            known = answers.get(key)
            if known is None:
                status, headers, body = stock(data)
                tasks = json.loads(body).get("tasks", []) if status == 200 else []
                if tasks:
                    answers[key] = (fingerprint, [task["taskArn"] for task in tasks])
                return status, headers, body
        first_fingerprint, arns = known
        if fingerprint != first_fingerprint:
            refused: Response = responses.error_response_json(
                "ConflictException",
                "The provided clientToken is already in use with a different RunTask request.",
                400,
                {"resourceIds": arns},
            )
            return refused
        answer: Response = responses.json_response(
            {"tasks": [ecs._sanitize(ecs._tasks[arn]) for arn in arns], "failures": []}
        )
        return answer

    return run_task


def _let_tasks_end_in_order() -> None:
    """StopTask sends SIGTERM and, after the stop timeout, SIGKILL, and the exit code tells; the stock one answers 0 at once."""

    def stop(_stock: Callable[[Json], Response]) -> Callable[[Json], Response]:
        def stop_task(data: Json) -> Response:
            cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
            if cluster not in ecs._clusters:
                return refusal("ClusterNotFoundException", "Cluster not found.")
            task = ecs._resolve_task(data.get("task", ""), cluster)
            if task is None:
                return refusal("InvalidParameterException", "The referenced task was not found.")
            fargate.stop_task(task, data.get("reason") or "Task stopped by user")
            with resource_lock("ecs-task", task["taskArn"]):
                answer: Response = responses.json_response({"task": ecs._sanitize(task)})
            return answer

        return stop_task

    replace(ecs, "_stop_task", "data", by=stop)
