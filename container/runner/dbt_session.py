"""dbt in this process: imported once, one parsed manifest for all steps, and the few places where we look inside it."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

from runner import generated_code, log, savings
from runner.dbt_types import DbtObject
from runner.kept_sessions import running_a_node
from runner.left_sessions import ACTIVE_SESSIONS, LeftSession, still_there
from runner.log import SCRUBBER
from runner.nodes import PlannedNode
from runner.outcome import Outcome, RunnerError
from runner.profile import PROFILE_NAME
from runner.run_spec import RunSpec, StepName

_LOG = logging.getLogger("runner")
_SOURCE = re.compile(r"\bsource\('(.+?)', '(.+?)'\)")
"""How dbt writes down what a generic test of a source is about."""
_COMMANDS = {
    StepName.SOURCE_FRESHNESS: ("source", "freshness"),
    StepName.SEED: ("seed",),
    StepName.SNAPSHOT: ("snapshot",),
    StepName.RUN: ("run",),
    StepName.TEST: ("test",),
    StepName.BUILD: ("build",),
    StepName.DOCS: ("docs", "generate", "--static"),
}
_BUILDING = frozenset({StepName.SEED, StepName.SNAPSHOT, StepName.RUN, StepName.TEST, StepName.BUILD})
_TAKES_FULL_REFRESH = frozenset({StepName.SEED, StepName.RUN, StepName.BUILD})
_CANCEL_SECONDS = 5
_NOT_EXECUTED = frozenset({"exposure", "saved_query", "metric", "semantic_model"})
"""What `dbt build` selects but has nothing to do for; it is not part of what was asked for."""


class ParseError(RunnerError):
    """The project does not parse; the message is dbt's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """How one dbt command ended."""

    outcome: Outcome
    message: str | None
    results: Sequence[DbtObject]
    """dbt's results of nodes; empty for docs and for a command that did not get that far."""


class Observer(Protocol):
    """Is told what happens while a step runs, on whatever thread it does; must be quick and must not raise."""

    def planned(self, nodes: Sequence[PlannedNode], left_out: frozenset[str]) -> None:
        """Take everything that was asked for, and the part of it that is done already, before the first node starts."""

    def started(self, unique_id: str) -> None:
        """Take the node that dbt begins with."""

    def finished(self, result: DbtObject) -> None:
        """Take dbt's result of one node."""


class _Planner:
    """Keeps what was planned; it is used where nothing is run."""

    def __init__(self) -> None:
        self.nodes: list[PlannedNode] = []

    def planned(self, nodes: Sequence[PlannedNode], left_out: frozenset[str]) -> None:  # noqa: ARG002 - as Observer says
        self.nodes = list(nodes)

    def started(self, unique_id: str) -> None:
        raise AssertionError(f"{unique_id} was run where nothing was to be")

    def finished(self, result: DbtObject) -> None:
        raise AssertionError(f"{result} was run where nothing was to be")


