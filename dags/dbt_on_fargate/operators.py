"""The tasks of the DAG: the one that runs dbt in a container, and one for each node."""

import copy
import functools
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, cast

from airflow.triggers.base import StartTriggerArgs

from . import addresses, assets, compat, links
from .compat import AirflowException, AirflowFailException, BaseOperator, BaseOperatorLink, Context, TaskGroup
from .deployment import Deployment, Node, RecordPlace
from .late import Late

if TYPE_CHECKING:
    from . import running
    from .containers import Container
else:
    running = Late(f"{__package__}.running")

_SECONDS_BEFORE_ANOTHER_LAUNCH = (15, 30, 60, 120, 240, 300)


class _ContainerOperator(BaseOperator):
    """What the run task and a cleared node have in common: they launch one container and wait for it without a worker."""

    operator_extra_links: Collection[BaseOperatorLink] = (
        links.TaskLink(),
        links.LogLink(),
        links.ReportLink(),
        links.DocsLink(),
    )

    deployment: Deployment
    run_task_id: str
    # By task id; shared by all tasks of the DAG.
    nodes: Mapping[str, Node]
    link_addresses: Mapping[str, str] = MappingProxyType({})
    _live_task_arn: str | None = None

    def on_kill(self) -> None:
        """Stop the container when the task is killed while it has a worker."""
        if self._live_task_arn is not None:
            running.Containers(self.deployment).stop(self._live_task_arn, "the Airflow task was killed")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> object:
        """
        Go on after a deferral; one that failed or timed out stops the container first.

        Airflow runs no method of the operator when a trigger cannot be imported or outlives `execution_timeout`.
        """
        if next_method != "__fail__":
            return cast("object", super().resume_execution(next_method, next_kwargs, cast("Any", context)))
        try:
            return cast("object", super().resume_execution(next_method, next_kwargs, cast("Any", context)))
        except AirflowException as error:
            raise self._failed(context, f"{error}: {self._stop_what_was_launched(context)}") from error

    def _record(self, context: Context) -> tuple[str, int]:
        """
        The record and the attempt in it for this try.

        Airflow's own retries continue a record. When a person clears the task Airflow adds the task's retries to the tries it has had,
        so that `max_tries` less the retries tells how many tries came before.
        """
        instance = context["ti"]
        base = running.record_id(context["run_id"])
        earlier_tries = max(0, instance.max_tries - (self.retries or 0))
        if earlier_tries == 0 and self.task_id == self.run_task_id:
            return base, instance.try_number
        return (
            running.cleared_record_id(base, task_id=self.task_id, generation=earlier_tries),
            max(1, instance.try_number - earlier_tries),
        )

    def _launch(self, context: Context, *, spec: dict[str, Any], refusals: int = 0) -> dict[str, Any]:
        """Launch the container of this try, unless it was launched, and defer until it has ended; returns only if it has."""
        record, attempt = self._record(context)
        instance = context["ti"]
        token = running.launch_token(
            dag_id=instance.dag_id, run_id=context["run_id"], task_id=self.task_id, try_number=instance.try_number
        )
        containers = running.Containers(self.deployment)
        known = containers.all()
        mine = next((found for found in known if found.started_by == token), None)
        if mine is not None:
            self.log.info("this try has launched container %s already", mine.task_id)
            self._wait_for(context, mine, record=record, attempt=attempt)
        others = [found for found in known if not found.is_gone and not found.is_trial]
        for other in others:
            if other.record_id == record and other.attempt is not None and not other.is_being_stopped:
                self.log.info("container %s of an earlier try is still at work: waiting for it", other.task_id)
                self._wait_for(context, other, record=record, attempt=other.attempt)
        if others:
            self._wait_for_others(context, others, spec=spec)
        if attempt > 1 and (finished := self._finished_earlier(record, attempt)) is not None:
            self.log.info("attempt %s, of an earlier try, has finished the run", finished)
            return self._conclude(context, record=record, attempt=finished, container=None, is_finished=True)
        environment = self._environment(context, record=record, attempt=attempt, spec=spec)
        try:
            container = containers.launch(token=token, environment=environment)
        except running.LaunchRefusedError as refusal:
            if refusal.may_pass and refusals < len(_SECONDS_BEFORE_ANOTHER_LAUNCH):
                seconds = _SECONDS_BEFORE_ANOTHER_LAUNCH[refusals]
                self.log.warning("AWS did not start the container: %s; trying again in %s s", refusal, seconds)
                self._pause(context, seconds, [], spec=spec, refusals=refusals + 1)
            message = running.explain.refused_launch(str(refusal))
            raise self._failed(context, message, may_pass=refusal.may_pass) from refusal
        self.log.info("launched container %s", container.task_id)
        self._wait_for(context, container, record=record, attempt=attempt)
        return None

    def relaunch(self, context: Context, event: object, spec: dict[str, Any], refusals: int) -> dict[str, Any]:  # noqa: ARG002 -- Airflow passes the event
        """Go on after a pause."""
        return self._launch(context, spec=spec, refusals=refusals)

    def ended(
        self, context: Context, event: dict[str, Any], task_arn: str, record: str, attempt: int
    ) -> dict[str, Any]:
        """Go on after the container's end."""
        self._show_links(context, task_id=task_arn.rpartition("/")[2], record=record, attempt=attempt)
        if event["is_overdue"]:
            running.Containers(self.deployment).stop(task_arn, "the container outlived its own deadline")
            raise self._failed(context, "the container outlived its own deadline and was stopped")
        container = None if event["container"] is None else running.Container(**event["container"])
        return self._conclude(
            context, record=record, attempt=attempt, container=container, is_finished=event["is_finished"]
        )

    def _conclude(
        self, context: Context, *, record: str, attempt: int, container: "Container | None", is_finished: bool
    ) -> dict[str, Any]:
        """The summary of a run that succeeded; raises for one that did not."""
        reader = running.open_record(self.deployment.record_place, record)
        end = reader.end(attempt, within_seconds=running.SECONDS_FOR_THE_END if is_finished else 0.0)
        if end is None:
            message = (
                "the container ended without finishing its record, and AWS remembers nothing of it"
                if container is None
                else running.explain.stopped_container(container)
            )
            raise self._failed(context, message)
        for line in self._link_lines():
            self.log.info("%s", line)
        if running.went_well(end, self._own()):
            if self.deployment.notify:
                self._leave_notice(context, end["headline"], end)
            self.log.info("%s", end["headline"])
            return running.summary(end)
        # What dbt found wrong is wrong the next time, too; what did not get to its end may.
        raise self._failed(context, running.explain.failed_nodes(end), may_pass=end["outcome"] != "failed", end=end)

    def _own(self) -> list[str]:
        """What must have gone well for this task to be green; empty for all of the run."""
        return []

    def _failed(
        self, context: Context, message: str, *, may_pass: bool = True, end: Mapping[str, Any] | None = None
    ) -> Exception:
        """The exception for a failure, which is told to the tasks that wait for this one and to the notifier."""
        context["ti"].xcom_push(key=running.REASON_XCOM, value=message)
        if self.deployment.notify:
            self._leave_notice(context, message, end)
        lines = "\n".join(self._link_lines())
        text = f"{message}\n{lines}" if lines else message
        return AirflowException(text) if may_pass else AirflowFailException(text)

    def _leave_notice(self, context: Context, message: str, end: Mapping[str, Any] | None) -> None:
        addresses = self.link_addresses
        found = running.notice.of_failure(message, addresses) if end is None else running.notice.of_end(end, addresses)
        context["ti"].xcom_push(key=running.notice.XCOM_KEY, value=found)

    def _finished_earlier(self, record: str, attempt: int) -> int | None:
        reader = running.open_record(self.deployment.record_place, record)
        for number in sorted((number for number in reader.attempt_numbers() if number < attempt), reverse=True):
            end = reader.end(number)
            return number if end is not None and end["outcome"] in {"success", "failed"} else None
        return None

    def _environment(self, context: Context, *, record: str, attempt: int, spec: dict[str, Any]) -> dict[str, str]:
        instance = context["ti"]
        launched_by = {
            "kind": "airflow",
            "dag_id": instance.dag_id,
            "dag_run_id": context["run_id"],
            "task_id": self.task_id,
            "try_number": str(instance.try_number),
            "url": str(instance.log_url),
        }
        return running.launch_environment(
            record_id=record,
            attempt=attempt,
            launched_by=launched_by,
            spec=spec,
            write_spec=lambda large: running.open_record(self.deployment.record_place, record).write_spec(large),
        )

    def _wait_for(self, context: Context, container: "Container", *, record: str, attempt: int) -> NoReturn:
        self._live_task_arn = container.arn
        context["ti"].xcom_push(key="ecs_task_arn", value=container.arn)
        self._show_links(context, task_id=container.task_id, record=record, attempt=attempt)
        for line in self._link_lines():
            self.log.info("%s", line)
        self.defer(
            trigger=running.ContainerTrigger(
                deployment=self.deployment.as_mapping(),
                task_arn=container.arn,
                record=record,
                attempt=attempt,
                run_task_id=self.run_task_id,
                since=time.time(),
                own=self._own(),
            ),
            method_name="ended",
            kwargs={"task_arn": container.arn, "record": record, "attempt": attempt},
            timeout=self._time_left(context),
        )

    def _time_left(self, context: Context) -> timedelta | None:
        """What is left of `execution_timeout`, which Airflow 3 does not apply to a task that is deferred."""
        if self.execution_timeout is None:
            return None
        over: timedelta = datetime.now(UTC) - context["ti"].start_date
        return max(timedelta(seconds=1), self.execution_timeout - over)

    def _wait_for_others(self, context: Context, others: "Sequence[Container]", *, spec: dict[str, Any]) -> NoReturn:
        base = running.record_id(context["run_id"])
        for other in others:
            # What was launched for this DAG run before someone cleared it is of no use to anyone.
            if other.record_id is not None and other.record_id.partition(".clear-")[0] == base:
                if not other.is_being_stopped:
                    running.Containers(self.deployment).stop(other.arn, "the Airflow task was cleared")
                self.log.info("container %s of this run is being stopped: waiting until it is gone", other.task_id)
            else:
                self.log.info("container %s of this project is at work: waiting until it is gone", other.task_id)
        arns = [other.arn for other in others]
        self._pause(context, self.deployment.deadline_seconds, arns, spec=spec, refusals=0)

    def _pause(
        self, context: Context, seconds: float, task_arns: list[str], *, spec: dict[str, Any], refusals: int
    ) -> NoReturn:
        self.defer(
            trigger=running.PauseTrigger(deployment=self.deployment.as_mapping(), task_arns=task_arns, seconds=seconds),
            method_name="relaunch",
            kwargs={"spec": spec, "refusals": refusals},
            timeout=self._time_left(context),
        )

    def _stop_what_was_launched(self, context: Context) -> str:
        instance = context["ti"]
        token = running.launch_token(
            dag_id=instance.dag_id, run_id=context["run_id"], task_id=self.task_id, try_number=instance.try_number
        )
        live = [
            found
            for found in running.Containers(self.deployment).all()
            if found.started_by == token and not found.is_gone
        ]
        for container in live:
            running.Containers(self.deployment).stop(container.arn, "the Airflow task timed out or its trigger failed")
        return "the container was stopped" if live else "no container is at work"

    def _show_links(self, context: Context, *, task_id: str, record: str, attempt: int) -> None:
        self.link_addresses = addresses.addresses(self.deployment, task_id=task_id, record=record, attempt=attempt)
        if compat.IS_AIRFLOW_3:
            # Airflow stores them at the end of a task; on-call wants them while it runs.
            for link in self.operator_extra_links:
                context["ti"].xcom_push(key=link.xcom_key, value=self.link_addresses[link.name])

    def _link_lines(self) -> list[str]:
        return [f"{name}: {address}" for name, address in self.link_addresses.items()]

    def _waiting(self, context: Context) -> list[str]:
        """The node tasks of this DAG run that wait to be built."""
        states = compat.task_states(dag_id=context["ti"].dag_id, run_id=context["run_id"])
        return [
            task_id for task_id in self.nodes if task_id in states and states[task_id] not in compat.FINISHED_STATES
        ]


