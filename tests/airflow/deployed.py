"""What a deployment leaves for Airflow, written for tests and benchmarks without the CDK; needs no Airflow itself."""

import json
from pathlib import Path
from typing import Any

from stacks.airflow_plugin import plugin_files, plugin_folder

REPOSITORY_ROOT = Path(__file__).parents[2]

DEPLOYMENT: dict[str, Any] = {
    "format_version": 1,
    "environment": "dev",
    "project": "bookshop",
    "dag_id": "dbt_dev_bookshop",
    "account": "111111111111",
    "region": "eu-west-1",
    "schedule": None,
    "time_zone": "Europe/Berlin",
    "package": "dbt_on_fargate_dev",
    "cluster_arn": "arn:aws:ecs:eu-west-1:111111111111:cluster/dev",
    "task_definition_arn": "arn:aws:ecs:eu-west-1:111111111111:task-definition/dev-dbt-bookshop:7",
    "task_definition_family": "dev-dbt-bookshop",
    "container_name": "dbt",
    "subnet_ids": ["subnet-1", "subnet-2"],
    "security_group_ids": ["sg-1"],
    "assign_public_ip": False,
    "launch_role_arn": "arn:aws:iam::111111111111:role/launch",
    "log_group_name": "/dbt/bookshop",
    "log_stream_prefix": "dbt",
    "bucket_name": "artifacts",
    "project_prefix": "bookshop/",
    "deadline_seconds": 7200,
    "stop_timeout_seconds": 120,
    "render": "nodes",
    "capacity": "fargate",
    "task_tags": [{"key": "dbt-task-family", "value": "dev-dbt-bookshop"}],
    "retry_delay_seconds": 2,
    "notify": [
        {"kind": "slack", "connection_id": "team_slack", "channel": "#data"},
        {"kind": "sns", "topic_arn": "arn:aws:sns:eu-west-1:111111111111:data"},
    ],
}


def graph_node(
    unique_id: str, *, folder: str = "", after: tuple[str, ...] = (), tests: tuple[str, ...] = ()
) -> dict[str, Any]:
    """An entry of graph.json."""
    resource_type, package, name = unique_id.split(".", 2)
    return {
        "unique_id": unique_id,
        "resource_type": resource_type,
        "name": name,
        "package": package,
        "folder": [folder] if folder else [],
        "materialized": "table",
        "depends_on": list(after),
        "tests": list(tests),
    }


def write_dag_folder(folder: Path, deployment: dict[str, Any], graph: dict[str, Any]) -> Path:
    """What a deployment puts below Airflow's prefix, beside other projects that are there; returns the folder of the DAG file."""
    package = folder / deployment["package"]
    package.mkdir(parents=True, exist_ok=True)
    for source in (REPOSITORY_ROOT / "dags/dbt_on_fargate").iterdir():
        if source.is_file():
            (package / source.name).write_bytes(source.read_bytes())
    plugin = folder / plugin_folder(deployment["package"])
    plugin.mkdir(exist_ok=True)
    for name, content in plugin_files(deployment["package"]).items():
        (plugin / name).write_text(content)
    project = folder / f"{deployment['package']}_{deployment['project']}"
    project.mkdir()
    (project / "dag.py").write_bytes((REPOSITORY_ROOT / "dags/dag.py").read_bytes())
    (project / "deployment.json").write_text(json.dumps(deployment))
    (project / "graph.json").write_text(json.dumps(graph))
    return project
