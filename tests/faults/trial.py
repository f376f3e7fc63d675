"""One trial: attempts with faults, then one without, each judged by the record, the warehouse and the server."""

import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema

from tests.e2e.secret_search import spellings
from tests.faults.faults import (
    FAULTS,
    LONG_QUERY,
    LONG_QUERY_SECONDS,
    SHORT_QUERY_SECONDS,
    Context,
    Done,
    Moment,
    count_builds,
    random_moment,
)
from tests.faults.machine import SCHEMA, Attempt, Machine, end_session
from tests.faults.records import BUILDING_STEPS, DONE, AttemptFiles, Graph, attempts_of, proven_done
from tests.unit.runner.support import validated_record, validator

_LONGEST_ATTEMPT_SECONDS = 150.0
_STEPS_APART = ("seed", "run", "snapshot", "test", "docs")
_STEPS_OF_PLANS = (
    # By how often they are tried: what costs more less often.
    *([("build",)] * 5),
    *([("source_freshness", "build", "docs")] * 3),
    *([_STEPS_APART] * 2),
)
_STEP_OF_TYPE = {"seed": "seed", "model": "run", "snapshot": "snapshot"}
_RECORD_IS_BEHIND_SECONDS = 4.0
"""Two seconds are promised; the others are for a machine on which several trials and other work run at once."""


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
        if source.random() < 0.25:
            chosen.append(source.choice(names))
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
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Reference:
    """What the warehouse holds after a run that nothing has disturbed, and the graph of the project."""

    def __init__(self, machine: Machine) -> None:
        """Make one run on an empty schema and one more, which must not change anything."""
        machine.empty_warehouse()
        machine.set_pace(0.0)
        for run_id in ("reference-1", "reference-2"):
            attempt = machine.start_attempt(run_id, 1, spec={}, stop_timeout_seconds=30, is_cold=False)
            code = attempt.process.wait(_LONGEST_ATTEMPT_SECONDS)
            if code != 0:
                raise RuntimeError(f"the undisturbed run ended with {code}:\n{attempt.log.read_text()}")
            files = machine.objects(f"runs/{run_id}/")
            self.graph = Graph(json.loads(files[f"runs/{run_id}/attempts/0001/steps/02-build/manifest.json"]))
            self.asked = frozenset(node for step, node in attempts_of(files, run_id)[1].planned() if step == "build")
            contents = contents_of(machine, self.graph)
            if run_id == "reference-1":
                self.contents = contents
            machine.forget(run_id)
        if self.contents != contents or None in contents.values():
            raise RuntimeError(f"two undisturbed runs differ: {self.contents} and {contents}")
        machine.is_built = True


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
        machine.set_pace(LONG_QUERY_SECONDS if fault == LONG_QUERY else SHORT_QUERY_SECONDS if fault else 0.0)
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
        until = time.monotonic() + (8.0 if done.killed_at else 2.0)
        while (queries := self._machine.stand_in.active_queries()) and time.monotonic() < until:
            time.sleep(0.05)
        if queries:
            self._violation(f"after attempt {attempt.number} the server still works on {queries[0].text!r}")
            self._machine.stand_in.cut_connections()

    def _judge(
        self, attempt: Attempt, done: Done, code: int | None, before: Mapping[str, bytes], builds_before: int
    ) -> None:
        number = attempt.number
        try:
            validated_record(self._machine.store, self._run_id)
        except (AssertionError, jsonschema.ValidationError) as error:
            self._violation(f"the record is not valid after attempt {number}: {str(error)[:300]}")
        after = self._machine.objects(f"runs/{self._run_id}/")
        files = attempts_of(after, self._run_id).get(number)
        earlier = attempts_of(before, self._run_id)
        rows = self._machine.stand_in.query(
            "select node, extract(epoch from at) from public.fault_builds where schema_name = %s and id > %s order by id",
            [SCHEMA, builds_before],
        )
        built = Counter(node for node, _ in rows)
        self._expect_no_secret(attempt, after)
        self._expect_cause_for_each_build(number, earlier, built)
        for node in built:
            self._report.rebuilt += self._built[node] > 0
        self._built += built
        self._expect_honest_exit_code(number, done, code, files, built)
        if files is not None:
            self._expect_true_record(files, earlier, built)
            if done.killed_at and "s3" not in done.touched:
                self._expect_timely_events(files, done.killed_at, rows)

    def _expect_cause_for_each_build(
        self, number: int, earlier: Mapping[int, AttemptFiles], built: Counter[str]
    ) -> None:
        """A node may be built again only if it, or something before it, was not proven done."""
        proven = proven_done(earlier)
        is_build = "build" in self._plan.spec["steps"]
        for node, times in built.items():
            if times > 1:
                self._violation(f"attempt {number} built {node} {times} times")
            step = "build" if is_build else _STEP_OF_TYPE[node.split(".")[0]]
            asked = {
                unique_id
                for unique_id in self._reference.asked
                if is_build or _STEP_OF_TYPE.get(unique_id.split(".")[0], "test") == step
            }
            undone = {unique_id for unique_id in asked if (step, unique_id) not in proven}
            if node not in self._reference.graph.with_all_after(undone, gates=is_build):
                self._violation(f"attempt {number} built {node} again though it and all before it were proven done")

    def _expect_honest_exit_code(
        self, number: int, done: Done, code: int | None, files: AttemptFiles | None, built: Counter[str]
    ) -> None:
        end = files.end if files else None
        unbuilt = sorted(node for node in self._reference.graph.builds if not self._built[node])
        if code == 0 and unbuilt:
            self._violation(f"attempt {number} ended with 0, but {unbuilt} were never built")
        if end and code is not None and code >= 0 and end["exit_code"] != code:
            self._violation(f"attempt {number} ended with {code}, its end.json says {end['exit_code']}")
        if not done.hit and code != 0:
            self._violation(f"attempt {number}, which nothing disturbed, ended with {code}")
        if done.hit and done.touched == {"s3"} and built and code != 0:
            self._violation(f"attempt {number} built but ended with {code}, though only S3 was away")
        # Before the runner waits for signals, SIGTERM ends any program; as PID 1 of a container it would not be noticed.
        may_be_signalled = done.killed_at or (done.stopped_at and files is None)
        if code is not None and code < 0 and not may_be_signalled:
            self._violation(f"attempt {number} was ended by signal {-code}")
        if code == 1 and done.touched == {"runner"}:
            self._violation(f"attempt {number} blames its models (exit code 1) for being stopped")
        if not done.hit and not end:
            self._violation(f"attempt {number}, which nothing disturbed, has no end.json")

    def _expect_true_record(
        self, files: AttemptFiles, earlier: Mapping[int, AttemptFiles], built: Counter[str]
    ) -> None:
        number = files.number
        proven = proven_done(earlier)
        ended = [(event["step"], event["unique_id"]) for event in files.finished()]
        planned = files.planned()
        for event in files.finished():
            node = (event["step"], event["unique_id"])
            is_built_here = event["unique_id"] in self._reference.graph.builds and event["step"] in BUILDING_STEPS
            if "from_attempt" in event:
                self._report.resumed += 1
                if node not in proven:
                    self._violation(f"attempt {number} left out {node[1]}, which is not proven done")
            elif is_built_here and event["status"] in DONE and not built[node[1]]:
                self._violation(f"attempt {number} says that {node[1]} is done, but it was not built")
            if event["status"] in {"skipped", "not_run"} and is_built_here and built[node[1]]:
                self._violation(f"attempt {number} says that {node[1]} was not run, but it was built")
        if len(set(ended)) != len(ended) or not set(ended) <= set(planned):
            self._violation(f"attempt {number}: nodes ended twice or without being planned: {sorted(ended)}")
        if files.end:
            self._expect_true_end(files, set(planned), set(ended))

    def _expect_true_end(self, files: AttemptFiles, planned: set[tuple[str, str]], ended: set[tuple[str, str]]) -> None:
        number, end = files.number, files.end
        assert end is not None
        if planned != ended:
            self._violation(f"attempt {number} has ended without a word on {sorted(planned - ended)}")
        if set(end["nodes"]) != {node for _, node in ended}:
            self._violation(f"attempt {number}: end.json and the events tell of different nodes")
        statuses = Counter(event["status"] for event in files.finished())
        if {status: count for status, count in end["counts"].items() if count} != statuses:
            self._violation(f"attempt {number}: end.json counts {end['counts']}, the events say {dict(statuses)}")
        by_node: dict[str, set[str]] = {}
        for event in files.finished():
            by_node.setdefault(event["unique_id"], set()).add(event["status"])
        for node, entry in end["nodes"].items():
            if entry["status"] not in by_node.get(node, set()):
                self._violation(
                    f"attempt {number}: end.json says {entry['status']} of {node}, the events {by_node[node]}"
                )
        last = files.events[-1]
        if last["type"] != "run_finished" or any(
            last[name] != end[name] for name in ("outcome", "exit_code", "headline")
        ):
            self._violation(f"attempt {number}: the last event {last} is not what end.json says")
        if end["outcome"] == "success":
            self._expect_success(files, end)

    def _expect_success(self, files: AttemptFiles, end: Mapping[str, Any]) -> None:
        """A record may claim success only if every node that was asked for is done."""
        wrong = [step["name"] for step in end["steps"] if step["policy"] == "must_pass" and step["outcome"] not in DONE]
        undone = self._reference.asked - {event["unique_id"] for event in files.finished() if event["status"] in DONE}
        if wrong or undone:
            self._violation(f"attempt {files.number} claims success with steps {wrong} and without {sorted(undone)}")

    def _expect_timely_events(self, files: AttemptFiles, killed_at: float, rows: list[tuple[Any, ...]]) -> None:
        """What was committed some seconds before the kill is in the record."""
        told = {event["unique_id"] for event in files.finished() if event["status"] in DONE}
        for node, at in rows:
            behind = killed_at - float(at)
            if node not in told and behind > _RECORD_IS_BEHIND_SECONDS:
                self._violation(f"{node} was committed {behind:.1f} s before the kill and is not in the record")

    def _expect_no_secret(self, attempt: Attempt, objects: Mapping[str, bytes]) -> None:
        ways = spellings(self._machine.stand_in.password)
        places: dict[str, bytes] = {**objects, str(attempt.log): attempt.log.read_bytes()}
        places |= {str(path): path.read_bytes() for path in attempt.scratch.rglob("*") if path.is_file()}
        places |= self._machine.objects(f"docs/{self._run_id}-{attempt.number:04d}/")
        for place, data in places.items():
            if any(way in data for way in ways):
                self._violation(f"the password is in {place}")

    def _expect_all_is_built(self) -> None:
        """After the attempt that nothing disturbed, the warehouse is as after an undisturbed run."""
        if self._report.exit_codes[-1] != 0:
            return
        contents = contents_of(self._machine, self._reference.graph)
        for node, expected in self._reference.contents.items():
            if contents[node] != expected:
                self._violation(f"{node} holds {contents[node]}, an undisturbed run leaves {expected}")
        latest = self._machine.store.get("latest.json")
        told = json.loads(latest or b"{}")
        try:
            validator("latest").validate(told)
        except jsonschema.ValidationError as error:
            self._violation(f"latest.json is not valid: {error.message}")
            return
        if told["run_id"] != self._run_id or told["outcome"] != "success":
            self._violation(f"latest.json does not tell of the last attempt: {told}")
        if "docs" in self._plan.spec["steps"]:
            pages = set(self._machine.objects(told["docs_prefix"].removeprefix("faults/")))
            if len(pages) != 4:
                self._violation(f"latest.json points to {told['docs_prefix']}, where there are {sorted(pages)}")

    def _last_build(self) -> int:
        last: int = self._machine.stand_in.query("select coalesce(max(id), 0) from public.fault_builds")[0][0]
        return last


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
