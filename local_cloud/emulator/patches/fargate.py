"""
Runs the containers of a task the way Fargate does.

The stock emulator starts containers with random credentials, without entry point, user, volumes and limits, forgets the end of
their logs and kills them without grace. What runs a task is therefore replaced as a whole: one `_Task` for each task.
"""

import contextlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_cloud.emulator.patches import credentials, logs, registry
from local_cloud.emulator.patches.iam import role_allows
from local_cloud.emulator.patches.memory import OutOfMemoryWatch
from local_cloud.emulator.patches.stock import (
    Json,
    docker_client,
    docker_errors,
    ecs,
    ecs_metadata,
    replace,
    resource_lock,
    responses,
)

# "30 seconds by default, 120 at most" (AWS documentation, container definition, stopTimeout).
_DEFAULT_STOP_TIMEOUT_SECONDS = 30
# A container that never writes keeps its log request open; nothing here may time out because it is quiet.
_ENGINE_TIMEOUT_SECONDS = 7 * 24 * 3600
_CPU_UNITS_OF_ONE_VCPU = 1024


class TaskFailedToStartError(Exception):
    """The task ends before its container runs; the message is the stoppedReason in ECS's words."""


def apply() -> None:
    """Apply the patches of this module."""
    replace(
        ecs,
        "_run_task_worker",
        *("task", "td", "container_overrides", "docker_client", "account_id", "region"),
        by=lambda _stock: _run_task,
    )
    # Their container ends tasks in `_Task` alone; the stock emulator looks at it on every DescribeTasks and ListTasks.
    replace(
        ecs, "_maybe_mark_stopped", "task", "docker_client", by=lambda _stock: lambda _task, _docker_client=None: None
    )


def stop_task(task: Json, reason: str) -> None:
    """Ask for the end of a task, as StopTask does: it returns at once, the containers get their grace."""
    with resource_lock("ecs-task", task["taskArn"]):
        if task["desiredStatus"] == "STOPPED":
            return
        ecs._bump_task_version(task)
        task["desiredStatus"] = "STOPPED"
        task["stoppingAt"] = ecs._iso()
        task["stoppedReason"] = reason
        task["stopCode"] = "UserInitiated"
    ecs_metadata.set_task_status(task["taskArn"], desired_status="STOPPED")
    running = _tasks.get(task["taskArn"])
    if running is not None:
        running.stop_requested.set()


def _run_task(  # noqa: PLR0917 -- the emulator's own signature
    task: Json, td: Json, container_overrides: list[Json], docker_client: object, account_id: str, region: str
) -> None:
    """Take one task from PROVISIONING to STOPPED; runs in a thread of its own."""
    del docker_client  # its time-out is too short for following logs
    with responses.request_scope(account_id, region):
        running = _Task(task, td, container_overrides)
        _tasks[task["taskArn"]] = running
        with resource_lock("ecs-task", task["taskArn"]):
            # StopTask may have come before this thread.
            if task["desiredStatus"] == "STOPPED":
                running.stop_requested.set()
        try:
            running.run()
        finally:
            del _tasks[task["taskArn"]]


@dataclass
class _Container:
    """One container of a task while it is there."""

    definition: Json
    handle: Any
    log: logs.Forwarder | None
    memory: OutOfMemoryWatch | None = None
    exit_code: int | None = None


