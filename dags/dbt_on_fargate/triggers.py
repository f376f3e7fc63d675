"""What waits in the triggerer: for a container, for other containers to be gone, and for one node each."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, cast

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from . import addresses, aws, compat, notice, task_ids
from .containers import Container, Containers
from .deployment import Deployment, RecordPlace
from .follower import RunFollower, follow_run
from .record import SECONDS_FOR_THE_END, open_record, summary, went_well
from .verdict import Outcome, Verdict, is_planned, verdict

_SECONDS_BETWEEN_LOOKS = 5.0
# What a container may need, beyond its own deadline, to be placed, to pull its image and to stop.
_START_SECONDS = 1800.0
_SECONDS_BEFORE_RESUMING = 8.0
# How long the first of the cleared nodes waits for others that are cleared with it.
_POLLS_BEFORE_LEADING = 2

# Under these keys a task that launches containers tells those that wait for them.
REASON_XCOM = "reason"
SELECTION_XCOM = "selection"

# Between tries to stop the container of a task that was killed.
_STOP_PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)

_OUT_OF_TIME = "the DAG run passed its time limit"

_RED_STATES = frozenset({"failed", "upstream_failed"})

_AIRFLOW_TELLS_OF_KILLS = hasattr(BaseTrigger, "on_kill")

# The event loop holds its tasks weakly.
_ENDINGS: set[asyncio.Task[None]] = set()


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for `work`, which goes on if this is cancelled: Airflow cancels a killed trigger every second until it has ended."""
    ending = asyncio.create_task(work)
    _ENDINGS.add(ending)
    ending.add_done_callback(_ENDINGS.discard)
    await asyncio.shield(ending)