class DbtRunOperator(_ContainerOperator):
    """Runs dbt in one container for the whole DAG run."""

    ui_color = "#ffd9cc"

    def __init__(self, *, deployment: Deployment, run_task_id: str, nodes: Mapping[str, Node], **kwargs: Any) -> None:  # noqa: ANN401 -- whatever Airflow takes
        super().__init__(**kwargs)
        self.deployment = deployment
        self.run_task_id = run_task_id
        self.nodes = nodes

    def execute(self, context: Context) -> dict[str, Any]:
        """Launch the container, unless this DAG run has one, and wait for its end without a worker."""
        spec = spec_of_params(context["params"]) | spec_of_interval(context)
        record, _ = self._record(context)
        if self.nodes and record != running.record_id(context["run_id"]):
            waiting = self._waiting(context)
            if waiting and len(waiting) < len(self.nodes):
                self.log.info("building what was cleared: %s", ", ".join(waiting))
                spec = spec | {"select": [self.nodes[task_id].selector for task_id in waiting], "exclude": []}
        return self._launch(context, spec=spec)


class DbtNodeOperator(_ContainerOperator):
    """
    Shows one model, seed or snapshot, with its tests.

    It has no worker: the scheduler hands it to the triggerer, which ends it. Only a node that someone cleared after its run was over
    gets a worker, to launch a container for all nodes that were cleared.
    """

    ui_color = "#e8f1fa"
    start_from_trigger = True
    # In its log only: each task's links would be deserialized with each trigger of the DAG.
    operator_extra_links = ()

    # Not in the class above: Airflow takes much of the time of each `__init__` on the way to its own, for each node.
    def __init__(
        self,
        *,
        deployment: Deployment,
        run_task_id: str,
        nodes: Mapping[str, Node],
        node: Node,
        **kwargs: Any,  # noqa: ANN401 -- whatever Airflow takes
    ) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment
        self.run_task_id = run_task_id
        self.nodes = nodes
        self._show(node)

    def another(self, *, task_id: str, task_group: TaskGroup | None, node: Node) -> "DbtNodeOperator":
        """
        A task of the same DAG like this one, which no edge leads to or from yet, for another node.

        Airflow's `__init__`, the same for every node, takes most of the time of parsing a large project.
        """
        task = copy.copy(self)
        own = vars(task)
        # Airflow changes some of them for each task, and a cluster policy may change any.
        own |= {name: copy.copy(value) for name, value in own.items() if isinstance(value, dict | list | set)}
        own |= {"upstream_task_ids": set(), "downstream_task_ids": set(), "task_group": None, "nodes": self.nodes}
        own["task_id"] = task_group.child_id(task_id) if task_group else task_id  # type: ignore[no-untyped-call]  # Airflow's
        own["_BaseOperator__init_kwargs"] |= {"task_id": task_id, "task_group": task_group, "node": node}
        task._show(node)  # noqa: SLF001 -- of this class
        if task_group is not None:
            task_group.add(task)
        self.dag.add_task(task)
        return task

    def _show(self, node: Node) -> None:
        self.node = node
        self.start_trigger_args = _start_args("triggers.NodeTrigger", self._trigger_kwargs(), next_method="rebuild")

    def execute(self, context: Context) -> None:  # noqa: ARG002 -- Airflow's signature
        """Wait without a worker where the scheduler cannot hand a task to the triggerer (Airflow 3.0 to 3.2)."""
        self.defer(trigger=running.NodeTrigger(**self._trigger_kwargs()), method_name="rebuild")

    def rebuild(self, context: Context, event: object = None) -> dict[str, Any]:  # noqa: ARG002 -- Airflow passes the event
        """Launch one container for all nodes of this DAG run that were cleared."""
        waiting = self._waiting(context)
        context["ti"].xcom_push(key=running.SELECTION_XCOM, value=waiting)
        self.log.info("building what was cleared: %s", ", ".join(waiting))
        params = spec_of_params(context["params"]) | spec_of_interval(context)
        spec = {name: value for name, value in params.items() if name not in {"select", "exclude"}}
        return self._launch(context, spec=spec | {"select": [self.nodes[task_id].selector for task_id in waiting]})

    def _own(self) -> list[str]:
        return [self.node.unique_id, *self.node.tests]

    def _trigger_kwargs(self) -> dict[str, Any]:
        return {
            "place": _as_text(self.deployment.record_place),
            "unique_id": self.node.unique_id,
            "tests": " ".join(self.node.tests),
            "run_task_id": self.run_task_id,
        }


