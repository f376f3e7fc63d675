"""A pull request's project, tried in schemas of its own: its files, what it may build, and the drop of what it has built."""

from __future__ import annotations

import dataclasses
import io
import logging
import re
import tarfile
from pathlib import Path

from runner.dbt_types import DbtObject
from runner.log import SCRUBBER
from runner.outcome import RunnerError, SettingsError
from runner.run_spec import Trial
from runner.settings import Settings
from runner.store import Store

_LOG = logging.getLogger("runner")
_BUILT = frozenset({"model", "seed", "snapshot", "test"})


class OutsideError(RunnerError):
    """A node would be built where it must not be; nothing has been touched."""


def settings_of(settings: Settings, trial: Trial, store: Store) -> Settings:
    """
    Return `settings` with the trial's schema, and with its project, unpacked, if it has one.

    Raises SettingsError for an archive that is elsewhere than in the project's own part of the bucket, not there, or not whole.
    """
    deployment = dataclasses.replace(
        settings.deployment, schema=f"{settings.deployment.schema}_{trial.schema_suffix}", lineage=None
    )
    project_folder = settings.project_folder
    if trial.project_archive is not None:
        project_folder = settings.scratch_folder / "project"
        _unpack(store, trial.project_archive, project_folder)
    return dataclasses.replace(settings, deployment=deployment, project_folder=project_folder)


def _unpack(store: Store, uri: str, folder: Path) -> None:
    prefix = store.uri("")
    if not uri.startswith(prefix):
        raise SettingsError(f"project_archive must begin with {prefix}, got {uri!r}")
    body = store.get(uri.removeprefix(prefix))
    if body is None:
        raise SettingsError(f"project_archive names {uri}, where there is nothing")
    try:
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SettingsError(f"{uri} cannot be unpacked: {error}") from error


def check_relations(manifest: DbtObject, *, schema: str, database: str) -> None:
    """Raise OutsideError for a node that would be built or stored outside of `schema` and the schemas that dbt makes of it."""
    for node in manifest.nodes.values():
        if node.resource_type not in _BUILT or getattr(node, "is_ephemeral_model", False):
            continue
        is_inside = f"{node.schema}_".lower().startswith(f"{schema}_".lower())
        if not is_inside or (node.database or database).lower() != database.lower():
            raise OutsideError(
                f"{node.unique_id} would be built in {node.database}.{node.schema}, outside of {schema!r}: "
                "let generate_schema_name, or its config, follow target.schema"
            )


def drop_schemas(schema: str, suffixes: tuple[str, ...]) -> list[str]:
    """
    Drop `<schema>_<suffix>`, and the schemas that dbt makes of it, of each of `suffixes`; returns what was dropped.

    Call it after a parse, whose adapter it uses. Raises RunnerError with the database's words.
    """
    from dbt.adapters.factory import FACTORY  # noqa: PLC0415 - seconds of import, which a run without a trial does not need here

    adapter: DbtObject = FACTORY.lookup_adapter("redshift")
    names = re.compile("|".join(rf"{re.escape(f'{schema}_{suffix}')}(_.*)?" for suffix in suffixes), re.IGNORECASE)
    try:
        with adapter.connection_named("drop"):
            _, table = adapter.execute("select nspname from pg_namespace", fetch=True)
            found = sorted(name for (name,) in table.rows if names.fullmatch(name))
            for name in found:
                quoted = name.replace('"', '""')
                # The profile leaves dbt-redshift's autocommit on, so each statement stands.
                adapter.execute(f'drop schema if exists "{quoted}" cascade')
    except Exception as error:
        raise RunnerError(f"schemas could not be dropped: {SCRUBBER.scrub(str(error)).strip()}") from error
    if found:
        _LOG.info("schemas %s were dropped", found)
    return found