class DbtSession:
    """One dbt project, parsed once, on which steps are run one after the other."""

    def __init__(
        self,
        *,
        project_folder: Path,
        profiles_folder: Path,
        target_folder: Path,
        target: str,
        spec: RunSpec,
        on_event: Callable[[DbtObject], None],
        on_session: Callable[[int], None] = lambda _pid: None,
    ) -> None:
        self.project_folder = project_folder
        self.target_folder = target_folder
        self._spec = spec
        self._on_event = on_event
        self._on_session = on_session
        self._state_folder: Path | None = None
        self._common = [
            "--project-dir",
            str(project_folder),
            "--profiles-dir",
            str(profiles_folder),
            "--profile",
            PROFILE_NAME,
            "--target",
            target,
            "--target-path",
            str(target_folder),
            "--log-path",
            str(target_folder.parent / "dbt-logs"),
            # Our own log lines come from the events; dbt's own loggers would format every debug event for nobody.
            "--log-level",
            "none",
            "--log-level-file",
            "none",
            "--no-send-anonymous-usage-stats",
            "--no-version-check",
            "--no-use-colors",
            "--vars",
            json.dumps(dict(spec.vars)),
        ]
        self.manifest: DbtObject = None
        self._backend_pids: set[int] = set()
        self._credentials: DbtObject = None
        self._note_sessions()

    def parse(self) -> None:
        """Parse the project, from the cache in the target folder where it is valid; raises ParseError with dbt's words."""
        result = self._invoke(["parse", "--no-write-json"])
        if not result.success:
            raise ParseError(f"the project does not parse: {_words(result)}")
        self.manifest = result.result
        savings.keep_what_is_there()

    def defer_to(self, state_folder: Path) -> None:
        """Resolve what is not selected against the manifest in `state_folder`."""
        self._state_folder = state_folder

    def plan(self, step: StepName) -> list[PlannedNode]:
        """Return what `step` would run, chosen by dbt itself, without running it; raises RunnerError with dbt's words."""
        planner = _Planner()
        with _watching(planner, done=frozenset(), execute=False):
            result = self._invoke([*self._arguments(step), "--no-write-json"])
        if result.exception is not None:
            raise RunnerError(f"the nodes of step {step} cannot be selected: {_words(result)}")
        return planner.nodes

    def run(self, step: StepName, *, done: frozenset[str], observer: Observer) -> StepResult:
        """
        Run one step that executes nodes; never raises but for a bug.

        Nodes of `done` are left out unless something before them in dbt's graph is to be run again.
        """
        self._backend_pids.clear()
        writing = _writing_no_manifest() if step is StepName.SOURCE_FRESHNESS else contextlib.nullcontext()
        with writing, _watching(observer, done=done, execute=True):
            result = self._invoke(self._arguments(step))
        return _step_result(result, Outcome.FAILED, None)

    def generate_docs(self, *, compile_nodes: bool) -> StepResult:
        """Make the docs of the whole project, whatever part of it this run was asked for."""
        threads = ["--threads", str(self._spec.threads)]
        how = "--compile" if compile_nodes else "--no-compile"
        result = self._invoke([*_COMMANDS[StepName.DOCS], how, *threads])
        errors = getattr(result.result, "errors", None)
        told = SCRUBBER.scrub("; ".join(errors)) if errors else "the project does not compile"
        return _step_result(result, Outcome.FAILED, told)

    def sample_rows(self, sql: str, *, limit: int) -> dict[str, list[DbtObject]]:
        """
        Return `columns` and up to `limit` `rows` of what `sql`, a test's compiled code, finds, all values as texts.

        Call it after a step, whose adapter it uses; raises RunnerError with the database's words.
        """
        from dbt.adapters.factory import FACTORY  # noqa: PLC0415 - see _invoke

        adapter: DbtObject = FACTORY.lookup_adapter("redshift")
        try:
            with adapter.connection_named("sample"):
                found = f"select * from (\n{sql}\n) as found limit {limit}"  # noqa: S608 - it is the test's own SQL
                _, table = adapter.execute(found, fetch=True)
        except Exception as error:
            raise RunnerError(f"the rows could not be read: {SCRUBBER.scrub(str(error)).strip()}") from error
        rows = [[None if value is None else str(value) for value in row] for row in table.rows]
        return {"columns": list(table.column_names), "rows": rows}

    def cancel_queries(self) -> None:
        """
        End, on the server, the sessions that dbt has opened and that may still work for nobody.

        dbt cancels queries itself when it is interrupted, but only those of its worker threads, and only if it gets that
        far. A server goes on with a query whose client is gone until it wants to send rows.
        """
        sessions = sorted(self._backend_pids)
        if not sessions or self._credentials is None:
            return
        try:
            with self._cursor_of_our_own(self._credentials) as cursor:
                for pid in sessions:
                    cursor.execute(f"select pg_terminate_backend({int(pid)})")
        except Exception as error:  # noqa: BLE001 - the driver raises what it likes, and the run is ending anyway
            _LOG.warning("the queries of sessions %s could not be cancelled: %s", sessions, error)
            return
        self._backend_pids.clear()
        _LOG.info("sessions %s on the warehouse were ended", sessions)

    def end_left_sessions(self, sessions: Sequence[LeftSession]) -> None:
        """
        End those of `sessions` that are still there: they work for a container that is gone, and hold its locks.

        Call it after `parse`. Costs one query, and one more for each session that is left. Redshift shows a user its own
        sessions and lets it end them without any privilege; if it does not, that is said and the run goes on.
        """
        from dbt.adapters.factory import FACTORY  # noqa: PLC0415 - see _invoke

        adapter: DbtObject = FACTORY.lookup_adapter("redshift")
        try:
            with self._cursor_of_our_own(adapter.config.credentials) as cursor:
                found = cursor.execute(ACTIVE_SESSIONS).fetchall()
                left = still_there(sessions, found)
                for pid in left:
                    cursor.execute(f"select pg_terminate_backend({int(pid)})")
        except Exception as error:  # noqa: BLE001 - the driver raises what it likes, and the run may do without
            told = SCRUBBER.scrub(str(error)).strip()
            _LOG.warning("what an earlier attempt may have left on the warehouse could not be ended: %s", told)
            return
        if left:
            _LOG.warning("sessions %s, which an earlier attempt had left on the warehouse, were ended", left)

    @contextlib.contextmanager
    def _cursor_of_our_own(self, credentials: DbtObject) -> Iterator[DbtObject]:
        """A connection beside dbt's own, for statements that are answered at once or never."""
        from dbt.adapters.redshift.connections import get_connection_method  # noqa: PLC0415 - see _invoke

        connection = get_connection_method(credentials.replace(connect_timeout=_CANCEL_SECONDS))()
        with contextlib.closing(connection), contextlib.closing(connection.cursor()) as cursor:
            yield cursor

    def _note_sessions(self) -> None:
        from dbt.adapters.redshift.connections import RedshiftConnectionManager  # noqa: PLC0415 - see _invoke

        open_connection = RedshiftConnectionManager.open.__func__  # type: ignore[attr-defined]
        session = self

        def open_and_note(manager: DbtObject, connection: DbtObject) -> DbtObject:
            opened = open_connection(manager, connection)
            session._credentials = opened.credentials
            pid = getattr(opened, "backend_pid", None)
            if pid:
                session._backend_pids.add(pid)
                session._on_session(pid)
            return opened

        RedshiftConnectionManager.open = classmethod(open_and_note)  # type: ignore[method-assign, assignment]

    def _arguments(self, step: StepName) -> list[str]:
        spec = self._spec
        arguments = [*_COMMANDS[step], "--threads", str(spec.threads)]
        if spec.selector is not None:
            arguments += ["--selector", spec.selector]
        if spec.select:
            arguments += ["--select", *spec.select]
        if spec.exclude:
            arguments += ["--exclude", *spec.exclude]
        if spec.full_refresh and step in _TAKES_FULL_REFRESH:
            arguments.append("--full-refresh")
        if self._state_folder is not None and step in _BUILDING:
            arguments += ["--defer", "--state", str(self._state_folder)]
        return arguments

    def _invoke(self, arguments: list[str]) -> DbtObject:
        from dbt.cli.main import dbtRunner  # noqa: PLC0415 - seconds of import that a wrong setting need not wait for

        log.configure()
        return dbtRunner(manifest=self.manifest, callbacks=[self._on_event]).invoke([*arguments, *self._common])


