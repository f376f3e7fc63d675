"""One attempt of one run, from its settings to its exit code."""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from importlib import metadata
from pathlib import Path
from typing import Any

from runner import dbt_session, log
from runner.clock import now
from runner.credentials import Warehouse, credentials_source
from runner.dbt_session import DbtSession
from runner.ecs_task import task_metadata
from runner.endings import Endings
from runner.events import EventReader
from runner.fingerprint import code_fingerprint, combined
from runner.headline import headline
from runner.history import History, Past, run_entry
from runner.lineage import Lineage
from runner.log import SCRUBBER
from runner.metrics import metric_lines, write_metrics
from runner.nodes import NodeLedger, compiled_path, sample_path
from runner.outcome import ExitCode, Outcome, RunnerError, SettingsError
from runner.page_data import graph_of, origins_of, page_data
from runner.parse_cache import ParseCache
from runner.pipeline import Pipeline
from runner.profile import profile_environment, write_profile
from runner.publish import docs_of_report, docs_uploads, step_uploads, switch_latest, upload_all
from runner.record import FORMAT_VERSION, AttemptRecord
from runner.report import report_page
from runner.resume import Resume, next_attempt, read_resume
from runner.run_spec import Policy, RunSpec, run_spec_from
from runner.settings import Settings
from runner.store import ALWAYS_CHECK, AlreadyExists, Store, Upload
from runner.trial import check_relations, drop_schemas, settings_of

_LOG = logging.getLogger("runner")
_SECONDS_FOR_THE_END = 60.0
"""How long the end of a run waits for S3 when nobody is stopping it."""
_SECONDS_FOR_THE_HISTORY = 10.0
_SECONDS_FOR_LINEAGE = 30.0
_SAMPLED_ROWS = 10
_MOST_ATTEMPTS_AT_A_NUMBER = 20


