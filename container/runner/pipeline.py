"""The steps of a run, one after the other, and what each one's ending means for those after it."""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.dbt_session import DbtSession, StepResult
from runner.dbt_types import DbtObject
from runner.endings import Endings
from runner.events import EventReader, node_result
from runner.nodes import NodeLedger, NodeResult, PlannedNode
from runner.outcome import NodeStatus, Outcome, RunnerError
from runner.personal_data import personal_data_of
from runner.record import AttemptRecord
from runner.run_spec import Policy, Step, StepName

_LOG = logging.getLogger("runner")
_BAD = frozenset({Outcome.FAILED, Outcome.ERROR, Outcome.INTERRUPTED})
_ARTIFACTS = ("run_results.json", "sources.json", "manifest.json", "catalog.json")
_ARTIFACTS_BY_STEP = {
    StepName.SOURCE_FRESHNESS: ("sources.json",),
    StepName.DOCS: ("catalog.json", "manifest.json", "static_index.html"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEnding:
    """How one step of the run ended."""

    step: Step
    number: int
    outcome: Outcome
    seconds: float
    message: str | None = None

    @property
    def folder(self) -> str:
        """The step's folder in the record, e.g. `02-build`."""
        return f"{self.number:02d}-{self.step.name}"

    def as_json(self) -> dict[str, Any]:
        """Return the entry of `steps` in end.json."""
        entry = {
            "name": self.step.name.value,
            "policy": self.step.policy.value,
            "outcome": self.outcome.value,
            "seconds": round(self.seconds, 3),
        }
        return entry | ({"message": self.message} if self.message else {})


class _StepObserver:
    """Passes on what happens in one step to the ledger."""

    def __init__(self, ledger: NodeLedger, step: str, done: Mapping[str, NodeResult], endings: Endings) -> None:
        self._ledger = ledger
        self._step = step
        self._endings = endings
        self.done = done

    def planned(self, nodes: Sequence[PlannedNode], left_out: frozenset[str]) -> None:
        self._ledger.plan(self._step, nodes)
        for unique_id in sorted(left_out):
            self._ledger.finished(self.done[unique_id])

    def started(self, unique_id: str) -> None:
        self._ledger.started(self._step, unique_id)

    def finished(self, result: DbtObject) -> None:
        entry = node_result(result, step=self._step)
        reason = self._endings.reason
        if reason and entry.status is NodeStatus.ERROR:
            # Its session was ended under it; what the driver says about that is not the cause.
            message = f"cut off while it ran: {reason}"
            entry = replace(entry, status=NodeStatus.NOT_RUN, cut_off=True, message=message)
        elif reason and entry.status is NodeStatus.SKIPPED:
            # By the stop, too: dbt may still skip what depends on a node that was cut off.
            entry = replace(entry, status=NodeStatus.NOT_RUN, message=f"not run: {reason}")
        planned = entry.unique_id in self._ledger.planned(self._step)
        if planned or (entry.resource_type == "operation" and (entry.cut_off or entry.status is NodeStatus.ERROR)):
            self._ledger.finished(entry)


class Pipeline:
    """Runs the steps in one dbt session; results of each are kept under the step's own name in `results_folder`."""

    def __init__(
        self,
        *,
        session: DbtSession,
        steps: Sequence[Step],
        record: AttemptRecord,
        ledger: NodeLedger,
        events: EventReader,
        results_folder: Path,
        done: Callable[[str], Mapping[str, NodeResult]],
        endings: Endings,
        sampled_rows: int,
    ) -> None:
        self._session = session
        self._steps = steps
        self._record = record
        self._ledger = ledger
        self._events = events
        self._results_folder = results_folder
        self._done = done
        self._endings = endings
        self._sampled_rows = sampled_rows
        self.endings: list[StepEnding] = []
        self.samples: dict[tuple[str, str], Mapping[str, Any]] = {}
        """By step and unique id, rows that a test has found."""
        self.withheld: dict[tuple[str, str], str] = {}
        """By step and unique id, why rows that a test has found are not even read."""
        self._begun: tuple[Step, int, float] | None = None

    def run(self) -> None:
        """
        Run all steps.

        After a step that must pass has not, the steps after it that must pass are skipped; those that only report still
        run, unless dbt could not do its work at all.
        """
        for number, step in enumerate(self._steps, start=1):
            because = self._reason_to_skip(step)
            if because:
                self._skip(step, number, because)
            else:
                self._run_step(step, number)

    def _reason_to_skip(self, step: Step) -> str | None:
        reason = self._endings.reason
        if reason:
            return reason
        for ending in self.endings:
            if ending.step.policy is Policy.MUST_PASS and ending.outcome in _BAD:
                if step.policy is Policy.MUST_PASS:
                    return f"step {ending.step.name} did not pass"
                if ending.outcome is not Outcome.FAILED and step.name is not StepName.DOCS:
                    return f"step {ending.step.name} did not finish"
        return None

    def _run_step(self, step: Step, number: int) -> None:
        started = time.monotonic()
        self._begun = (step, number, started)
        self._record.event("step_started", step=step.name.value)
        _LOG.info("step %s starts", step.name.value, extra={"step": step.name.value})
        self._clear_artifacts()
        self._events.step = step.name.value
        result = self._invoke(step)
        self._events.step = None
        reason = self._endings.reason
        cut_off = any(entry.cut_off for entry in self._ledger.results(step.name.value))
        interrupted = reason is not None and (result.outcome is Outcome.ERROR or cut_off)
        self._ledger.close(step.name.value, because=reason if interrupted else result.message, stopped=interrupted)
        self._keep_artifacts(step, number)
        self._sample_failed_rows(step)
        outcome, message = (Outcome.INTERRUPTED, reason) if interrupted else self._judge(step, result)
        self._end_step(step, number, outcome, time.monotonic() - started, message)

    def _sample_failed_rows(self, step: Step) -> None:
        for result in self._ledger.results(step.name.value):
            if not self._sampled_rows or not result.failures or result.resource_type != "test" or self._endings.reason:
                continue
            personal = personal_data_of(self._session.manifest, result.unique_id)
            if personal:
                self.withheld[step.name.value, result.unique_id] = personal
                continue
            try:
                found = self._session.sample_rows(result.compiled_code or "", limit=self._sampled_rows)
            except RunnerError as error:
                _LOG.warning("no rows of %s are kept: %s", result.unique_id, error)
                continue
            self.samples[step.name.value, result.unique_id] = found

    def abandon(self, reason: str) -> None:
        """End the step that is under way, while the main thread hangs in it."""
        if self._begun is not None:
            step, number, started = self._begun
            self._ledger.close(step.name.value, because=reason, stopped=True)
            self._end_step(step, number, Outcome.INTERRUPTED, time.monotonic() - started, reason)

    def _invoke(self, step: Step) -> StepResult:
        try:
            with self._endings.interruptible():
                if step.name is StepName.DOCS:
                    return self._session.generate_docs(compile_nodes=self._some_model_was_not_compiled())
                observer = _StepObserver(self._ledger, step.name.value, self._done(step.name.value), self._endings)
                result = self._session.run(step.name, done=frozenset(observer.done), observer=observer)
                # Hooks are not run as nodes, and only dbt's list of results tells of them.
                for entry in result.results:
                    observer.finished(entry)
        except KeyboardInterrupt:
            result = StepResult(outcome=Outcome.ERROR, message="interrupted", results=())
        if self._endings.reason and result.outcome is Outcome.ERROR:
            self._session.cancel_queries()
        return result

    def _skip(self, step: Step, number: int, because: str) -> None:
        if step.name is not StepName.DOCS and self._session.manifest is not None:
            try:
                self._ledger.plan(step.name.value, self._session.plan(step.name))
            except RunnerError as error:
                _LOG.warning("the nodes of the skipped step %s are not known: %s", step.name.value, error)
        self._ledger.close(step.name.value, because=because)
        self._end_step(step, number, Outcome.SKIPPED, 0.0, because)

    def _judge(self, step: Step, result: StepResult) -> tuple[Outcome, str | None]:
        """Return the step's outcome: dbt's own word, but never success while a node that was asked for is not done."""
        if result.outcome is Outcome.ERROR:
            return Outcome.ERROR, result.message
        results = self._ledger.results(step.name.value)
        statuses = Counter(entry.status for entry in results)
        undone = self._ledger.undone(step.name.value)
        if result.outcome is Outcome.FAILED or undone:
            return Outcome.FAILED, result.message or _told(statuses)
        if not results and step.policy is Policy.MUST_PASS and step.name is not StepName.DOCS and self._nothing_else():
            return Outcome.ERROR, "the selection matches no node, so nothing was built"
        if statuses[NodeStatus.WARN]:
            return Outcome.WARN, _told(statuses)
        return Outcome.SUCCESS, None

    def _nothing_else(self) -> bool:
        """Whether no step that must pass has found a node, this one being the last of them."""
        must_pass = [step for step in self._steps if step.policy is Policy.MUST_PASS]
        ended = {ending.step.name for ending in self.endings}
        return all(
            not self._ledger.planned(step.name.value) and (step.name in ended or step is must_pass[-1])
            for step in must_pass
        )

    def _end_step(self, step: Step, number: int, outcome: Outcome, seconds: float, message: str | None) -> None:
        self._begun = None
        ending = StepEnding(step=step, number=number, outcome=outcome, seconds=seconds, message=message)
        self.endings.append(ending)
        self._record.event("step_finished", step=step.name.value, outcome=outcome.value, message=message)
        level = logging.ERROR if outcome in _BAD else logging.INFO
        words = f": {message}" if message else ""
        _LOG.log(
            level,
            "step %s ends with %s%s",
            step.name.value,
            outcome.value,
            words,
            extra={"step": step.name.value, "seconds": round(seconds, 3)},
        )

    def _some_model_was_not_compiled(self) -> bool:
        return any(
            not node.compiled
            for node in self._session.manifest.nodes.values()
            if node.resource_type in {"model", "snapshot"} and not node.is_ephemeral_model
        )

    def _clear_artifacts(self) -> None:
        # What a step did not write must not be taken for its own; docs needs the manifest that the build left.
        for name in _ARTIFACTS:
            if name != "manifest.json":
                (self._session.target_folder / name).unlink(missing_ok=True)

    def _keep_artifacts(self, step: Step, number: int) -> None:
        folder = self._results_folder / f"{number:02d}-{step.name}"
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARTIFACTS_BY_STEP.get(step.name, ("run_results.json", "manifest.json")):
            source = self._session.target_folder / name
            try:
                if source.exists():
                    shutil.copyfile(source, folder / name)
            except OSError as error:
                # What was built is built, whether or not its artifacts find room.
                _LOG.error("%s of step %s is lost: %s", name, step.name.value, error)


def _told(statuses: Counter[NodeStatus]) -> str | None:
    """Return e.g. "1 error, 2 skipped", None if there is nothing to tell."""
    words = [
        f"{statuses[status]} {status.value.replace('_', ' ')}"
        for status in NodeStatus
        if status is not NodeStatus.SUCCESS and statuses[status]
    ]
    return ", ".join(words) or None