def load() -> None:
    """Import dbt and the adapter, which takes seconds of CPU."""
    import dbt.mp_context  # noqa: PLC0415 - see _invoke

    # dbt takes its locks from multiprocessing, though it works with threads only. Such a lock starts a second Python
    # process, which costs memory and time and inherits the environment, with the password in it. dbt looks some of them
    # up while it is imported, so this comes first.
    locks = SimpleNamespace(Lock=threading.Lock, RLock=threading.RLock)
    dbt.mp_context._MP_CONTEXT = locks  # type: ignore[assignment]  # noqa: SLF001 - there is no other way

    with savings.without_collections():
        generated_code.use_generated_code()
        savings.fits(savings.compile_classes_when_they_are_used)
        import dbt.adapters.redshift  # noqa: PLC0415 - see _invoke
        import dbt.cli.main  # noqa: PLC0415 - see _invoke
    savings.apply()


@contextlib.contextmanager
def _writing_no_manifest() -> Iterator[None]:
    """Leave out the manifest of a step whose results are complete without it; `--no-write-json` would leave out both."""
    import dbt.task.runnable  # noqa: PLC0415 - see _invoke

    # The function is of another module, which others call for it.
    runnable: DbtObject = dbt.task.runnable
    write_manifest = runnable.write_manifest
    runnable.write_manifest = lambda *_arguments, **_options: None
    try:
        yield
    finally:
        runnable.write_manifest = write_manifest