@dataclass
class _Task:
    """One task and what belongs to it on this machine."""

    task: Json
    definition: Json
    overrides: list[Json]
    stop_requested: threading.Event = field(default_factory=threading.Event)
    _containers: list[_Container] = field(default_factory=list)
    _volumes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._engine = docker_client(timeout=_ENGINE_TIMEOUT_SECONDS)

    @property
    def _arn(self) -> str:
        return str(self.task["taskArn"])

    @property
    def _id(self) -> str:
        return self._arn.rsplit("/", 1)[-1]

    def run(self) -> None:
        try:
            self._start()
            if self._containers:
                self._set_status("RUNNING")
                self._wait()
                self._stopped("Essential container in task exited", "EssentialContainerExited")
            else:
                self._stopped("Task stopped by user", "UserInitiated")
        except (TaskFailedToStartError, registry.CannotPullContainerError) as failure:
            self._stopped(str(failure), "TaskFailedToStart")
        except Exception as error:
            # Whatever it was, a task that nobody ends would hang its caller for ever.
            self._stopped(f"ResourceInitializationError: {error}", "TaskFailedToStart")
            raise
        finally:
            self._clean_up()

    def _start(self) -> None:
        self._set_status("PENDING")
        if self.definition.get("executionRoleArn"):
            self._check_execution_role()
        self._set_status("ACTIVATING")
        for index, definition in enumerate(self.definition["containerDefinitions"]):
            if self.stop_requested.is_set():
                return
            self._start_container(index, definition)

    def _start_container(self, index: int, definition: Json) -> None:
        log = self._log_of(definition)
        image = registry.pull(self._engine, definition["image"])
        with resource_lock("ecs-task", self._arn):
            self.task["containers"][index]["imageDigest"] = image.digest
        secrets = self._secrets_of(definition)
        environment, token = self._environment_of(definition, secrets)
        options = {
            **_process_options(definition, self._override_of(definition)),
            **self._limits_of(definition),
            "volumes": [*self._mounts_of(definition, image), *_task_mounts()],
            "environment": environment,
            "network_mode": "host",
            "labels": {**_labels(), "com.amazonaws.ecs.task-arn": self._arn},
            "name": f"ecs-{self._id}-{definition['name']}",
        }
        try:
            handle = self._engine.containers.create(image.reference, **options)
        except docker_errors.APIError as error:
            raise TaskFailedToStartError(f"CannotCreateContainerError: {error.explanation}") from error
        container = _Container(definition, handle, log)
        self._containers.append(container)
        try:
            handle.start()
        except docker_errors.APIError as error:
            raise TaskFailedToStartError(f"CannotStartContainerError: {error.explanation}") from error
        handle.reload()
        container.memory = OutOfMemoryWatch(handle.attrs["State"]["Pid"])
        ecs._attach_started_container(self.task, handle, index, token, None)
        if log is not None:
            log.follow(handle)

    def _wait(self) -> None:
        """Return when every container has ended: by itself, because an essential one did, or because of StopTask."""
        waits = [
            threading.Thread(target=self._wait_for, args=(container,), daemon=True) for container in self._containers
        ]
        for wait in waits:
            wait.start()
        self.stop_requested.wait()
        for container in self._containers:
            if container.exit_code is None:
                timeout = int(container.definition.get("stopTimeout") or _DEFAULT_STOP_TIMEOUT_SECONDS)
                # It may have ended just now.
                with contextlib.suppress(docker_errors.NotFound):
                    container.handle.stop(timeout=timeout)
        for wait in waits:
            wait.join()
        for container in self._containers:
            if container.log is not None:
                container.log.finish()

    def _wait_for(self, container: _Container) -> None:
        container.exit_code = int(container.handle.wait(timeout=None)["StatusCode"])
        if container.definition.get("essential", True):
            self.stop_requested.set()

    def _set_status(self, status: str) -> None:
        marks: Mapping[str, Callable[[str, Json], bool]] = {
            "PENDING": ecs._mark_task_pending,
            "ACTIVATING": ecs._mark_task_activating,
            "RUNNING": ecs._mark_task_running,
        }
        # False means that StopTask came first; the caller looks at stop_requested.
        marks[status](self._arn, self.task)

    def _stopped(self, reason: str, code: str) -> None:
        """Write the end of the task down; what StopTask has written already stays."""
        now = ecs._iso()
        ends = [self._end_of(container) for container in self._containers]
        with resource_lock("ecs-task", self._arn):
            ecs._bump_task_version(self.task)
            if self.task["desiredStatus"] != "STOPPED":
                self.task.update(desiredStatus="STOPPED", stoppedReason=reason, stopCode=code, stoppingAt=now)
            self.task.update(lastStatus="STOPPED", executionStoppedAt=now, stoppedAt=now)
            for described in self.task["containers"]:
                described["lastStatus"] = "STOPPED"
            for described, end in zip(self.task["containers"], ends, strict=False):
                described.update(end)
        ecs._recount_cluster(ecs._cluster_name_from_arn(self.task["clusterArn"]))
        for listener in stopped_listeners:
            listener(self.task)

    def _end_of(self, container: _Container) -> Json:
        """The members that DescribeTasks has for a container that ended."""
        container.handle.reload()
        state = container.handle.attrs["State"]
        if container.exit_code is None:
            return {"reason": state.get("Error") or "CannotStartContainerError"}
        end: Json = {"exitCode": container.exit_code}
        if state.get("OOMKilled") or (container.memory is not None and container.memory.happened):
            end["reason"] = "OutOfMemoryError: Container killed due to memory usage"
        return end

    def _clean_up(self) -> None:
        for token in self.task.pop("_metadata_tokens", []):
            ecs_metadata.unregister_token(token)
        credentials.revoke(self._arn)
        for container in self._containers:
            with contextlib.suppress(docker_errors.NotFound):
                container.handle.remove(v=True, force=True)
        for volume in self._volumes.values():
            if volume.startswith("/"):
                shutil.rmtree(volume)
            else:
                with contextlib.suppress(docker_errors.NotFound):
                    self._engine.volumes.get(volume).remove(force=True)
        self.task["_docker_ids"] = []
        self._engine.close()

    def _override_of(self, definition: Json) -> Json:
        found: Json = ecs._container_override_for(self.overrides, definition["name"])
        return found

    def _check_execution_role(self) -> None:
        """What the ECS agent does as the execution role before a container is there."""
        role = self.definition["executionRoleArn"]
        for definition in self.definition["containerDefinitions"]:
            for permission in registry.needed_permissions(definition["image"]):
                if not role_allows(role, permission.action, permission.resource, session=self._id):
                    raise TaskFailedToStartError(permission.refusal(_denied(role, self._id, permission)))

    def _log_of(self, definition: Json) -> logs.Forwarder | None:
        configuration = ecs._awslogs_config(definition, self._id, self._id)
        if configuration is None:
            return None
        group = configuration["group"]
        prefix = f"arn:aws:logs:{responses.get_region()}:{responses.get_account_id()}:log-group:{group}"
        for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
            permission = registry.Permission(action, f"{prefix}:log-stream:{configuration['stream']}")
            role = self.definition.get("executionRoleArn", "")
            if not role or not role_allows(role, action, permission.resource, session=self._id):
                raise TaskFailedToStartError(_LOGGER_REFUSED.format(cause=_denied(role, self._id, permission)))
        if not ecs._ensure_awslogs_stream(configuration):
            cause = "ResourceNotFoundException: The specified log group does not exist."
            raise TaskFailedToStartError(_LOGGER_REFUSED.format(cause=cause))
        return logs.Forwarder(configuration)

    def _secrets_of(self, definition: Json) -> Mapping[str, str]:
        """The values that ECS injects; fetched as the execution role."""
        role = self.definition.get("executionRoleArn", "")
        for secret in definition.get("secrets", []):
            permission = registry.secret_permission(secret["valueFrom"])
            if not role or not role_allows(role, permission.action, permission.resource, session=self._id):
                raise TaskFailedToStartError(permission.refusal(_denied(role, self._id, permission)))
        try:
            resolved: Mapping[str, str] = ecs._resolve_container_secrets(definition)
        except ecs._SecretResolutionError as error:
            raise TaskFailedToStartError(f"{registry.SECRETS_REFUSED}{error}") from error
        return resolved

    def _environment_of(self, definition: Json, secrets: Mapping[str, str]) -> tuple[dict[str, str], str]:
        """The container's environment, and the token of its metadata endpoint."""
        override = {entry["name"]: entry["value"] for entry in self._override_of(definition).get("environment", [])}
        environment = {
            **{entry["name"]: entry["value"] for entry in definition.get("environment", [])},
            **secrets,
            **override,
        }
        added: dict[str, str] = {}
        token = ecs._register_metadata(
            self._arn, self.task["clusterArn"], self.definition, definition, self.task["launchType"], added, True, None
        )
        self.task.setdefault("_metadata_tokens", []).append(token)
        logs.describe_in_metadata(token, ecs._awslogs_config(definition, self._id, self._id))
        del added["AWS_CONTAINER_CREDENTIALS_FULL_URI"], added["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
        role = (self.task.get("overrides") or {}).get("taskRoleArn") or self.definition.get("taskRoleArn")
        if role:
            added |= credentials.grant(self._arn, role)
        region = responses.get_region()
        added |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region, "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"}
        return {**added, **_task_environment(), **environment}, token

    def _mounts_of(self, definition: Json, image: registry.Image) -> list[str]:
        """
        The task's volumes where the container wants them, as binds in Docker's words.

        "The volume permissions are set to 0755 and the owner as root" unless the Dockerfile has a VOLUME for the same path:
        then the volume takes over what lies there (AWS documentation, "Use bind mounts with Amazon ECS").
        """
        binds = []
        for mount in definition.get("mountPoints", []):
            name, target = mount["sourceVolume"], mount["containerPath"].rstrip("/")
            if name not in self._volumes:
                # The engine fills a named volume from the image, and podman gives it to the image's user in any case.
                self._volumes[name] = self._named_volume(name) if target in image.volumes else self._folder()
            binds.append(f"{self._volumes[name]}:{target}:{'ro' if mount.get('readOnly') else 'rw'}")
        return binds

    def _named_volume(self, name: str) -> str:
        volume = self._engine.volumes.create(f"ecs-{self._id}-{name}", labels=_labels())
        return str(volume.name)

    def _folder(self) -> str:
        folder = tempfile.mkdtemp(prefix=f"ecs-{self._id}-")
        Path(folder).chmod(0o755)
        return folder

    def _limits_of(self, definition: Json) -> Json:
        """The task's memory and CPU, or where they are smaller what RunTask or the definition says for the container."""
        own = self._override_of(definition).get("memory") or definition.get("memory")
        memory_mib = min(int(size) for size in (own, self.definition.get("memory")) if size)
        limits: Json = {"mem_limit": f"{memory_mib}m", "memswap_limit": f"{memory_mib}m"}
        units = int(definition.get("cpu") or 0) or int(self.definition.get("cpu") or 0)
        if units:
            limits["nano_cpus"] = units * 1_000_000_000 // _CPU_UNITS_OF_ONE_VCPU
        return limits


