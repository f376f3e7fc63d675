"""Builds the DAG of one project from the files that its deployment wrote."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from . import task_ids
from .compat import DAG, BaseNotifier, BaseOperator, CronDataIntervalTimetable, Param, ParamsDict, TaskGroup
from .deployment import Deployment, Node, read_deployment, read_nodes
from .operators import DbtAssetsOperator, DbtNodeOperator, DbtResultOperator, DbtRunOperator

# Where a run by hand must not begin with a dash, or dbt would read an option.
_SELECTION = {"type": "string", "minLength": 1, "pattern": r"^[^-\s]\S*$"}

_DOC = """
One Fargate container runs the whole dbt project; each model, seed and snapshot is a task here, with its tests.

* A red model: its log holds the database's words. Repair it and deploy, then clear the model **with downstream**.
* The task `run_dbt` holds the links to the container, its log, the report and the docs.
* Mark `run_dbt` failed to stop the container.
"""


def build_dag(folder: Path) -> DAG:
    """
    The DAG of the project whose `deployment.json` and `graph.json` are in `folder`.

    Reads these two files and nothing else: no network, no variable, no database.
    """
    deployment = read_deployment(folder)
    nodes = read_nodes(folder) if deployment.render == "nodes" else []
    with DAG(
        dag_id=deployment.dag_id,
        schedule=_timetable(deployment),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        # Two runs of one project would write the same tables at once.
        max_active_runs=1,
        on_failure_callback=_notifier(deployment, is_green=False),
        on_success_callback=_notifier(deployment, is_green=True),
        tags=["dbt", deployment.environment, deployment.project],
        doc_md=_DOC,
        render_template_as_native_obj=False,
    ) as dag:
        ids = _task_ids(nodes)
        by_task_id: dict[str, Node] = {}
        run = DbtRunOperator(
            task_id=task_ids.RUN,
            deployment=deployment,
            run_task_id=task_ids.RUN,
            nodes=by_task_id,
            # What dbt finds wrong is not retried (operators.py); what AWS takes away is, and continues where it stopped.
            retries=deployment.retries,
            retry_delay=timedelta(seconds=deployment.retry_delay_seconds),
            # It starts with the nodes that are drawn before it: they wait for it, so that clearing a node clears it, too.
            trigger_rule="always",
            # A triggerer that is full takes those of weight first, and without this one no node would ever end.
            priority_weight=100,
            weight_rule="absolute",
        )
        tasks = _node_tasks(deployment, nodes, ids, by_task_id)
        for node in nodes:
            for parent in node.depends_on:
                _draw_edge(tasks[parent], tasks[node.unique_id])
        parents = {parent for node in nodes for parent in node.depends_on}
        for unique_id, task in tasks.items():
            if unique_id not in parents:
                _draw_edge(task, run)
        if nodes:
            result = DbtResultOperator(
                task_id=task_ids.RESULT,
                deployment=deployment,
                run_task_id=task_ids.RUN,
                retries=0,
                trigger_rule="always",
            )
            _draw_edge(run, result)
        if nodes and deployment.updates_assets:
            update = DbtAssetsOperator(
                task_id=task_ids.ASSETS,
                deployment=deployment,
                run_task_id=task_ids.RUN,
                nodes=nodes,
                # A worker that is lost is all that can fail here.
                retries=1,
                retry_delay=timedelta(seconds=deployment.retry_delay_seconds),
                trigger_rule="always",
            )
            _draw_edge(run, update)
    # Airflow copies what a DAG has of them into every task, three times over; each run takes them from the DAG all the same.
    dag.params = ParamsDict(_params())
    return dag


def _draw_edge(upstream: BaseOperator, downstream: BaseOperator) -> None:
    # As `set_downstream`, which makes two hashes of the whole DAG for each edge, a third of the time to parse 300 nodes.
    upstream.downstream_task_ids.add(downstream.task_id)
    downstream.upstream_task_ids.add(upstream.task_id)


def _timetable(deployment: Deployment) -> CronDataIntervalTimetable | None:
    if deployment.schedule is None:
        return None
    # The same meaning in Airflow 2 and 3: a bare cron expression has an interval of no length in 3.
    return CronDataIntervalTimetable(deployment.schedule, timezone=deployment.time_zone)


def _notifier(deployment: Deployment, *, is_green: bool) -> BaseNotifier | None:
    if not deployment.notify:
        return None
    from .notify import RunNotifier  # noqa: PLC0415 -- most deployments have none

    return RunNotifier(deployment=deployment, is_green=is_green)


def _params() -> dict[str, Any]:
    return {
        "select": Param(
            [], type="array", items=_SELECTION, title="Select", description="dbt's --select, one selector a line"
        ),
        "exclude": Param(
            [], type="array", items=_SELECTION, title="Exclude", description="dbt's --exclude, one selector a line"
        ),
        "full_refresh": Param(
            False, type="boolean", title="Full refresh", description="Build incremental models and seeds from nothing"
        ),
        "vars": Param(
            {}, type="object", title="Variables", description="dbt's --vars; dbt parses the whole project anew for them"
        ),
        "threads": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=64,
            title="Threads",
            description="How many models are built at once; empty: as deployed",
        ),
    }


def _task_ids(nodes: Sequence[Node]) -> dict[str, str]:
    """The name of each node's task within its folder: the node's, with its package where it is taken."""
    names = Counter(node.name for node in nodes)

    def is_taken(node: Node) -> bool:
        return names[node.name] > 1 or (not _folder(node) and node.name in task_ids.RESERVED)

    return {node.unique_id: _safe(f"{node.package}__{node.name}" if is_taken(node) else node.name) for node in nodes}


def _folder(node: Node) -> tuple[str, ...]:
    # Seeds and snapshots seldom have folders of their own.
    return node.folder or (() if node.resource_type == "model" else (f"{node.resource_type}s",))


def _node_tasks(
    deployment: Deployment, nodes: Sequence[Node], ids: Mapping[str, str], by_task_id: dict[str, Node]
) -> dict[str, DbtNodeOperator]:
    groups: dict[tuple[str, ...], TaskGroup] = {}
    taken = {*task_ids.RESERVED, *ids.values()}

    def group(folder: tuple[str, ...]) -> TaskGroup | None:
        if not folder:
            return None
        if folder not in groups:
            name = _safe(folder[-1])
            # A group may not have the id of a task beside it.
            groups[folder] = TaskGroup(
                group_id=f"{name}_folder" if name in taken else name, parent_group=group(folder[:-1])
            )
        return groups[folder]

    tasks: dict[str, DbtNodeOperator] = {}
    first: DbtNodeOperator | None = None
    for node in nodes:
        task_id, task_group = ids[node.unique_id], group(_folder(node))
        if first is not None:
            task = first.another(task_id=task_id, task_group=task_group, node=node)
        else:
            first = task = DbtNodeOperator(
                task_id=task_id,
                task_group=task_group,
                deployment=deployment,
                run_task_id=task_ids.RUN,
                nodes=by_task_id,
                node=node,
                # A node has no try of its own; the run task has.
                retries=0,
                # All wait at once for the one container: no turn of the scheduler for each level of the graph.
                trigger_rule="always",
                weight_rule="absolute",
            )
        tasks[node.unique_id] = task
        by_task_id[task.task_id] = node
    return tasks


def _safe(name: str) -> str:
    # What dbt allows in a name and Airflow does not allow in an id.
    return "".join(character if character.isalnum() or character in "_-" else "_" for character in name)