@contextlib.contextmanager
def _watching(observer: Observer, *, done: frozenset[str], execute: bool) -> Iterator[None]:
    """
    While it is open, tell `observer` of nodes, leave done ones out, and run none if not `execute`.

    dbt has no event that names what was selected, and `dbt ls` selects by other rules than the commands do. Its event for a
    node that finished comes for each batch of a microbatch model too, and not at all where a thread breaks. So three methods
    are wrapped: the one that makes the selection (dbt's own `retry` replaces the queue made from it), the one that runs a
    command, and the one that runs a node.
    """
    from dbt.graph.selector import NodeSelector  # noqa: PLC0415 - see _invoke
    from dbt.task.run import MicrobatchBatchRunner  # noqa: PLC0415 - see _invoke
    from dbt.task.runnable import GraphRunnableTask  # noqa: PLC0415 - see _invoke

    asked: set[str] = set()
    left_out: set[str] = set()
    originals = NodeSelector.get_selected, GraphRunnableTask.run, GraphRunnableTask.call_runner

    def get_selected(selector: DbtObject, *arguments: DbtObject, **options: DbtObject) -> set[str]:
        selected = {str(unique_id) for unique_id in originals[0](selector, *arguments, **options)}
        manifest = selector.manifest
        asked.update(selected)
        # `dbt build` selects first with and then without unit tests; what is done must not differ between the two.
        left_out.clear()
        left_out.update(
            _done_and_closed(
                selector.full_graph.graph,
                asked={unique_id for unique_id in asked if _is_executed(_node(manifest, unique_id))},
                finished=done,
                tested_models={unique_id: test.depends_on.nodes[0] for unique_id, test in manifest.unit_tests.items()},
            )
        )
        return selected - left_out

    def run(task: DbtObject) -> DbtObject:
        initialize = task._runtime_initialize  # noqa: SLF001 - see above

        def initialize_and_tell() -> None:
            initialize()
            observer.planned(_planned_nodes(task.manifest, asked), frozenset(left_out))

        task._runtime_initialize = initialize_and_tell  # noqa: SLF001 - see above
        if execute:
            return originals[1](task)  # type: ignore[no-untyped-call]
        initialize_and_tell()
        return task.get_result(results=[], elapsed_time=0.0, generated_at=datetime.now(UTC).replace(tzinfo=None))

    def call_runner(task: DbtObject, runner: DbtObject) -> DbtObject:
        if isinstance(runner, MicrobatchBatchRunner):
            return originals[2](task, runner)
        observer.started(runner.node.unique_id)
        with running_a_node():
            result = originals[2](task, runner)
        observer.finished(result)
        return result

    NodeSelector.get_selected = get_selected  # type: ignore[method-assign, assignment]
    GraphRunnableTask.run = run  # type: ignore[method-assign]
    GraphRunnableTask.call_runner = call_runner  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        NodeSelector.get_selected = originals[0]  # type: ignore[method-assign]
        GraphRunnableTask.run = originals[1]  # type: ignore[method-assign]
        GraphRunnableTask.call_runner = originals[2]  # type: ignore[method-assign]


