"""One reader of a DAG run's records for all triggers of a process, whatever the number of nodes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from . import aws, compat
from .deployment import RecordPlace
from .record import Attempt, NodeResult, RunRecord, cleared_records, open_record, record_id

_POLL_SECONDS = 1.0
# How many polls pass between two looks for what seldom changes while a container is at work.
_POLLS_BETWEEN_LOOKS = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Key:
    place: RecordPlace
    dag_id: str
    run_id: str


class RunFollower:
    """
    What is known of one DAG run: its records in S3, and the states of its tasks where someone asked for them.

    `run_task_state` and `node_states` are those of a moment before the records were read,
    so that a finished run task means that its record has been read to its end.
    """

    def __init__(self, key: _Key, *, run_task_id: str) -> None:
        self._key = key
        self._run_task_id = run_task_id
        self._base = record_id(key.run_id)
        self._polls = 0
        self._wanted = {self._base}
        self._last_error = ""
        self.records: dict[str, RunRecord] = {}
        self.run_task_state: str | None = None
        self.node_states: dict[str, str | None] = {}
        self.wants_cleared = False
        self.wants_states = False
        self.changed = asyncio.Condition()

    @property
    def run_task_is_over(self) -> bool:
        """Whether Airflow does nothing more with the run task unless someone clears it."""
        return self.run_task_state in compat.FINISHED_STATES

    def attempts(self) -> list[Attempt]:
        """All attempts of all records."""
        return [attempt for record in self.records.values() for attempt in record.attempts.values()]

    def results(self, unique_id: str) -> list[tuple[NodeResult, Attempt]]:
        """All results of a node or test with the attempts that they are of, the oldest first."""
        found = [result for record in self.records.values() for result in record.results(unique_id)]
        return sorted(found, key=lambda result: result[0].finished_at)

    def is_finished(self, record: str, attempt: int) -> bool:
        """Whether the container of an attempt wrote the last of its events."""
        known = self.records.get(record)
        return known is not None and attempt in known.attempts and known.attempts[attempt].is_finished

    @property
    def is_a_success(self) -> bool:
        """Whether the newest attempt of what was asked for at first is over, and all is built and passed."""
        record = self.records.get(self._base)
        if record is None or not record.attempts:
            return False
        return record.attempts[max(record.attempts)].outcome == "success"

    def follow(self, record: str) -> None:
        """Read this record, too, from the next poll on."""
        self._wanted.add(record)

    async def next_poll(self) -> None:
        """Return after the poll that is under way, or else the next one."""
        async with self.changed:
            await self.changed.wait()

    async def look_afresh(self) -> None:
        """Return after a whole poll that asked for all that there is to ask."""
        await self.next_poll()
        self._polls = 0
        await self.next_poll()

    async def ask_for_states(self) -> None:
        """Ask Airflow for the states of the tasks, between two polls."""
        await asyncio.to_thread(self._ask_for_states)

    async def poll_for_ever(self) -> None:
        """Poll until cancelled; what AWS or Airflow cannot answer now is asked again."""
        while True:
            try:
                await asyncio.to_thread(self._poll)
            except Exception as error:  # noqa: BLE001 -- whatever it was, every waiting task would fail with it
                # Once is enough: what is refused is refused every second.
                if not aws.may_pass(error) and str(error) != self._last_error:
                    self._last_error = str(error)
                    _log.exception("cannot read the record of %s; trying again", self._key.run_id)
            async with self.changed:
                self.changed.notify_all()
            await asyncio.sleep(_POLL_SECONDS)

    def _poll(self) -> None:
        self._polls += 1
        looks = self._polls % _POLLS_BETWEEN_LOOKS == 1
        if looks or all(attempt.is_finished for attempt in self.attempts()):
            self._ask_for_states()
            if self.wants_cleared:
                for name in cleared_records(self._key.place, self._base):
                    self.follow(name)
        # The first one opens a session of AWS, which must not keep the event loop waiting.
        for name in self._wanted - self.records.keys():
            self.records = self.records | {name: open_record(self._key.place, name)}
        for record in self.records.values():
            quiet = all(attempt.is_finished for attempt in record.attempts.values())
            record.read_new(look_for_attempts=looks or quiet)

    def _ask_for_states(self) -> None:
        wanted = None if self.wants_cleared or self.wants_states else [self._run_task_id]
        states = compat.task_states(dag_id=self._key.dag_id, run_id=self._key.run_id, task_ids=wanted)
        self.run_task_state = states.pop(self._run_task_id)
        self.node_states = states


@dataclass
class _Shared:
    follower: RunFollower
    task: "asyncio.Task[None]"
    users: int = 0


_followers: dict[_Key, _Shared] = {}


@asynccontextmanager
async def follow_run(place: RecordPlace, *, dag_id: str, run_id: str, run_task_id: str) -> AsyncIterator[RunFollower]:
    """The follower of a DAG run, shared by all who hold it at the same time; it stops reading when the last one lets go."""
    key = _Key(place, dag_id, run_id)
    shared = _followers.get(key)
    if shared is None:
        follower = RunFollower(key, run_task_id=run_task_id)
        shared = _followers[key] = _Shared(follower, asyncio.create_task(follower.poll_for_ever()))
    shared.users += 1
    try:
        yield shared.follower
    finally:
        shared.users -= 1
        if shared.users == 0:
            del _followers[key]
            shared.task.cancel()