_tasks: dict[str, _Task] = {}

stopped_listeners: list[Callable[[Json], None]] = []
"""Called with each task that has just become STOPPED."""

_LOGGER_REFUSED = (
    "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "
    "failed to create Cloudwatch log stream: {cause} : exit status 1"
)


def _denied(role: str, session: str, permission: registry.Permission) -> str:
    account, name = role.split(":")[4], role.rsplit("/", 1)[-1]
    return (
        f"AccessDeniedException: User: arn:aws:sts::{account}:assumed-role/{name}/{session} is not authorized to perform: "
        f"{permission.action} on resource: {permission.resource} because no identity-based policy allows the "
        f"{permission.action} action"
    )


def _process_options(definition: Json, override: Json) -> Json:
    """What runs in the container, in the Docker library's words; what is not given is the image's."""
    options = {
        "entrypoint": definition.get("entryPoint"),
        "command": override.get("command", definition.get("command")),
        "user": definition.get("user"),
        "working_dir": definition.get("workingDirectory"),
        "read_only": definition.get("readonlyRootFilesystem"),
        "init": definition.get("linuxParameters", {}).get("initProcessEnabled"),
    }
    return {name: value for name, value in options.items() if value}


def _labels() -> dict[str, str]:
    labels: dict[str, str] = json.loads(os.environ["LOCAL_CLOUD_CONTAINER_LABELS"])
    return labels


def _task_environment() -> dict[str, str]:
    environment: dict[str, str] = json.loads(os.environ["LOCAL_CLOUD_TASK_ENVIRONMENT"])
    return environment


def _task_mounts() -> list[str]:
    mounts: dict[str, str] = json.loads(os.environ["LOCAL_CLOUD_TASK_MOUNTS"])
    return [f"{source}:{target}:ro" for source, target in mounts.items()]