def _done_and_closed(
    graph: DbtObject, *, asked: set[str], finished: frozenset[str], tested_models: Mapping[str, str]
) -> frozenset[str]:
    """
    Return the part of `finished` that was asked for and before which nothing that was asked for is to be run again.

    `asked` holds what is executed only. `tested_models` has the model of each unit test, which dbt runs together with its
    model, though it is not before it in the graph.
    """
    kept = finished & asked
    if not kept:
        return frozenset()
    again: set[str] = set()
    waiting = [*(asked - kept), *(tested_models[test] for test in asked - kept if test in tested_models)]
    again.update(waiting)
    while waiting:
        unique_id = waiting.pop()
        children = set(graph.successors(unique_id)) - again if unique_id in graph else set()
        again |= children
        waiting += children
    return frozenset(kept - again)


def _is_executed(node: DbtObject) -> bool:
    return node.resource_type not in _NOT_EXECUTED and not getattr(node, "is_ephemeral_model", False)


def _planned_nodes(manifest: DbtObject, asked: set[str]) -> list[PlannedNode]:
    nodes = ((unique_id, _node(manifest, unique_id)) for unique_id in asked)
    return [
        PlannedNode(
            unique_id=unique_id,
            resource_type=str(node.resource_type),
            name=node.name if node.resource_type != "source" else f"{node.source_name}.{node.name}",
            attached_node=attached_node(node),
        )
        for unique_id, node in nodes
        if _is_executed(node)
    ]


def _node(manifest: DbtObject, unique_id: str) -> DbtObject:
    for kind in (
        manifest.nodes,
        manifest.sources,
        manifest.unit_tests,
        manifest.exposures,
        manifest.saved_queries,
        # A kind of dbt 1.11, and a project may pin an older one.
        getattr(manifest, "functions", {}),
        manifest.metrics,
        manifest.semantic_models,
    ):
        if unique_id in kind:
            return kind[unique_id]
    raise RunnerError(f"dbt selected {unique_id!r}, which is not in its manifest")


def attached_node(node: DbtObject) -> str | None:
    """Return the unique id of what a test belongs to, None for what is no test."""
    if node.resource_type == "unit_test":
        return next(iter(node.depends_on.nodes), None)
    if node.resource_type != "test":
        return None
    attached: str | None = getattr(node, "attached_node", None)
    return attached or _tested_source(node) or next(iter(node.depends_on.nodes), None)


def _tested_source(node: DbtObject) -> str | None:
    """Return the source that a generic test is written under: dbt attaches it to none, and it may read others, too."""
    metadata = getattr(node, "test_metadata", None)
    named = _SOURCE.search(str(metadata.kwargs.get("model"))) if metadata else None
    ending = f".{named[1]}.{named[2]}" if named else None
    sources = (parent for parent in node.depends_on.nodes if parent.startswith("source."))
    return next((source for source in sources if ending and source.endswith(ending)), None)


def _words(result: DbtObject) -> str:
    error = result.exception
    if error is None:
        return "dbt gave no reason"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return SCRUBBER.scrub(str(error)).strip() or type(error).__name__


def _step_result(result: DbtObject, otherwise: Outcome, message: str | None) -> StepResult:
    results = list(getattr(result.result, "results", None) or [])
    if result.exception is not None:
        return StepResult(outcome=Outcome.ERROR, message=_words(result), results=results)
    if not result.success:
        return StepResult(outcome=otherwise, message=message, results=results)
    return StepResult(outcome=Outcome.SUCCESS, message=None, results=results)
