"""The graph of a dbt project's models, read by dbt itself when the app is synthesized."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from constructs_lib.dbt_environment import dbt_python
from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.dbt_requirements import DbtRequirements
from constructs_lib.settings_error import SettingsError

_FORMAT_VERSION = 1
_PARSE_TIMEOUT_SECONDS = 600
_GRAPH_TYPES = frozenset({"model", "seed", "snapshot"})
_SOURCE = re.compile(r"\bsource\('(.+?)', '(.+?)'\)")
"""How dbt writes down what a generic test of a source is about."""


def dbt_graph(
    project: DbtProjectFiles,
    *,
    project_name: str,
    environment_name: str,
    schema: str,
    cache_folder: Path,
    requirements: DbtRequirements | None = None,
) -> dict[str, Any]:
    """
    The content of `graph.json`: models, seeds, snapshots and the sources that they read, sorted, with their tests.

    Ephemeral models are left out and their dependents depend on what they read. Nothing is read from a warehouse or from the
    network. The result is kept in `cache_folder` under a fingerprint of everything that it depends on. `requirements`: the
    packages of a project that pins its own dbt, which then reads the models; they are installed from the network the first time.

    Raises `SettingsError` if packages are not installed, dbt cannot parse the project, or the project has nothing to build.
    """
    missing = project.missing_packages()
    if missing:
        raise SettingsError(
            f"project {project_name!r}: {' and '.join(missing)} asks for packages that are not installed in "
            f"{project.packages_folder}; run: dbt deps --project-dir {project.folder}"
        )
    cached = cache_folder / f"{fingerprint(project, project_name, environment_name, schema, requirements)}.json"
    if cached.is_file():
        graph: dict[str, Any] = json.loads(cached.read_text(encoding="utf-8"))
        return graph
    manifest = dbt_manifest(
        project, project_name, environment_name, schema, dbt_python_of(requirements, project_name, cache_folder)
    )
    graph = graph_of_manifest(manifest, project_name=project_name)
    if not any(node["resource_type"] in _GRAPH_TYPES for node in graph["nodes"]):
        raise SettingsError(
            f"project {project_name!r}: {project.folder} has no enabled model, seed or snapshot to build"
        )
    text = json.dumps(graph, sort_keys=True)
    _write_whole(cached, text)
    # As the next synth will read it: the order of keys is part of the deployed file.
    stored: dict[str, Any] = json.loads(text)
    return stored


def graph_of_manifest(manifest: Mapping[str, Any], *, project_name: str) -> dict[str, Any]:
    """Reduce dbt's manifest (`manifest.json`) to the content of `graph.json`."""
    built = {
        unique_id: node
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] in _GRAPH_TYPES and not _is_ephemeral(node)
    }
    depends_on = {unique_id: _real_parents(unique_id, manifest, built) for unique_id in built}
    used_sources = {parent for parents in depends_on.values() for parent in parents if parent in manifest["sources"]}
    tests = _tests_by_node(manifest, built, depends_on)
    entries = [
        _entry(node, sorted(depends_on[unique_id]), tests.get(unique_id, [])) for unique_id, node in built.items()
    ]
    entries += [
        _entry(source, [], tests.get(unique_id, []))
        for unique_id, source in manifest["sources"].items()
        if unique_id in used_sources or unique_id in tests or _has_freshness(source)
    ]
    return {
        "format_version": _FORMAT_VERSION,
        "project": project_name,
        "nodes": sorted(entries, key=lambda entry: str(entry["unique_id"])),
    }


def _entry(node: Mapping[str, Any], depends_on: list[str], tests: list[str]) -> dict[str, Any]:
    is_source = node["resource_type"] == "source"
    # The parts of a unique id before the name: resource type and package, for a source its source's name as well.
    name = node["unique_id"].split(".", 2)[2]
    return {
        "unique_id": node["unique_id"],
        "resource_type": node["resource_type"],
        "name": name,
        "package": node["package_name"],
        "folder": _folder(node),
        "materialized": None if is_source else node["config"]["materialized"],
        "depends_on": depends_on,
        "tests": sorted(tests),
    }


