"""What waits in the triggerer until it is known which of the run's data was built."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow.triggers.base import TaskSkippedEvent, TriggerEvent

from . import compat
from .deployment import Node
from .follower import RunFollower, follow_run
from .record import NodeResult, newest_record, record_id, succeeded, went_well
from .triggers import WaitingTrigger


def built(nodes: Mapping[str, Mapping[str, Any]], known: Sequence[Node]) -> list[Node]:
    """Those of `known` that are green: they and their tests are as they should be. `nodes` is what is known of each by unique id."""
    return [node for node in known if went_well({"nodes": nodes}, [node.unique_id, *node.tests])]


class AssetsTrigger(WaitingTrigger):
    """
    Waits until the newest container of the run is done with all nodes, or the run task is over, and tells what was built.

    Fires {"record": the record's name, "nodes": what became of each node and test, over all containers of this DAG run, "fresh": the
    unique ids that the newest record is about}; a worker makes events of it, because Airflow makes none for a task that ends in the
    triggerer. Skips its task if nothing was built: that takes no worker.
    """

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        task = self._try
        since = None if task.try_number == 1 else compat.tried_since(task)
        async with follow_run(
            self._place, dag_id=task.dag_id, run_id=task.run_id, run_task_id=self._run_task_id
        ) as follower:
            if since is not None:
                follower.wants_cleared = True
            await follower.look_afresh()
            while not (follower.run_task_is_over or _is_settled(self._newest(follower), follower, since)):
                await follower.next_poll()
            record = self._newest(follower)
            latest = _latest(follower)
            fresh = sorted(follower.records[record].unique_ids()) if record in follower.records else []
        if not any(succeeded(latest[unique_id]) for unique_id in fresh):
            self.log.info("nothing was built")
            yield TaskSkippedEvent()
            return
        nodes = {unique_id: _facts(result) for unique_id, result in latest.items()}
        yield TriggerEvent({"record": record, "nodes": nodes, "fresh": fresh})  # type: ignore[no-untyped-call]  # Airflow's

    def _newest(self, follower: RunFollower) -> str:
        base = record_id(self._try.run_id)
        return newest_record(follower.records, base=base, task_id=self._run_task_id)


def _is_settled(record: str, follower: RunFollower, since: datetime | None) -> bool:
    known = follower.records.get(record)
    if known is None or not known.attempts:
        return False
    attempt = known.attempts[max(known.attempts)]
    # A record of before someone cleared the run is settled, too.
    is_new = since is None or any(result.finished_at >= since for result in attempt.results.values())
    return is_new and attempt.is_settled


def _latest(follower: RunFollower) -> dict[str, NodeResult]:
    results = [result for attempt in follower.attempts() for result in attempt.results.values()]
    return {result.unique_id: result for result in sorted(results, key=lambda result: result.finished_at)}


def _facts(result: NodeResult) -> dict[str, Any]:
    facts: dict[str, Any] = {"status": result.status}
    if result.relation:
        facts["relation"] = result.relation
    if result.rows is not None:
        facts["rows"] = result.rows
    return facts
