"""What a run has built out of what, told to an OpenLineage server after the run: by OpenLineage's own reader of dbt."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.credentials import secret_fields
from runner.dbt_types import DbtObject
from runner.log import SCRUBBER
from runner.outcome import RunnerError, SettingsError
from runner.pipeline import StepEnding
from runner.profile import PROFILE_NAME
from runner.run_spec import StepName

_LOG = logging.getLogger("runner")
_PRODUCER = "https://github.com/OpenLineage/OpenLineage/tree/main/integration/dbt"
"""Whose reader made the events (https://openlineage.io/docs/spec/producers)."""
_BUILDS = (StepName.SEED, StepName.SNAPSHOT, StepName.RUN, StepName.TEST, StepName.BUILD)
_SECONDS_FOR_ONE_REQUEST = 5.0
_FIELDS = frozenset({"url", "namespace", "api_key_secret"})


class Lineage:
    """
    Sends events of a run and of its nodes to the server that the deployment names.

    `settings` has `url`, `namespace` (of the jobs; the environment's name without it) and `api_key_secret`, the ARN of a secret
    whose JSON has the field `api_key`. Raises SettingsError for anything else.
    """

    def __init__(self, settings: Mapping[str, Any], *, environment: str, project: str) -> None:
        unknown = sorted(set(settings) - _FIELDS)
        if unknown:
            raise SettingsError(f"unknown field {unknown[0]!r} in lineage, allowed are {sorted(_FIELDS)}")
        url = settings.get("url")
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise SettingsError(f"url of lineage must begin with https:// or http://, got {url!r}")
        self._url = url
        self._namespace = str(settings.get("namespace") or environment)
        self._secret: str | None = settings.get("api_key_secret")
        self._job_name = f"dbt-run-{project}"

    def send(
        self,
        *,
        run_id: str,
        started_at: str,
        is_good: bool,
        endings: Sequence[StepEnding],
        results_folder: Path,
        project_folder: Path,
        profiles_folder: Path,
        target: str,
        within_seconds: float,
    ) -> None:
        """
        Send what there is to tell of an attempt that has ended.

        `run_id` is that of dbt on Fargate, of which OpenLineage's, a UUID, is made: all attempts are one run there. Never raises:
        what could not be told is said in the log, and changes nothing about how the run ended.
        """
        until = time.monotonic() + within_seconds
        try:
            client = self._client()
            parent = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._namespace}/{self._job_name}/{run_id}"))
            events = [
                self._event_of_run("START", parent, started_at),
                *(
                    event
                    for ending in endings
                    for event in self._events_of_step(
                        ending,
                        parent,
                        results_folder=results_folder,
                        project_folder=project_folder,
                        profiles_folder=profiles_folder,
                        target=target,
                    )
                ),
                self._event_of_run("COMPLETE" if is_good else "FAIL", parent, datetime.now(UTC).isoformat()),
            ]
        except Exception as error:  # noqa: BLE001 - a foreign library reads the artifacts, and the run is over
            self._say_lost("no lineage was sent", error)
            return
        for number, event in enumerate(events):
            left = f"{len(events) - number} of {len(events)} events of lineage were not sent"
            if time.monotonic() > until:
                self._say_lost(left, f"{within_seconds:.0f} s were not enough")
                return
            try:
                client.emit(event)
            except Exception as error:  # noqa: BLE001 - see above
                self._say_lost(left, error)
                return
        _LOG.info("%d events of lineage were sent", len(events), extra={"url": self._url})

    def _say_lost(self, what: str, why: object) -> None:
        told = SCRUBBER.scrub(str(why)).strip() or type(why).__name__
        _LOG.warning("%s to %s: %s", what, self._url, told)

    def _client(self) -> DbtObject:
        from openlineage.client import OpenLineageClient  # noqa: PLC0415 - only in images that were built with it
        from openlineage.client.transport.http import (  # noqa: PLC0415 - see above
            ApiKeyTokenProvider,
            HttpConfig,
            HttpTransport,
        )

        config = HttpConfig(url=self._url, timeout=_SECONDS_FOR_ONE_REQUEST, retry={"total": 1, "backoff_factor": 0.3})
        if self._secret is not None:
            key = secret_fields(self._secret).get("api_key")
            if not isinstance(key, str) or not key:
                raise RunnerError(f"secret {self._secret!r} has no field 'api_key'")
            SCRUBBER.hide(key)
            config.auth = ApiKeyTokenProvider({"api_key": key})
        return OpenLineageClient(transport=HttpTransport(config))

    def _events_of_step(
        self,
        ending: StepEnding,
        parent: str,
        *,
        results_folder: Path,
        project_folder: Path,
        profiles_folder: Path,
        target: str,
    ) -> Iterator[DbtObject]:
        from openlineage.common.provider.dbt import DbtLocalArtifactProcessor  # type: ignore[import-untyped]  # noqa: PLC0415 - see _client
        from openlineage.common.provider.dbt.facets import ParentRunMetadata  # type: ignore[import-untyped]  # noqa: PLC0415 - see _client

        folder = results_folder / ending.folder
        if ending.step.name not in _BUILDS or not (folder / "run_results.json").exists():
            return
        artifacts = results_folder / "lineage" / ending.folder
        artifacts.mkdir(parents=True, exist_ok=True)
        for name in ("run_results.json", "manifest.json"):
            (artifacts / name).write_bytes(SCRUBBER.scrub_bytes((folder / name).read_bytes()))
        for catalog in results_folder.glob("*/catalog.json"):
            (artifacts / "catalog.json").write_bytes(catalog.read_bytes())
        processor = DbtLocalArtifactProcessor(
            producer=_PRODUCER,
            job_namespace=self._namespace,
            # dbt has more ends of a node than the reader knows.
            skip_errors=True,
            logger=_LOG,
            project_dir=str(project_folder),
            profile_name=PROFILE_NAME,
            target=target,
            target_path=str(artifacts),
            dbt_command_line=["--profiles-dir", str(profiles_folder)],
        )
        # Of dbt's filters, the reader has one that the profile does not use.
        processor.jinja_environment.filters["as_text"] = str
        processor.dbt_run_metadata = ParentRunMetadata(
            run_id=parent, job_name=self._job_name, job_namespace=self._namespace
        )
        yield from processor.parse().events()

    def _event_of_run(self, kind: str, run_id: str, at: str) -> DbtObject:
        from openlineage.client.event_v2 import Job, Run, RunEvent, RunState  # noqa: PLC0415 - see _client
        from openlineage.client.facet_v2 import job_type_job  # noqa: PLC0415 - see _client

        kind_of_job = job_type_job.JobTypeJobFacet(
            jobType="JOB", integration="DBT", processingType="BATCH", producer=_PRODUCER
        )
        return RunEvent(
            eventType=RunState[kind],
            eventTime=at,
            run=Run(runId=run_id),
            job=Job(namespace=self._namespace, name=self._job_name, facets={"jobType": kind_of_job}),
            producer=_PRODUCER,
        )