def _folder(node: Mapping[str, Any]) -> list[str]:
    # fqn: package, folders, name; sources and snapshots add the name of what holds them, versioned models the version.
    folders = Path(node["original_file_path"]).parent.parts
    return [folder for folder in folders[1:] if folder in node["fqn"]]


def _has_freshness(source: Mapping[str, Any]) -> bool:
    # dbt fills in thresholds without a count where none are given.
    thresholds = source.get("freshness") or {}
    return any((thresholds.get(key) or {}).get("count") for key in ("warn_after", "error_after"))


def _is_ephemeral(node: Mapping[str, Any]) -> bool:
    return bool(node["resource_type"] == "model" and node["config"]["materialized"] == "ephemeral")


def _real_parents(unique_id: str, manifest: Mapping[str, Any], built: Mapping[str, Any]) -> set[str]:
    parents: set[str] = set()
    seen: set[str] = set()
    to_visit = [unique_id]
    while to_visit:
        node = manifest["nodes"][to_visit.pop()]
        for parent in node["depends_on"].get("nodes", []):
            if parent in seen:
                continue
            seen.add(parent)
            if parent in built or parent in manifest["sources"]:
                parents.add(parent)
            elif parent in manifest["nodes"]:
                to_visit.append(parent)
    return parents


def _tests_by_node(
    manifest: Mapping[str, Any], built: Mapping[str, Any], depends_on: Mapping[str, Iterable[str]]
) -> dict[str, list[str]]:
    depths: dict[str, int] = {}

    def depth(unique_id: str) -> int:
        # Recursion ends: dbt refuses cycles.
        if unique_id not in depths:
            depths[unique_id] = 1 + max((depth(parent) for parent in depends_on.get(unique_id, ())), default=0)
        return depths[unique_id]

    tests: dict[str, list[str]] = {}
    all_tests = {
        **{key: node for key, node in manifest["nodes"].items() if node["resource_type"] == "test"},
        **manifest.get("unit_tests", {}),
    }
    for unique_id, test in all_tests.items():
        owner = test.get("attached_node")
        if owner not in built and owner not in manifest["sources"]:
            # A singular test, a unit test or a test of an ephemeral model runs when the last of what it reads is built; dbt
            # attaches no test to a source either, and one that reads several sources is that of the one it is written under.
            candidates = [*_real_parents_of_test(test, manifest, built)]
            tested = _tested_source(test)
            owner = max(
                candidates,
                key=lambda candidate: (depth(candidate), tested is not None and candidate.endswith(tested), candidate),
                default=None,
            )
        if owner is not None:
            tests.setdefault(owner, []).append(unique_id)
    return tests


def _tested_source(test: Mapping[str, Any]) -> str | None:
    """The end of the unique id of the source that a generic test is written under."""
    named = _SOURCE.search(str((test.get("test_metadata") or {}).get("kwargs", {}).get("model")))
    return f".{named[1]}.{named[2]}" if named else None


def _real_parents_of_test(test: Mapping[str, Any], manifest: Mapping[str, Any], built: Mapping[str, Any]) -> set[str]:
    parents: set[str] = set()
    for parent in test["depends_on"].get("nodes", []):
        if parent in built or parent in manifest["sources"]:
            parents.add(parent)
        elif parent in manifest["nodes"]:
            parents |= _real_parents(parent, manifest, built)
    return parents


def dbt_python_of(requirements: DbtRequirements | None, project_name: str, cache_folder: Path) -> str:
    """The Python that has the project's dbt. Raises `SettingsError` if it cannot be installed."""
    if requirements is None:
        return sys.executable
    try:
        return str(dbt_python(requirements, cache_folder=cache_folder / "environments"))
    except SettingsError as error:
        raise SettingsError(f"project {project_name!r}: {error}") from error


