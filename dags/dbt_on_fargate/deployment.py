"""What the deployment wrote beside the DAG file: where the container runs, and dbt's graph."""

import functools
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

_FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class RecordPlace:
    """Where the run records of one project are, and the role that may read them."""

    launch_role_arn: str
    region: str
    bucket_name: str
    project_prefix: str


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """`deployment.json`: the real values of one deployed project. Field names are those of the file."""

    environment: str
    project: str
    dag_id: str
    account: str
    region: str
    # The CDK leaves out what is null.
    schedule: str | None = None
    time_zone: str
    package: str
    cluster_arn: str
    task_definition_arn: str
    task_definition_family: str
    container_name: str
    subnet_ids: tuple[str, ...]
    security_group_ids: tuple[str, ...]
    assign_public_ip: bool
    launch_role_arn: str
    log_group_name: str
    log_stream_prefix: str
    bucket_name: str
    project_prefix: str
    deadline_seconds: int
    stop_timeout_seconds: int
    render: str
    capacity: str
    # By which IAM knows whose task it is, {"key", "value"} each; a role of an earlier version may set none.
    task_tags: tuple[Mapping[str, str], ...] = ()
    # Whether Airflow's assets are updated with what is built; with `render` "nodes" only.
    updates_assets: bool = True
    # Who hears of runs that are red, or green again: {"kind": "slack", "connection_id", "channel"} or {"kind": "sns", "topic_arn"}.
    notify: tuple[Mapping[str, str], ...] = ()
    # How often Airflow tries again of its own accord what AWS took away, and how long it waits before.
    retries: int = 1
    retry_delay_seconds: int = 60

    @classmethod
    def from_mapping(cls, content: dict[str, Any]) -> "Deployment":
        """Raises ValueError or TypeError, naming the field, for what is missing or not allowed; fields of later versions are ignored."""
        missing = sorted({field.name for field in fields(cls) if field.default is MISSING} - content.keys())
        if missing:
            raise ValueError(f"the deployment lacks {', '.join(missing)}")
        values = {field.name: content[field.name] for field in fields(cls) if field.name in content}
        for name in ("subnet_ids", "security_group_ids", "task_tags", "notify"):
            if isinstance(values.get(name), str):
                raise TypeError(f"{name} must be a list, got the text {values[name]!r}")
            values[name] = tuple(values.get(name, ()))
        for name, allowed in (("render", ("nodes", "run")), ("capacity", ("fargate", "fargate_spot"))):
            if values[name] not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {values[name]!r}")
        return cls(**values)

    @functools.cached_property
    def record_place(self) -> RecordPlace:
        """Where this project's run records are."""
        return RecordPlace(**{field.name: getattr(self, field.name) for field in fields(RecordPlace)})

    def as_mapping(self) -> dict[str, Any]:
        """The same values as plain JSON types, for a trigger's arguments."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class Node:
    """A model, seed or snapshot of dbt's graph."""

    unique_id: str
    resource_type: str
    name: str
    package: str
    folder: tuple[str, ...]
    depends_on: tuple[str, ...]
    tests: tuple[str, ...]

    @property
    def selector(self) -> str:
        """The selection of dbt that means this node and no other; a comma means "and"."""
        return f"{self.name},package:{self.package},resource_type:{self.resource_type}"


# What dbt builds in the warehouse; sources and exposures are only ends of the graph, ephemeral models are parts of others.
_BUILT_TYPES = frozenset({"model", "seed", "snapshot"})


def read_deployment(folder: Path) -> Deployment:
    """Read `deployment.json`; raises ValueError for a file of another format version."""
    return Deployment.from_mapping(_read(folder / "deployment.json"))


def read_nodes(folder: Path) -> list[Node]:
    """What dbt builds, from `graph.json`, in the file's order; edges to what is not built are left out."""
    entries = [
        entry
        for entry in _read(folder / "graph.json")["nodes"]
        if entry["resource_type"] in _BUILT_TYPES and entry.get("materialized") != "ephemeral"
    ]
    built = {entry["unique_id"] for entry in entries}
    return [
        Node(
            unique_id=entry["unique_id"],
            resource_type=entry["resource_type"],
            name=entry["name"],
            package=entry["package"],
            folder=tuple(entry["folder"]),
            depends_on=tuple(parent for parent in entry["depends_on"] if parent in built),
            tests=tuple(entry["tests"]),
        )
        for entry in entries
    ]


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if content["format_version"] != _FORMAT_VERSION:
        raise ValueError(f"{file.name} must have format_version {_FORMAT_VERSION}, got {content['format_version']!r}")
    return content