class _Trigger(BaseTrigger):
    """What all triggers here have in common; the triggerer imports them from the DAG folder (docs/airflow.md)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's

    @property
    def _try(self) -> compat.TaskTry:
        """The try of the task that waits."""
        return cast("compat.TaskTry", self.task_instance)

    async def _only_moves(self) -> bool:
        """
        Whether a cancelled trigger goes on in another triggerer, or in this one when it is back, and its task still waits.

        To Airflow that looks like a task that was cleared, marked or timed out.
        """
        return await asyncio.to_thread(compat.deferred_by, self._try, self.trigger_id)

    def _classpath(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}"


class _DeploymentTrigger(_Trigger):
    """A trigger that deals with containers."""

    def __init__(self, *, deployment: dict[str, Any]) -> None:
        super().__init__()
        self._deployment = Deployment.from_mapping(deployment)

    async def _describe(self, task_arns: Sequence[str]) -> list[Container] | None:
        """The containers that ECS remembers; None if AWS cannot answer now."""
        try:
            return await asyncio.to_thread(Containers(self._deployment).describe, task_arns)
        except Exception as error:
            if not aws.may_pass(error):
                raise
            self.log.warning("AWS does not answer now, asking again: %s", error)
            return None


class ContainerTrigger(_DeploymentTrigger):
    """
    Waits for the end of one container, and stops it when its task is killed.

    Ends the task if all went well, for one node's task if that node and its tests did (`own`). Otherwise it fires {"container": how
    ECS describes it or None, "is_finished": whether its record is complete, "is_overdue": whether it outlived its own deadline},
    which a worker tells as an error. A complete record counts as the end: what comes after it is only AWS tidying up.
    """

    def __init__(
        self,
        *,
        deployment: dict[str, Any],
        task_arn: str,
        record: str,
        attempt: int,
        run_task_id: str,
        since: float,
        own: Sequence[str],
    ) -> None:
        super().__init__(deployment=deployment)
        self._task_arn = task_arn
        self._record = record
        self._attempt = attempt
        self._run_task_id = run_task_id
        self._since = since
        self._own = list(own)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer makes this trigger of again."""
        return self._classpath(), {
            "deployment": self._deployment.as_mapping(),
            "task_arn": self._task_arn,
            "record": self._record,
            "attempt": self._attempt,
            "run_task_id": self._run_task_id,
            "since": self._since,
            "own": self._own,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        try:
            event = await self._end()
            end = await asyncio.to_thread(self._read_end) if event["is_finished"] else None
            if end is not None and went_well(end, self._own):
                self.log.info("%s", end["headline"])
                yield TaskSuccessEvent(xcoms={"return_value": summary(end)} | self._notice(end))
                return
            # Airflow takes a task that is resumed before the process that deferred it has ended for one that was killed.
            await asyncio.sleep(max(0.0, self._since + _SECONDS_BEFORE_RESUMING - time.time()))
            yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # Airflow's
        except asyncio.CancelledError:
            if not _AIRFLOW_TELLS_OF_KILLS:
                await self.on_kill()
            raise

    async def on_kill(self) -> None:
        """Stop the container: someone cleared or marked the task, or its DAG run timed out."""
        await _to_its_end(self._stop_unless_it_only_moves())

    async def _stop_unless_it_only_moves(self) -> None:
        pauses = iter(_STOP_PAUSES_SECONDS)
        while True:
            try:
                if not await self._only_moves():
                    await self._stop()
            except Exception as error:
                # Airflow or AWS does not answer now; nobody else will ask for this container to be stopped before its deadline.
                pause = next(pauses, None)
                if pause is None:
                    raise
                self.log.warning("container %s is not stopped yet, trying again: %s", self._task_arn, error)
                await asyncio.sleep(pause)
            else:
                return

    async def _stop(self) -> None:
        self.log.info("the task was cleared, marked or timed out: stopping container %s", self._task_arn)
        await asyncio.to_thread(
            Containers(self._deployment).stop, self._task_arn, "the Airflow task was cleared, marked or timed out"
        )

    def _notice(self, end: dict[str, Any]) -> dict[str, Any]:
        if not self._deployment.notify:
            return {}
        task_id = self._task_arn.rpartition("/")[2]
        found = addresses.addresses(self._deployment, task_id=task_id, record=self._record, attempt=self._attempt)
        return {notice.XCOM_KEY: notice.of_end(end, found)}

    def _read_end(self) -> dict[str, Any] | None:
        record = open_record(self._deployment.record_place, self._record)
        return record.end(self._attempt, within_seconds=SECONDS_FOR_THE_END)

    async def _end(self) -> dict[str, Any]:
        task = self._try
        deadline = self._since + self._deployment.deadline_seconds + self._deployment.stop_timeout_seconds
        last_look = 0.0
        last_status = ""
        async with follow_run(
            self._deployment.record_place,
            dag_id=task.dag_id,
            run_id=task.run_id,
            run_task_id=self._run_task_id,
        ) as follower:
            follower.follow(self._record)
            while True:
                if follower.is_finished(self._record, self._attempt):
                    return _ended(None, is_finished=True)
                if time.monotonic() - last_look >= _SECONDS_BETWEEN_LOOKS:
                    last_look = time.monotonic()
                    found = await self._describe([self._task_arn])
                    container = found[0] if found else None
                    if container is not None and container.last_status != last_status:
                        last_status = container.last_status
                        self.log.info("container %s: %s", container.task_id, last_status.lower())
                    if found is not None and (container is None or container.is_gone):
                        # The last events may have been written after the last poll.
                        await follower.next_poll()
                        await follower.next_poll()
                        return _ended(container, is_finished=follower.is_finished(self._record, self._attempt))
                if time.time() > deadline + _START_SECONDS:
                    return _ended(None, is_finished=False, is_overdue=True)
                await follower.next_poll()


def _ended(container: Container | None, *, is_finished: bool, is_overdue: bool = False) -> dict[str, Any]:
    return {
        "container": None if container is None else asdict(container),
        "is_finished": is_finished,
        "is_overdue": is_overdue,
    }


class PauseTrigger(_DeploymentTrigger):
    """Waits until containers are gone, at most `seconds`; without containers it waits that long. Fires None."""

    def __init__(self, *, deployment: dict[str, Any], task_arns: Sequence[str], seconds: float) -> None:
        super().__init__(deployment=deployment)
        self._task_arns = list(task_arns)
        self._seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer makes this trigger of again."""
        return self._classpath(), {
            "deployment": self._deployment.as_mapping(),
            "task_arns": self._task_arns,
            "seconds": self._seconds,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        until = time.monotonic() + max(self._seconds, _SECONDS_BEFORE_RESUMING)
        while time.monotonic() < until:
            if self._task_arns:
                found = await self._describe(self._task_arns)
                if found is not None and all(container.is_gone for container in found):
                    await asyncio.sleep(_SECONDS_BEFORE_RESUMING)
                    break
            await asyncio.sleep(min(_SECONDS_BETWEEN_LOOKS, max(0.1, until - time.monotonic())))
        yield TriggerEvent(None)  # type: ignore[no-untyped-call]  # Airflow's


class NodeTrigger(_Trigger):
    """
    Waits for one node of the run, with its tests, and ends the node's task without any worker.

    A node that a person cleared alone, after its run was over, needs a container of its own: then the first of those that wait
    fires an ordinary event, which resumes it on a worker that launches one container for all of them.
    """

    def __init__(self, *, place: str, unique_id: str, tests: str, run_task_id: str) -> None:
        super().__init__()
        self._place = RecordPlace(**json.loads(place))
        self._unique_id = unique_id
        self._tests = tests.split()
        self._run_task_id = run_task_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer makes this trigger of again."""
        return self._classpath(), {
            "place": json.dumps(asdict(self._place)),
            "unique_id": self._unique_id,
            "tests": " ".join(self._tests),
            "run_task_id": self._run_task_id,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        try:
            end = await self._end()
        except asyncio.CancelledError:
            if not _AIRFLOW_TELLS_OF_KILLS:
                await self.on_kill()
            raise
        if end is None:
            self.log.info("cleared after its run was over: a worker launches a container for what was cleared")
            yield TriggerEvent(None)  # type: ignore[no-untyped-call]  # Airflow's
            return
        for line in end.lines:
            self.log.info("%s", line)
        match end.outcome:
            case Outcome.SUCCESS:
                yield TaskSuccessEvent()
            case Outcome.SKIPPED:
                yield TaskSkippedEvent()
            case Outcome.FAILED:
                yield TaskFailedEvent()

    async def on_kill(self) -> None:
        """Say why nothing follows: where a DAG run's time limit ends a task, Airflow leaves no word of it in the log."""
        await _to_its_end(self._say_that_nothing_follows())

    async def _say_that_nothing_follows(self) -> None:
        if not await self._only_moves():
            self.log.info("no longer waiting: %s, or someone set or cleared this task", _OUT_OF_TIME)

    async def _end(self) -> Verdict | None:
        task = self._try
        async with follow_run(
            self._place, dag_id=task.dag_id, run_id=task.run_id, run_task_id=self._run_task_id
        ) as follower:
            return await (self._first_end(follower) if task.try_number == 1 else self._cleared_end(follower))

    async def _first_end(self, follower: RunFollower) -> Verdict:
        while (found := self._verdict(follower, since=None)) is None:
            # Within a poll the records are read after the states: what was written before the end of the run task is known.
            if follower.run_task_is_over:
                return await self._nothing_came(follower, self._run_task_id)
            await follower.next_poll()
        return found

    async def _cleared_end(self, follower: RunFollower) -> Verdict | None:
        since = compat.tried_since(self._try)
        mine = self._try.task_id
        follower.wants_cleared = True
        await follower.look_afresh()
        run_builds_it = False
        leader: str | None = None
        polls_as_leader = 0
        while (found := self._verdict(follower, since=since)) is None:
            if not follower.run_task_is_over:
                # The run task was cleared as well, and takes what waits with it.
                run_builds_it = True
            elif run_builds_it:
                return await self._nothing_came(follower, self._run_task_id, since)
            elif leader is not None and follower.node_states.get(leader) in compat.FINISHED_STATES:
                selection = await self._xcom(leader, SELECTION_XCOM)
                if not isinstance(selection, list) or mine in selection:
                    return await self._nothing_came(follower, leader, since)
                leader = None
            else:
                waiting = sorted(
                    task_id for task_id, state in _nodes(follower).items() if state not in compat.FINISHED_STATES
                )
                leader = waiting[0] if waiting and waiting[0] != mine else None
                polls_as_leader = polls_as_leader + 1 if leader is None else 0
                if polls_as_leader > _POLLS_BEFORE_LEADING:
                    return None
            await follower.next_poll()
        return found

    def _verdict(self, follower: RunFollower, *, since: datetime | None) -> Verdict | None:
        return verdict(follower, unique_id=self._unique_id, tests=self._tests, since=since)

    async def _nothing_came(self, follower: RunFollower, builder: str, since: datetime | None = None) -> Verdict:
        interrupted = verdict(follower, unique_id=self._unique_id, tests=self._tests, since=since, nothing_follows=True)
        if interrupted is not None:
            return Verdict(interrupted.outcome, (*interrupted.lines, *await self._ending(follower, builder)))
        if not is_planned(follower, self._unique_id) and any(attempt.is_finished for attempt in follower.attempts()):
            return Verdict(Outcome.SKIPPED, ("not selected in this run",))
        first, *rest = await self._ending(follower, builder)
        return Verdict(Outcome.FAILED, (f"not built: {first}", *rest))

    async def _ending(self, follower: RunFollower, builder: str) -> tuple[str, ...]:
        """Why the task that was to build this node brings nothing more."""
        if builder == self._run_task_id and follower.run_task_state == "skipped":
            # The run task never skips itself. Airflow does so when a DAG run is out of time, maybe before it cancels this trigger.
            return (f"task {builder} was skipped: {_OUT_OF_TIME}, or someone set it by hand",)
        reason = await self._xcom(builder, REASON_XCOM)
        first = f"task {builder} ended before this node was done"
        return (first, *str(reason or f"task {builder} gave no reason; it was stopped or set by hand").splitlines())

    async def _xcom(self, task_id: str, key: str) -> object:
        task = self._try
        return await asyncio.to_thread(compat.xcom, dag_id=task.dag_id, run_id=task.run_id, task_id=task_id, key=key)


class WaitingTrigger(_Trigger):
    """A trigger that follows one DAG run, whatever its nodes are."""

    def __init__(self, *, place: str, run_task_id: str) -> None:
        super().__init__()
        self._place = RecordPlace(**json.loads(place))
        self._run_task_id = run_task_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer makes this trigger of again."""
        return self._classpath(), {"place": json.dumps(asdict(self._place)), "run_task_id": self._run_task_id}


class ResultTrigger(WaitingTrigger):
    """Waits until every node's task has ended, and ends its own task as the DAG run shall end. Takes no worker."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        task = self._try
        async with follow_run(
            self._place, dag_id=task.dag_id, run_id=task.run_id, run_task_id=self._run_task_id
        ) as follower:
            follower.wants_states = True
            await follower.look_afresh()
            while not await self._is_decided(follower):
                await follower.next_poll()
            states = _nodes(follower) | {self._run_task_id: follower.run_task_state}
        failed = sorted(task_id for task_id, state in states.items() if state in _RED_STATES)
        if failed:
            self.log.info("%s of %s tasks failed: %s", len(failed), len(states), ", ".join(failed))
            yield TaskFailedEvent()
        else:
            self.log.info("all that was asked for is built")
            yield TaskSuccessEvent()

    async def _is_decided(self, follower: RunFollower) -> bool:
        if follower.run_task_is_over and all(state in compat.FINISHED_STATES for state in _nodes(follower).values()):
            return True
        if self._try.try_number > 1 or not follower.is_a_success:
            return False
        # Where all is well the other tasks end now, too: no need to wait until Airflow knows, which takes seconds. Who set one by
        # hand meanwhile is heard.
        await follower.ask_for_states()
        states = [*_nodes(follower).values(), follower.run_task_state]
        return not any(state in _RED_STATES for state in states)


def _nodes(follower: RunFollower) -> dict[str, str | None]:
    return {task_id: state for task_id, state in follower.node_states.items() if task_id not in task_ids.RESERVED}