class DbtResultOperator(BaseOperator):
    """
    Ends as the DAG run shall end: red if any node is, whatever else was set by hand.

    Airflow takes a run's state from the tasks that nothing follows; without this one, that would be the run task alone.
    """

    ui_color = "#e2f0e2"
    start_from_trigger = True

    def __init__(self, *, deployment: Deployment, run_task_id: str, **kwargs: Any) -> None:  # noqa: ANN401 -- whatever Airflow's operators take
        super().__init__(**kwargs)
        self._kwargs: dict[str, Any] = {"place": _as_text(deployment.record_place), "run_task_id": run_task_id}
        self.start_trigger_args = _start_args("triggers.ResultTrigger", self._kwargs, next_method="execute")

    def execute(self, context: Context) -> None:  # noqa: ARG002 -- Airflow's signature
        """Wait without a worker where the scheduler cannot hand a task to the triggerer."""
        self.defer(trigger=running.ResultTrigger(**self._kwargs), method_name="execute")


class DbtAssetsOperator(BaseOperator):
    """
    Updates the assets of what a run built, and of nothing else; other DAGs are scheduled on them.

    Airflow makes events of a task's assets only when a worker ends it, so this is the one task of a green run that takes one, unless
    nothing was built. It does so while the container makes docs and report.
    """

    ui_color = "#fdf3d7"
    start_from_trigger = True

    def __init__(self, *, deployment: Deployment, run_task_id: str, nodes: Sequence[Node], **kwargs: Any) -> None:  # noqa: ANN401 -- whatever Airflow's operators take
        self._uris = {
            node.unique_id: assets.node_uri(deployment.environment, deployment.project, node.unique_id)
            for node in nodes
        }
        self._project_uri = assets.project_uri(deployment.environment, deployment.project)
        outlets = [assets.asset(uri) for uri in (self._project_uri, *self._uris.values())]
        super().__init__(outlets=outlets, **kwargs)
        self._nodes = list(nodes)
        self._kwargs: dict[str, Any] = {"place": _as_text(deployment.record_place), "run_task_id": run_task_id}
        self.start_trigger_args = _start_args("asset_trigger.AssetsTrigger", self._kwargs, next_method="update")

    def execute(self, context: Context) -> None:  # noqa: ARG002 -- Airflow's signature
        """Wait without a worker where the scheduler cannot hand a task to the triggerer."""
        self.defer(trigger=running.AssetsTrigger(**self._kwargs), method_name="update")

    def update(self, context: Context, event: dict[str, Any]) -> None:
        """Leave this task those of its assets that were built; Airflow makes an event of each when the task has ended."""
        facts = event["nodes"]
        built = running.built(facts, self._nodes)
        extras = {
            self._uris[node.unique_id]: {"run_id": event["record"], **facts[node.unique_id]}
            for node in built
            if node.unique_id in event["fresh"]
        }
        if extras and len(built) == len(self._nodes):
            extras[self._project_uri] = {"run_id": event["record"]}
        self.outlets = [outlet for outlet in self.outlets if outlet.uri in extras]
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = extras[outlet.uri]
            self.log.info("updated: %s", outlet.uri)


@functools.cache
def _as_text(place: RecordPlace) -> str:
    # Airflow 3 deserializes the whole DAG for each trigger that it starts: what is nested costs the square of the number of nodes.
    return json.dumps(asdict(place))


def _start_args(trigger: str, kwargs: dict[str, Any], *, next_method: str) -> StartTriggerArgs:
    return StartTriggerArgs(
        trigger_cls=f"{__package__}.{trigger}",
        trigger_kwargs=kwargs,
        next_method=next_method,
        next_kwargs=None,
        timeout=None,
    )


def spec_of_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the run spec that a person filled in; what is empty is left to the deployment."""
    return {name: params[name] for name in ("select", "exclude", "vars", "full_refresh", "threads") if params.get(name)}


def spec_of_interval(context: Context) -> dict[str, Any]:
    """The data interval of a backfill as dbt variables; a person's own variables win. Other runs carry none: dbt would parse anew."""
    run = context["dag_run"]
    if str(getattr(run.run_type, "value", run.run_type)) != "backfill":
        return {}
    interval = {
        "data_interval_start": context["data_interval_start"].isoformat(),
        "data_interval_end": context["data_interval_end"].isoformat(),
    }
    return {"vars": interval | dict(context["params"].get("vars") or {})}