def fingerprint(
    project: DbtProjectFiles,
    project_name: str,
    environment_name: str,
    schema: str,
    requirements: DbtRequirements | None,
) -> str:
    """The same as long as dbt reads the same in the project."""
    digest = hashlib.sha256()

    def add(value: bytes) -> None:
        digest.update(len(value).to_bytes(8, "big"))
        digest.update(value)

    add(Path(__file__).read_bytes())
    if requirements is not None:
        add(requirements.digest.encode())
    else:
        for package in ("dbt-core", "dbt-redshift", "dbt-adapters"):
            add(metadata.version(package).encode())
    for text in (project_name, environment_name, schema):
        add(text.encode())
    for relative_path in project.relative_paths:
        add(relative_path.as_posix().encode())
        add((project.folder / relative_path).read_bytes())
    return digest.hexdigest()


def dbt_manifest(
    project: DbtProjectFiles, project_name: str, environment_name: str, schema: str, python: str
) -> dict[str, Any]:
    """
    What dbt reads in the project (`manifest.json`), without a warehouse; `python` has the dbt that reads it.

    Raises `SettingsError` in dbt's words if it cannot.
    """
    with tempfile.TemporaryDirectory(prefix="dbt-parse-") as temporary:
        folder = Path(temporary)
        (folder / "profiles.yml").write_text(json.dumps(offline_profiles(project.profile, environment_name, schema)))
        result = subprocess.run(
            [
                *(python, "-m", "dbt.cli.main", "--no-use-colors", "--no-send-anonymous-usage-stats"),
                *("--no-version-check", "--quiet", "parse", "--no-partial-parse"),
                *("--project-dir", str(project.folder), "--profiles-dir", str(folder)),
                *("--target-path", str(folder / "target"), "--log-path", str(folder / "logs")),
            ],
            # Nothing of this machine but where programs are found: the same commit gives the same graph for everyone.
            env={
                **offline_variables(environment_name, schema),
                "HOME": str(folder),
                "PATH": os.defpath,
                "LANG": "C.UTF-8",
            },
            cwd=folder,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_PARSE_TIMEOUT_SECONDS,
            check=False,
        )
        if result.returncode != 0:
            raise SettingsError(
                f"project {project_name!r}: dbt cannot parse {project.folder}:\n{(result.stdout + result.stderr).strip()}"
            )
        manifest: dict[str, Any] = json.loads((folder / "target" / "manifest.json").read_text(encoding="utf-8"))
        return manifest


def offline_variables(environment_name: str, schema: str) -> dict[str, str]:
    """The variables that the runner sets for dbt, with values that reach nothing."""
    return {
        "DBT_ENVIRONMENT": environment_name,
        "DBT_REDSHIFT_HOST": "parse.invalid",
        "DBT_REDSHIFT_PORT": "5439",
        "DBT_REDSHIFT_USER": "parse",
        "DBT_REDSHIFT_DB": "parse",
        "DBT_REDSHIFT_SCHEMA": schema,
        "DBT_ENV_SECRET_REDSHIFT_PASSWORD": "parse",
    }


def offline_profiles(profile: str, environment_name: str, schema: str) -> dict[str, Any]:
    """The content of a profiles.yml whose warehouse cannot be reached; as JSON it is YAML, too, and needs no quoting rules."""
    output = {
        "type": "redshift",
        "host": "parse.invalid",
        "port": 5439,
        "user": "parse",
        "password": "parse",
        "dbname": "parse",
        "schema": schema,
        "threads": 1,
    }
    return {profile: {"target": environment_name, "outputs": {environment_name: output}}}


def _write_whole(file: Path, text: str) -> None:
    # Two synths at once must never read half a file.
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".tmp", delete=False, encoding="utf-8") as temporary:
        temporary.write(text)
    Path(temporary.name).replace(file)
