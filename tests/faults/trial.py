"""One trial: attempts with faults, then one without, each judged by the record, the warehouse and the server."""

import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_cloud.redshift_stand_in import ActiveQuery
from tests.faults.checks import (
    Reference,
    Seen,
    secrets_found,
    slowest_event_seconds,
    violations_of,
    violations_of_the_result,
)
from tests.faults.faults import (
    FAULTS,
    KILLED_IN_LONG_QUERY,
    Context,
    Done,
    Moment,
    count_builds,
    query_seconds,
    random_moment,
)
from tests.faults.machine import SCHEMA, Attempt, Machine, end_session
from tests.faults.records import Graph, attempts_of

_LONGEST_ATTEMPT_SECONDS = 150.0
_STEPS_APART = ("seed", "run", "snapshot", "test", "docs")
_STEPS_OF_PLANS = (
    # By how often they are tried: what costs more less often.
    *([("build",)] * 5),
    *([("source_freshness", "build", "docs")] * 3),
    *([_STEPS_APART] * 2),
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a trial does, all of it made from its seed."""

    seed: int
    faults: list[tuple[str, Moment]]
    is_cold: bool
    is_fresh: bool
    stop_timeout_seconds: int
    spec: Mapping[str, Any]

    @classmethod
    def of(cls, seed: int) -> "Plan":
        """Make the plan; consecutive seeds go through all faults."""
        source = random.Random(seed)  # noqa: S311 - no secret, a trial that can be replayed
        names = list(FAULTS)
        is_cold = source.random() < 0.2
        chosen = [names[seed % len(names)]]
        if source.random() < 0.25 and chosen != [KILLED_IN_LONG_QUERY]:
            # What that one leaves behind is for an attempt that nothing disturbs.
            chosen.append(source.choice([name for name in names if name != KILLED_IN_LONG_QUERY]))
        faults = [(name, random_moment(source, fault=name, is_cold=is_cold)) for name in chosen]
        return cls(
            seed=seed,
            faults=faults,
            is_cold=is_cold,
            is_fresh=source.random() < 0.4,
            stop_timeout_seconds=source.choice((15, 20, 30)),
            spec={
                "steps": source.choice(_STEPS_OF_PLANS),
                "threads": source.choice((1, 2, 4, 4)),
                "deadline_seconds": 120,
            },
        )

    def __str__(self) -> str:
        """The seed, and what it stands for."""
        faults = ", then ".join(f"{name} {moment}" for name, moment in self.faults)
        how = ["cold" if self.is_cold else "warm", "fresh schema" if self.is_fresh else "schema of an earlier run"]
        return f"seed {self.seed}: {faults} ({', '.join(how)}, {json.dumps(self.spec)})"


@dataclass
class Report:
    """What came of a trial."""

    plan: Plan
    exit_codes: list[int | None] = field(default_factory=list)
    """Of the attempts in order; None for one that had to be killed though it was to end."""
    hits: int = 0
    resumed: int = 0
    """Nodes that the attempts did not repeat."""
    rebuilt: int = 0
    """Nodes that were built by more than one attempt, for a reason."""
    slowest_event_seconds: float = 0.0
    """How old the oldest event was when S3 took it, in attempts whose S3 was well."""
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


def make_reference(machine: Machine) -> Reference:
    """Make one undisturbed run on an empty schema and one more, which must not change anything."""
    machine.empty_warehouse()
    machine.set_pace(0.0)
    found: list[Reference] = []
    for run_id in ("reference-1", "reference-2"):
        attempt = machine.start_attempt(run_id, 1, spec={}, stop_timeout_seconds=30, is_cold=False)
        code = attempt.process.wait(_LONGEST_ATTEMPT_SECONDS)
        if code != 0:
            raise RuntimeError(f"the undisturbed run ended with {code}:\n{attempt.log.read_text()}")
        files = machine.objects(f"runs/{run_id}/")
        graph = Graph(json.loads(files[f"runs/{run_id}/attempts/0001/steps/02-build/manifest.json"]))
        asked = frozenset(node for step, node in attempts_of(files, run_id)[1].planned() if step == "build")
        found.append(Reference(graph=graph, asked=asked, contents=contents_of(machine, graph)))
        machine.forget(run_id)
    first, second = found
    if first.contents != second.contents or None in first.contents.values():
        raise RuntimeError(f"two undisturbed runs differ: {first.contents} and {second.contents}")
    machine.is_built = True
    return first


def contents_of(machine: Machine, graph: Graph) -> dict[str, list[str] | None]:
    """What each relation holds, without the times of snapshots; None for one that is not there."""
    found: dict[str, list[str] | None] = {}
    there = {
        name
        for (name,) in machine.stand_in.query(
            "select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname = %s and c.relkind in ('r', 'v')",
            [SCHEMA],
        )
    }
    for unique_id, name in graph.builds.items():
        columns = "id, name, dbt_valid_to" if unique_id.startswith("snapshot.") else "*"
        found[unique_id] = (
            sorted(map(repr, machine.stand_in.query(f"select {columns} from {SCHEMA}.{name}")))
            if name in there
            else None
        )
    return found


class Trial:
    """Runs one plan on one machine."""

    def __init__(self, machine: Machine, reference: Reference, plan: Plan) -> None:
        self._machine = machine
        self._reference = reference
        self._plan = plan
        self._run_id = f"seed-{plan.seed}"
        self._report = Report(plan=plan)
        self._built: Counter[str] = Counter()
        """How often each node was built in this run, by all attempts so far."""

    def run(self) -> Report:
        """Run all attempts and return what came of them; violations are in the report, never raised."""
        started = time.monotonic()
        machine, plan = self._machine, self._plan
        self._prepare()
        for number, (name, moment) in enumerate(plan.faults, start=1):
            self._attempt(number, name, moment)
        self._attempt(len(plan.faults) + 1, None, None)
        self._expect_all_is_built()
        self._report.seconds = time.monotonic() - started
        machine.is_built = not self._report.violations
        return self._report

    def _prepare(self) -> None:
        machine, plan = self._machine, self._plan
        machine.forget(self._run_id)
        if plan.is_fresh:
            machine.empty_warehouse()
        elif not machine.is_built:
            machine.empty_warehouse()
            machine.set_pace(0.0)
            run_id = f"before-{plan.seed}"
            before = machine.start_attempt(run_id, 1, spec={}, stop_timeout_seconds=30, is_cold=False)
            if before.process.wait(_LONGEST_ATTEMPT_SECONDS) != 0:
                raise RuntimeError(f"an undisturbed run did not end well, see {before.log}")
            machine.forget(run_id)

    def _violation(self, what: str) -> None:
        self._report.violations.append(what)

    def _attempt(self, number: int, fault: str | None, moment: Moment | None) -> None:
        machine, plan = self._machine, self._plan
        machine.set_pace(query_seconds(fault))
        before = machine.objects(f"runs/{self._run_id}/")
        builds_before = self._last_build()
        attempt = machine.start_attempt(
            self._run_id,
            number,
            spec=plan.spec,
            stop_timeout_seconds=plan.stop_timeout_seconds,
            is_cold=plan.is_cold,
        )
        done = Done()
        source = random.Random(f"{plan.seed} {number}")  # noqa: S311 - as in the plan
        context = Context(machine=machine, attempt=attempt, random=source, done=done)
        try:
            if fault and moment:
                done.hit = moment.wait(context, count_builds(machine))
                if done.hit:
                    FAULTS[fault](context)
            code = self._exit_code(attempt, done)
        finally:
            end_session(attempt.process.pid)
        self._report.exit_codes.append(code)
        self._report.hits += done.hit
        if "silent" in (fault or ""):
            machine.heal()
        self._expect_nothing_runs_on(attempt, done)
        machine.heal()
        self._judge(attempt, done, code, before, builds_before)

    def _exit_code(self, attempt: Attempt, done: Done) -> int | None:
        """Wait for the runner as ECS does: it is killed when its stop timeout is over."""
        limit = _LONGEST_ATTEMPT_SECONDS
        if done.stopped_at is not None:
            limit = self._plan.stop_timeout_seconds - (time.monotonic() - done.stopped_at)
        try:
            return attempt.process.wait(limit)
        except subprocess.TimeoutExpired:
            self._violation(f"attempt {attempt.number} did not end within {limit:.0f} s")
            end_session(attempt.process.pid)
            attempt.process.wait(10)
            return None

    def _expect_nothing_runs_on(self, attempt: Attempt, done: Done) -> None:
        stand_in = self._machine.stand_in
        if done.leaves_queries:
            if not stand_in.active_queries():
                self._violation(f"attempt {attempt.number} was to leave a query on the server, and has not")
            return
        queries = queries_left(stand_in.active_queries, within_seconds=8.0 if done.killed_at else 2.0)
        if queries:
            self._violation(f"after attempt {attempt.number} the server still works on {queries[0].text!r}")
            stand_in.cut_connections()

    def _judge(
        self, attempt: Attempt, done: Done, code: int | None, before: Mapping[str, bytes], builds_before: int
    ) -> None:
        below = f"runs/{self._run_id}/"
        rows = self._machine.stand_in.query(
            "select node, extract(epoch from at) from public.fault_builds where schema_name = %s and id > %s order by id",
            [SCHEMA, builds_before],
        )
        seen = Seen(
            run_id=self._run_id,
            number=attempt.number,
            done=done,
            exit_code=code,
            steps=self._plan.spec["steps"],
            objects_before=before,
            objects=self._machine.objects(below),
            written_at=self._machine.written_at(below),
            builds=[(node, float(at)) for node, at in rows],
            built_before=self._built.copy(),
        )
        self._report.violations += violations_of(seen, self._reference)
        self._expect_no_secret(attempt, seen.objects)
        self._report.rebuilt += sum(self._built[node] > 0 for node in seen.built)
        self._built += seen.built
        if seen.files is not None:
            self._report.resumed += sum("from_attempt" in event for event in seen.files.finished())
        if "s3" not in done.touched:
            slowest = max(self._report.slowest_event_seconds, slowest_event_seconds(seen))
            self._report.slowest_event_seconds = slowest

    def _expect_no_secret(self, attempt: Attempt, objects: Mapping[str, bytes]) -> None:
        places: dict[str, bytes] = {**objects, str(attempt.log): attempt.log.read_bytes()}
        places |= {str(path): path.read_bytes() for path in attempt.scratch.rglob("*") if path.is_file()}
        places |= self._machine.objects(f"docs/{self._run_id}-{attempt.number:04d}/")
        self._report.violations += secrets_found(places, self._machine.stand_in.password)

    def _expect_all_is_built(self) -> None:
        if self._report.exit_codes[-1] != 0:
            return
        machine = self._machine
        latest = machine.store.get("latest.json")
        docs = None
        if "docs" in self._plan.spec["steps"]:
            prefix = json.loads(latest or b"{}").get("docs_prefix") or "no docs"
            docs = set(machine.objects(prefix.removeprefix("faults/")))
        self._report.violations += violations_of_the_result(
            contents_of(machine, self._reference.graph),
            self._reference,
            latest=latest,
            run_id=self._run_id,
            docs=docs,
        )

    def _last_build(self) -> int:
        last: int = self._machine.stand_in.query("select coalesce(max(id), 0) from public.fault_builds")[0][0]
        return last


def queries_left(active: Callable[[], Sequence[ActiveQuery]], *, within_seconds: float) -> Sequence[ActiveQuery]:
    """What the server still works on after so long; nothing as soon as there is nothing."""
    until = time.monotonic() + within_seconds
    while (queries := active()) and time.monotonic() < until:
        time.sleep(0.05)
    return queries


def keep_evidence(machine: Machine, report: Report, folder: Path) -> None:
    """Write the record and the logs of a trial with violations below `folder`."""
    run_id = f"seed-{report.plan.seed}"
    for key, data in machine.objects(f"runs/{run_id}/").items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for log in (machine.folder / "logs").glob(f"{run_id}-*"):
        (folder / log.name).write_bytes(log.read_bytes())
    (folder / "violations.txt").write_text("\n".join([str(report.plan), *report.violations]) + "\n")
