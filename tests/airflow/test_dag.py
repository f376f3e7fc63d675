"""The DAG as Airflow parses it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import GRAPH, LONE, MART, ORDERS, REPORT, SEED, TASK_OF
from deployed import DEPLOYMENT, graph_node, write_dag_folder

from dbt_on_fargate.compat import TaskGroup
from dbt_on_fargate.dag import build_dag
from dbt_on_fargate.deployment import Deployment, Node, read_nodes
from dbt_on_fargate.operators import DbtNodeOperator

_PARSE = """
import json, socket, sys, time
try:
    import airflow.sdk
    from airflow.sdk import DAG
except ImportError:
    from airflow.models.dag import DAG

def refuse(*_):
    raise AssertionError("the DAG file went to the network")

socket.socket.connect = refuse
socket.getaddrinfo = refuse
import importlib.util
began = time.process_time()
spec = importlib.util.spec_from_file_location("the_dag", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(json.dumps({"seconds": time.process_time() - began, "tasks": len(module.dag.task_dict), "modules": sorted(sys.modules)}))
"""


def parse(project: Path) -> dict[str, Any]:
    """Parse a DAG file in a process of its own that has no network and nothing of AWS."""
    environment = {"PATH": os.environ["PATH"], "AIRFLOW_HOME": os.environ["AIRFLOW_HOME"], "HOME": str(project)}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PARSE, project / "dag.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    parsed: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return parsed


def dag_of(tmp_path: Path, graph: dict[str, Any] = GRAPH, **values: object) -> Any:  # noqa: ANN401 -- a DAG of Airflow 2 or 3
    """The DAG of a deployment."""
    return build_dag(write_dag_folder(tmp_path / "dags", DEPLOYMENT | values, graph))


def test_parsing_needs_neither_network_nor_aws(tmp_path: Path) -> None:
    """An AWS that is slow or down must not take the DAG down with it; not even boto3 is imported."""
    parsed = parse(write_dag_folder(tmp_path, DEPLOYMENT, GRAPH))

    assert parsed["tasks"] == len(TASK_OF) + 3
    assert not {"boto3", "airflow.providers.amazon.aws.hooks.base_aws"} & set(parsed["modules"])


def test_parsing_a_thousand_nodes_is_cheap(tmp_path: Path) -> None:
    """Airflow parses every file twice a minute; 1,000 nodes cost well under a second of it."""
    nodes = [
        graph_node(
            f"model.big.m{number}", folder=f"f{number % 20}", after=(f"model.big.m{number // 2}",) if number else ()
        )
        for number in range(1000)
    ]
    parsed = parse(write_dag_folder(tmp_path, DEPLOYMENT, {"format_version": 1, "project": "big", "nodes": nodes}))

    assert parsed["tasks"] == 1003
    assert parsed["seconds"] < 2


def test_dag_bag_takes_the_folder_as_it_is_deployed(tmp_path: Path) -> None:
    """The package beside the DAG file is no DAG file itself, and nothing fails to import."""
    write_dag_folder(tmp_path / "dags", DEPLOYMENT, GRAPH)
    script = """
import sys
try:
    from airflow.dag_processing.dagbag import DagBag
    bag = DagBag(sys.argv[1])
except ImportError:
    from airflow.models.dagbag import DagBag
    bag = DagBag(sys.argv[1], include_examples=False)
print(sorted(bag.dags), bag.import_errors)
"""
    environment = os.environ | {
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
    }
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, tmp_path / "dags"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout.splitlines()[-1] == "['dbt_dev_bookshop'] {}"


def test_graph_is_dbts_own(tmp_path: Path) -> None:
    """Each model, seed and snapshot is a task after those that it reads, in the group of its folder; sources are not built."""
    dag = dag_of(tmp_path)

    assert set(dag.task_dict) == {*TASK_OF.values(), "run_dbt", "all_built", "update_assets"}
    assert dag.get_task(TASK_OF[MART]).upstream_task_ids == {TASK_OF[ORDERS], TASK_OF[SEED]}
    assert dag.get_task(TASK_OF[REPORT]).upstream_task_ids == {TASK_OF[MART]}
    assert dag.get_task("run_dbt").upstream_task_ids == {TASK_OF[REPORT], TASK_OF[LONE]}
    assert dag.get_task("all_built").upstream_task_ids == {"run_dbt"}


def test_a_node_is_the_task_that_airflow_would_make_of_it(tmp_path: Path) -> None:
    """All but the first are copies of it: each has the values that Airflow's own `__init__` gives it, and shares none that change."""
    dag = dag_of(tmp_path)
    copied = dag.get_task(TASK_OF[MART])
    with type(dag)("another", schedule=None, start_date=dag.start_date) as another:
        task_group = None if "." not in copied.task_id else TaskGroup(copied.task_id.partition(".")[0])
        made = DbtNodeOperator(
            task_id=copied.label,
            task_group=task_group,
            deployment=copied.deployment,
            run_task_id=copied.run_task_id,
            nodes=copied.nodes,
            node=copied.node,
            retries=0,
            trigger_rule="always",
            weight_rule="absolute",
        )
    of_the_graph = {"upstream_task_ids", "downstream_task_ids", "task_group", "_dag", "dag"}
    first = next(task for task in dag.tasks if isinstance(task, DbtNodeOperator))

    assert made.task_id == copied.task_id
    assert vars(made).keys() == vars(copied).keys()
    assert _told(made, but=of_the_graph) == _told(copied, but=of_the_graph)
    shared = {
        name
        for name, value in vars(copied).items()
        if isinstance(value, dict | list | set) and value is vars(first)[name]
    }
    # By design: each task finds the others in it.
    assert shared == {"nodes"}
    assert another.task_dict.keys() == {made.task_id}


def _told(task: DbtNodeOperator, *, but: set[str]) -> dict[str, str]:
    """What a task holds, and what it was made with, but for what places it in its DAG."""
    own = vars(task)
    made_with = {
        f"made with {name}": value for name, value in own["_BaseOperator__init_kwargs"].items() if name not in but
    }
    held = {name: value for name, value in own.items() if name not in {*but, "_BaseOperator__init_kwargs"}}
    return {name: re.sub(r" at 0x\w+", "", repr(value)) for name, value in (held | made_with).items()}


def test_no_two_runs_at_once(tmp_path: Path) -> None:
    """Two runs of one project would write the same tables."""
    assert dag_of(tmp_path).max_active_runs == 1


def test_node_tasks_start_in_the_triggerer(tmp_path: Path) -> None:
    """No worker is asked for, and all wait at once for the one container."""
    for task_id in TASK_OF.values():
        task = dag_of(tmp_path / task_id).get_task(task_id)
        assert task.start_from_trigger
        assert task.trigger_rule == "always"
        assert task.retries == 0


def test_full_triggerer_takes_the_run_task_first(tmp_path: Path) -> None:
    """The nodes wait for it; if it waited for a place behind them, nothing would ever end."""
    dag = dag_of(tmp_path)
    others = [task for task in dag.tasks if task.task_id != "run_dbt"]

    assert dag.get_task("run_dbt").priority_weight > max(task.priority_weight for task in others)
    # Any other rule would add up the weights along the graph, in which it is the last.
    assert {_name_of_rule(task) for task in dag.tasks if task.task_id not in {"all_built", "update_assets"}} == {
        "absolute"
    }


def _name_of_rule(task: Any) -> str:  # noqa: ANN401 -- a task of Airflow 2 or 3
    rule = task.weight_rule
    return "absolute" if "absolute" in f"{rule} {type(rule).__name__}".lower() else str(rule)


def test_render_run_gives_one_task(tmp_path: Path) -> None:
    """For those who want one task and no more."""
    assert set(dag_of(tmp_path, render="run").task_dict) == {"run_dbt"}


def test_every_node_is_an_asset(tmp_path: Path) -> None:
    """Other DAGs can be scheduled on a model, on a seed, or on the whole project, by addresses that hold no secret."""
    task = dag_of(tmp_path).get_task("update_assets")

    addresses = {f"x-dbt-on-fargate://dev/bookshop/{unique_id}" for unique_id in TASK_OF}
    assert {outlet.uri for outlet in task.outlets} == addresses | {"x-dbt-on-fargate://dev/bookshop"}
    assert not any(other.outlets for other in dag_of(tmp_path / "again").tasks if other.task_id != "update_assets")


def test_assets_can_be_left_out(tmp_path: Path) -> None:
    """They cost a worker at the end of each run."""
    assert "update_assets" not in dag_of(tmp_path, updates_assets=False).task_dict


def test_names_that_collide_stay_apart(tmp_path: Path) -> None:
    """Packages may share names of models, a folder may have the name of a model, and versions have dots."""
    nodes = [
        graph_node("model.shop.orders"),
        graph_node("model.shop.run_dbt", folder="orders"),
        graph_node("model.shop.customers.v2", folder="orders"),
        graph_node("model.audit.events"),
        graph_node("model.shop.events"),
        graph_node("model.shop.all_built"),
    ]
    dag = dag_of(tmp_path, {"format_version": 1, "project": "shop", "nodes": nodes})

    assert set(dag.task_dict) == {
        "orders", "orders_folder.run_dbt", "orders_folder.customers_v2", "audit__events", "shop__events", "shop__all_built", "run_dbt",
        "all_built", "update_assets",
    }  # fmt: skip


def test_schedule_has_an_interval_in_the_projects_time_zone(tmp_path: Path) -> None:
    """Airflow 3 gives a bare cron expression an interval of no length; backfills need one that means something."""
    timetable = dag_of(tmp_path, schedule="0 5 * * *").timetable

    assert type(timetable).__name__ == "CronDataIntervalTimetable"


@pytest.mark.parametrize(
    "values",
    [
        {"select": ["--full-refresh"]},
        {"select": "tag:nightly"},
        {"select": ["a b"]},
        {"threads": 0},
        {"threads": 65},
        {"full_refresh": "yes"},
        {"vars": ["a"]},
    ],
    ids=str,
)
def test_rejects_params_that_dbt_would_misread(tmp_path: Path, values: dict[str, object]) -> None:
    """What a person types cannot become an option of dbt, and a wrong type is said in the form."""
    params = dag_of(tmp_path).params
    for name, value in values.items():
        with pytest.raises(Exception, match="Invalid input for param"):
            params[name] = value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"render": "tree"}, "render must be one of nodes, run, got 'tree'"),
        ({"capacity": "ec2"}, "capacity must be one of fargate, fargate_spot, got 'ec2'"),
        ({"subnet_ids": "subnet-1,subnet-2"}, "subnet_ids must be a list, got the text 'subnet-1,subnet-2'"),
        ({"format_version": 2}, "deployment.json must have format_version 1, got 2"),
    ],
)
def test_rejects_a_deployment_that_it_does_not_understand(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """The import error in Airflow names the field, what it got and what is allowed."""
    with pytest.raises((ValueError, TypeError), match=message):
        dag_of(tmp_path, **change)


def test_rejects_a_deployment_that_lacks_values() -> None:
    """Every missing value is named at once."""
    incomplete = {name: value for name, value in DEPLOYMENT.items() if name not in {"cluster_arn", "bucket_name"}}

    with pytest.raises(ValueError, match="the deployment lacks bucket_name, cluster_arn"):
        Deployment.from_mapping(incomplete)


def test_ephemeral_models_are_no_tasks(tmp_path: Path) -> None:
    """They are parts of others and never built."""
    nodes = [graph_node("model.shop.part") | {"materialized": "ephemeral"}, graph_node("model.shop.whole")]
    project = write_dag_folder(tmp_path, DEPLOYMENT, {"format_version": 1, "project": "shop", "nodes": nodes})

    assert [node.unique_id for node in read_nodes(project)] == ["model.shop.whole"]


def test_selector_means_one_node() -> None:
    """A name alone may belong to another package or to a folder."""
    node = Node(
        unique_id="model.shop.customers.v2", resource_type="model", name="customers.v2", package="shop", folder=("marts",),
        depends_on=(), tests=(),
    )  # fmt: skip

    assert node.selector == "customers.v2,package:shop,resource_type:model"
