"""
Checks of every dbt project: descriptions, tests on keys, names and unused sources, by dbt-bouncer and without a warehouse.

A project is everything below `projects/` that has a dbt_project.yml, and what the settings name besides.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import yaml

from constructs_lib.dbt_graph import dbt_manifest, dbt_python_of, fingerprint
from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.dbt_requirements import DbtRequirements
from constructs_lib.repository import REPOSITORY
from constructs_lib.settings_error import SettingsError

_RULES = "dbt-bouncer.yml"
_CACHE = REPOSITORY / ".cache" / "dbt-check"
_ENVIRONMENT = "check"


def projects() -> Iterator[tuple[Path, DbtRequirements | None]]:
    """Each project's folder, and its own versions of dbt if it pins them. Raises SettingsError."""
    from stacks.environments import ENVIRONMENTS  # noqa: PLC0415 - wrong settings raise while the module is loaded

    found = {file.parent.resolve(): None for file in sorted((REPOSITORY / "projects").glob("*/dbt_project.yml"))}
    of_settings = {
        project.folder: project.locked_requirements for settings in ENVIRONMENTS for project in settings.projects
    }
    yield from {**found, **of_settings}.items()


def check(folder: Path, requirements: DbtRequirements | None = None, *, cache_folder: Path = _CACHE) -> bool:
    """
    Whether the project in `folder` passes; what does not is printed.

    A project that passed is not read again until it, or what is asked of it, changes. Raises SettingsError if it does not parse.
    """
    files = DbtProjectFiles(folder)
    own_rules = folder / _RULES
    rules = (own_rules if own_rules.is_file() else REPOSITORY / _RULES).read_text(encoding="utf-8")
    asked = hashlib.sha256(f"{metadata.version('dbt-bouncer')}\0{rules}".encode()).hexdigest()
    passed = cache_folder / f"{fingerprint(files, files.name, _ENVIRONMENT, _ENVIRONMENT, requirements)}-{asked}"
    if passed.is_file():
        return True
    python = dbt_python_of(requirements, files.name, cache_folder / "environments")
    manifest = dbt_manifest(files, files.name, _ENVIRONMENT, _ENVIRONMENT, python)
    with tempfile.TemporaryDirectory(prefix="dbt-check-") as temporary:
        (Path(temporary) / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        configuration = Path(temporary) / _RULES
        configuration.write_text(yaml.safe_dump({**yaml.safe_load(rules), "dbt_artifacts_dir": "."}), encoding="utf-8")
        findings = Path(temporary) / "findings.json"
        done = subprocess.run(
            [
                *(str(Path(sys.executable).parent / "dbt-bouncer"), "run", f"--config-file={configuration}"),
                *(f"--output-file={findings}", "--output-format=json", "--output-only-failures"),
            ],
            cwd=temporary,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        found = json.loads(findings.read_text(encoding="utf-8")) if findings.is_file() else []
    for finding in found:
        name = finding["check_run_id"].partition(":")[0]
        print(f"{files.name}: {finding['unique_id']}: {name}: {finding['failure_message']}")
    if done.returncode == 0:
        cache_folder.mkdir(parents=True, exist_ok=True)
        passed.touch()
    elif not found:
        print(f"{files.name}: {done.stdout.strip()}")
    return done.returncode == 0


def main() -> int:
    """Check all projects; returns the exit code."""
    try:
        outcomes = [check(folder, requirements) for folder, requirements in projects()]
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return int(not all(outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