class Run:
    """One attempt; `execute` is called once, `conclude` by whoever ends it first."""

    def __init__(self, settings: Settings, endings: Endings) -> None:
        self._settings = settings
        self._endings = endings
        self._started = time.monotonic()
        self._started_at = now()
        self._store = Store(settings.deployment.bucket, f"{settings.deployment.project}/")
        self._conclusion = threading.Lock()
        self._exit_code: ExitCode | None = None
        self._record: AttemptRecord | None = None
        self._start: dict[str, Any] = {}
        self._ledger: NodeLedger | None = None
        self._pipeline: Pipeline | None = None
        self._session: DbtSession | None = None
        self._history: History | None = None
        self._results_folder = settings.scratch_folder / "results"
        self._spec = RunSpec()
        self._resume = Resume()
        deployment = settings.deployment
        self._deployed_schema = deployment.schema
        self._lineage = deployment.lineage and Lineage(
            deployment.lineage, environment=deployment.environment, project=deployment.project
        )

    def execute(self) -> ExitCode:
        """Do all of it; raises SettingsError only where there is no record yet to say it in."""
        # Importing dbt takes seconds of CPU; S3 and the credentials take seconds of waiting.
        loading: Future[None] = Future()
        threading.Thread(target=_load_dbt, args=(loading,), name="import", daemon=True).start()
        self._begin()
        self._endings.conclude = self._conclude_from_outside
        try:
            self._build(loading)
        except KeyboardInterrupt:
            return self._conclude(Outcome.INTERRUPTED, self._endings.reason or "interrupted")
        except RunnerError as error:
            if self._endings.reason:
                return self._conclude(Outcome.INTERRUPTED, self._endings.reason)
            _LOG.error("%s", error)
            return self._conclude(Outcome.ERROR, str(error))
        except OSError as error:
            _LOG.exception("the file system, or the network, refused")
            return self._conclude(Outcome.ERROR, f"the run cannot go on: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is, the record must say so
            _LOG.exception("the runner has a bug")
            return self._conclude(Outcome.ERROR, f"the runner has a bug: {type(error).__name__}: {error}")
        return self._conclude(*self._outcome())

    def _begin(self) -> None:
        """Claim the attempt by its start.json, before credentials are fetched: their failure must leave a record too."""
        settings, deployment = self._settings, self._settings.deployment
        self._spec = run_spec_from(
            ("spec of RUNNER_DEPLOYMENT", deployment.spec),
            (settings.spec_uri or "RUNNER_SPEC", self._launched_spec()),
        )
        self._endings.set_deadline(self._spec.deadline_seconds)
        if self._spec.trial is not None:
            self._settings = settings = settings_of(settings, self._spec.trial, self._store)
            deployment = settings.deployment
            self._lineage = None
        fingerprint = code_fingerprint(settings.project_folder)
        resume_key = combined(
            fingerprint,
            deployment.environment,
            deployment.schema,
            deployment.credentials,
            self._spec.vars,
            self._spec.full_refresh,
            self._spec.defer_state,
        )
        for _ in range(_MOST_ATTEMPTS_AT_A_NUMBER):
            attempt = settings.attempt or next_attempt(self._store, settings.run_id)
            self._resume = read_resume(
                self._store, settings.run_id, attempt, resume_key=resume_key, start_over=self._spec.begins_anew
            )
            self._start = self._start_content(attempt, fingerprint, resume_key)
            record = AttemptRecord(self._store, run_id=settings.run_id, attempt=attempt)
            try:
                record.start(self._start)
            except AlreadyExists as error:
                if settings.attempt is not None:
                    raise SettingsError(
                        f"attempt {attempt} of run {settings.run_id!r} has a writer already: {error}"
                    ) from error
                continue
            self._record, self._ledger = record, NodeLedger(record)
            if self._spec.trial is None:
                self._history = History(self._store, start=self._start)
                self._history.begin()
            self._say_how_it_resumes()
            return
        raise SettingsError(f"no free attempt number was found for run {settings.run_id!r}")

    def _build(self, loading: Future[None]) -> None:
        settings, deployment, spec = self._settings, self._settings.deployment, self._spec
        scratch = settings.scratch_folder
        target_folder = scratch / "target"
        # On a small container the import takes longer than a stop may: the end of the record must not wait for it.
        with self._endings.interruptible():
            warehouse = credentials_source(deployment.credentials).fetch()
            if warehouse.password is not None:
                SCRUBBER.hide(warehouse.password)
            environment = profile_environment(warehouse, environment=deployment.environment, schema=deployment.schema)
            os.environ.update(environment)
            write_profile(scratch / "profiles", warehouse=warehouse, target=deployment.environment)
            cache = ParseCache(self._store, self._cache_key(warehouse), target_folder)
            cache.fetch()
            loading.result()
        # A dependency of dbt has added a handler to the root logger meanwhile.
        log.configure()
        assert self._record is not None and self._ledger is not None  # noqa: S101, PT018 - set by _begin
        record = self._record
        events = EventReader()
        session = DbtSession(
            project_folder=settings.project_folder,
            profiles_folder=scratch / "profiles",
            target_folder=target_folder,
            target=deployment.environment,
            spec=spec,
            on_event=events,
            on_session=lambda pid: record.event("session_opened", pid=pid),
        )
        self._session = session
        self._endings.cancel_queries = session.cancel_queries
        if spec.defer_state is not None:
            session.defer_to(self._deferred_state(spec.defer_state))
        if spec.trial is not None:
            # What an earlier push of the pull request has built, and is not changed any more, must not be read.
            os.environ["DBT_FAVOR_STATE"] = "true"
        began = time.monotonic()
        with self._endings.interruptible():
            session.parse()
            if self._resume.left_sessions:
                session.end_left_sessions(self._resume.left_sessions)
            if spec.trial is not None:
                check_relations(session.manifest, schema=deployment.schema, database=warehouse.database)
                drop_schemas(self._deployed_schema, spec.trial.drop)
                if spec.trial.project_archive is None:
                    return
        cache.keep()
        _LOG.info("the project is parsed", extra={"seconds": round(time.monotonic() - began, 3), "cached": cache.found})
        self._pipeline = Pipeline(
            session=session,
            steps=spec.steps,
            record=record,
            ledger=self._ledger,
            events=events,
            results_folder=self._results_folder,
            done=lambda step: self._resume.done.get(step, {}),
            endings=self._endings,
            sampled_rows=_SAMPLED_ROWS if spec.sample_failed_rows else 0,
        )
        self._pipeline.run()

    def _outcome(self) -> tuple[Outcome, str | None]:
        endings = self._pipeline.endings if self._pipeline else []
        required = [ending for ending in endings if ending.step.policy is Policy.MUST_PASS]
        interrupted = [ending for ending in required if ending.outcome in {Outcome.INTERRUPTED, Outcome.SKIPPED}]
        if self._endings.reason and interrupted:
            return Outcome.INTERRUPTED, self._endings.reason
        for outcome in (Outcome.ERROR, Outcome.FAILED):
            for ending in required:
                if ending.outcome is outcome:
                    return outcome, f"step {ending.step.name}: {ending.message}"
        return Outcome.SUCCESS, None

    def _conclude_from_outside(self, reason: str, within_seconds: float) -> None:
        """End the record while the main thread hangs."""
        if self._pipeline is not None:
            self._pipeline.abandon(reason)
        self._conclude(Outcome.INTERRUPTED, reason, within_seconds=within_seconds)

    def _conclude(
        self, outcome: Outcome, reason: str | None, *, within_seconds: float = _SECONDS_FOR_THE_END
    ) -> ExitCode:
        """Publish, write the end of the record, and return the exit code; a second call only returns it."""
        with self._conclusion:
            if self._exit_code is None:
                self._exit_code = self._endings.exit_code = _EXIT_CODES[outcome]
                if self._record is not None and self._ledger is not None:
                    seconds = self._endings.seconds_left(within_seconds)
                    self._write_the_end(self._record, self._ledger, outcome, reason, seconds)
            return self._exit_code

    def _write_the_end(
        self, record: AttemptRecord, ledger: NodeLedger, outcome: Outcome, reason: str | None, seconds: float
    ) -> None:
        until = time.monotonic() + seconds
        deployment, endings = self._settings.deployment, self._pipeline.endings if self._pipeline else []
        samples = self._pipeline.samples if self._pipeline else {}
        exit_code = _EXIT_CODES[outcome]
        told = headline(outcome, reason, ledger.results(), deployment.project)
        level = logging.INFO if outcome is Outcome.SUCCESS else logging.ERROR
        docs_prefix = f"docs/{record.run_id}-{record.attempt:04d}/"
        docs = docs_uploads(self._results_folder, endings, docs_prefix)
        ended_at, took = now(), time.monotonic() - self._started
        docs_are_there = bool(docs) and upload_all(self._store, docs, within_seconds=seconds / 2)
        pages: list[Upload] = []
        try:
            pages = self._pages(
                record,
                ledger,
                outcome=outcome,
                headline=told,
                reason=reason,
                ended_at=ended_at,
                seconds=took,
                docs_prefix=docs_prefix if docs_are_there else None,
                within_seconds=max(1.0, min(_SECONDS_FOR_THE_HISTORY, (until - time.monotonic()) / 4)),
            )
        except Exception:  # noqa: BLE001 - whatever it is, the record must get its end
            _LOG.exception("the runner has a bug: there is no report")
        upload_all(
            self._store,
            [
                *step_uploads(self._results_folder, record.folder),
                *_sql_uploads(ledger, record.folder),
                *_sample_uploads(samples, record.folder),
                *pages,
            ],
            within_seconds=max(1.0, (until - time.monotonic()) / 2),
        )
        published = f"{deployment.project}/{docs_prefix}" if docs_are_there else None
        if self._spec.trial is None:
            error = switch_latest(
                self._store, run_id=record.run_id, attempt=record.attempt, outcome=outcome.value, docs_prefix=published
            )
            if error:
                _LOG.error("latest.json still points to an earlier run: %s", error)
        ending = {"outcome": outcome.value, "exit_code": int(exit_code), "headline": told}
        record.event("run_finished", **ending)
        record.end(
            {
                "format_version": FORMAT_VERSION,
                "run_id": record.run_id,
                "attempt": record.attempt,
                "started_at": self._started_at,
                "ended_at": ended_at,
                **ending,
                "seconds": round(took, 3),
                "steps": [entry.as_json() for entry in endings],
                "nodes": ledger.as_json(),
                "counts": ledger.counts(),
                "docs": {"prefix": published} if published else None,
            },
            within_seconds=max(1.0, until - time.monotonic()),
        )
        if self._spec.trial is None:
            write_metrics(
                metric_lines(
                    environment=deployment.environment,
                    project=deployment.project,
                    run_id=record.run_id,
                    attempt=record.attempt,
                    outcome=outcome.value,
                    seconds=took,
                    endings=endings,
                    ledger=ledger,
                )
            )
        _LOG.log(
            level, "%s", told, extra={**ending, "seconds": round(took, 3), "record": self._store.uri(record.folder)}
        )
        # Last, since nothing waits for it; a run that is being stopped has no time for it.
        if self._lineage and self._endings.reason is None:
            self._lineage.send(
                run_id=record.run_id,
                started_at=self._started_at,
                is_good=outcome is Outcome.SUCCESS,
                endings=endings,
                results_folder=self._results_folder,
                project_folder=self._settings.project_folder,
                profiles_folder=self._settings.scratch_folder / "profiles",
                target=deployment.environment,
                within_seconds=_SECONDS_FOR_LINEAGE,
            )

    def _pages(
        self,
        record: AttemptRecord,
        ledger: NodeLedger,
        *,
        outcome: Outcome,
        headline: str,
        reason: str | None,
        ended_at: str,
        seconds: float,
        docs_prefix: str | None,
        within_seconds: float,
    ) -> list[Upload]:
        """Return the report and the history, which the report compares this run with; none of it may cost the record its end."""
        past = self._history.read(within_seconds=within_seconds) if self._history else Past()
        manifest = self._session.manifest if self._session else None
        results, endings = ledger.results(), self._pipeline.endings if self._pipeline else []
        data = page_data(
            start=self._start,
            outcome=outcome.value,
            headline=headline,
            reason=reason,
            ended_at=ended_at,
            seconds=seconds,
            endings=endings,
            results=results,
            samples=self._pipeline.samples if self._pipeline else {},
            withheld=self._pipeline.withheld if self._pipeline else {},
            docs=docs_of_report(docs_prefix, past.overview.get("docs_prefix")),
            graph=graph_of(manifest) if manifest is not None else {},
            origins=origins_of(manifest, results) if manifest is not None else {},
            past=past,
        )
        entry = run_entry(
            start=self._start,
            outcome=outcome.value,
            headline=headline,
            ended_at=ended_at,
            seconds=seconds,
            results=results,
            counts=ledger.counts(),
            has_docs=docs_prefix is not None,
        )
        report = Upload(key=f"{record.folder}report.html", source=report_page(data), cache_control=ALWAYS_CHECK)
        if self._history is None:
            return [report]
        return [
            report,
            *self._history.uploads(past, run=entry, results=results, docs_prefix=docs_prefix, manifest=manifest),
        ]

    def _launched_spec(self) -> Mapping[str, Any]:
        uri = self._settings.spec_uri
        if uri is None:
            return self._settings.spec
        prefix = self._store.uri("")
        if not uri.startswith(prefix):
            raise SettingsError(f"RUNNER_SPEC_URI must begin with {prefix}, got {uri!r}")
        body = self._store.get(uri.removeprefix(prefix))
        if body is None:
            raise SettingsError(f"RUNNER_SPEC_URI names {uri}, where there is nothing")
        try:
            value = json.loads(body)
        except ValueError as error:
            raise SettingsError(f"{uri} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise SettingsError(f"{uri} must hold a JSON object")
        return value

    def _start_content(self, attempt: int, fingerprint: str, resume_key: str) -> dict[str, Any]:
        settings, deployment = self._settings, self._settings.deployment
        task = task_metadata()
        code = {
            "image": deployment.image or task.get("image"),
            "git_commit": deployment.git_commit,
            "fingerprint": fingerprint,
        }
        content: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "project": deployment.project,
            "environment": deployment.environment,
            "run_id": settings.run_id,
            "attempt": attempt,
            "started_at": self._started_at,
            "writer": secrets.token_hex(8),
            "code": {name: value for name, value in code.items() if value is not None},
            "resume_key": resume_key,
            "launched_by": dict(settings.launched_by),
            "spec": self._spec.as_json(),
            "versions": {name: metadata.version(name) for name in ("dbt-core", "dbt-redshift")},
            "resumes": self._resume.as_json(),
        }
        content |= {name: task[name] for name in ("task_arn", "task_definition", "log") if task.get(name)}
        if self._resume.starts_over:
            content["starts_over"] = self._resume.starts_over
        return content

    def _say_how_it_resumes(self) -> None:
        if self._resume.starts_over:
            _LOG.warning("earlier attempts count for nothing: %s", self._resume.starts_over)
        elif self._resume.attempt is not None:
            done = len({unique_id for nodes in self._resume.done.values() for unique_id in nodes})
            _LOG.info("attempt %d is continued: %d nodes are done already", self._resume.attempt, done)

    def _cache_key(self, warehouse: Warehouse) -> str:
        deployment = self._settings.deployment
        connection = repr(warehouse)
        return combined(
            self._start["code"]["fingerprint"], connection, deployment.environment, deployment.schema, self._spec.vars
        )

    def _deferred_state(self, uri: str) -> Path:
        """Fetch the manifest that nodes which are not selected are resolved against."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        body = Store(bucket, "").get(f"{prefix.rstrip('/')}/manifest.json")
        if body is None:
            raise SettingsError(f"defer_state names {uri}, where there is no manifest.json")
        folder = self._settings.scratch_folder / "state"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_bytes(body)
        return folder


_EXIT_CODES = {
    Outcome.SUCCESS: ExitCode.SUCCESS,
    Outcome.FAILED: ExitCode.FAILED,
    Outcome.ERROR: ExitCode.DID_NOT_FINISH,
    Outcome.INTERRUPTED: ExitCode.DID_NOT_FINISH,
}


def _load_dbt(loading: Future[None]) -> None:
    try:
        dbt_session.load()
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
        loading.set_exception(error)
    else:
        loading.set_result(None)


def _sql_uploads(ledger: NodeLedger, folder: str) -> list[Upload]:
    return [
        Upload(
            key=f"{folder}{compiled_path(result.step, result.unique_id)}",
            source=result.compiled_code.encode(errors="replace"),
        )
        for result in ledger.results()
        if result.compiled_code is not None and result.is_told_in_full
    ]


def _sample_uploads(samples: Mapping[tuple[str, str], Mapping[str, Any]], folder: str) -> list[Upload]:
    return [
        Upload(key=f"{folder}{sample_path(step, unique_id)}", source=json.dumps(found).encode())
        for (step, unique_id), found in samples.items()
    ]
