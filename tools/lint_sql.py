"""
sqlfluff over the SQL of every dbt project as dbt compiles it, without a warehouse: `make lint` and `make fix`.

A project that passed is not read again until it changes. One that has a .sqlfluff of its own is checked by that.
"""

import configparser
import hashlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from constructs_lib.dbt_graph import fingerprint, offline_profiles, offline_variables
from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.repository import REPOSITORY
from constructs_lib.settings_error import SettingsError
from tools.check_projects import projects

_RULES = ".sqlfluff"
_CACHE = REPOSITORY / ".cache" / "sqlfluff"
_ENVIRONMENT = "check"


def lint(folder: Path, action: str = "lint", *, cache_folder: Path = _CACHE) -> bool:
    """Whether the SQL of the project in `folder` passes, after "fix" what can be fixed is; what is wrong is printed."""
    files = DbtProjectFiles(folder)
    own_rules = folder / _RULES
    rules = (own_rules if own_rules.is_file() else REPOSITORY / _RULES).read_text(encoding="utf-8")
    asked = hashlib.sha256(f"{metadata.version('sqlfluff')}\0{rules}".encode()).hexdigest()
    passed = cache_folder / f"{fingerprint(files, files.name, _ENVIRONMENT, _ENVIRONMENT, None)}-{asked}"
    packages = files.packages_folder
    sql = [path for path in files.relative_paths if path.suffix == ".sql" and packages not in (folder / path).parents]
    if passed.is_file() or not sql:
        return True
    with tempfile.TemporaryDirectory(prefix="dbt-lint-") as temporary:
        profiles = offline_profiles(files.profile, _ENVIRONMENT, _ENVIRONMENT)
        (Path(temporary) / "profiles.yml").write_text(json.dumps(profiles), encoding="utf-8")
        configuration = Path(temporary) / _RULES
        configuration.write_text(_offline(rules, folder, files.profile, temporary), encoding="utf-8")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tools.offline_sqlfluff", action, "--disable-progress-bar"),
                *("--config", str(own_rules if own_rules.is_file() else configuration)),
                *(str(folder / path) for path in sql),
            ],
            cwd=REPOSITORY,
            env={**_variables(), "DBT_TARGET_PATH": f"{temporary}/target", "DBT_LOG_PATH": f"{temporary}/logs"},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    if done.returncode == 0 and action == "lint":
        cache_folder.mkdir(parents=True, exist_ok=True)
        passed.touch()
    elif done.returncode != 0:
        print(done.stdout.strip())
    return done.returncode == 0


def _offline(rules: str, folder: Path, profile: str, profiles_folder: str) -> str:
    """The text of `rules` with dbt's templater, for the project in `folder`."""
    content = configparser.ConfigParser(interpolation=None)
    content.read_string(rules)
    content["sqlfluff"]["templater"] = "dbt"
    content["sqlfluff:templater:dbt"] = {
        "project_dir": str(folder),
        "profiles_dir": profiles_folder,
        "profile": profile,
        "target": _ENVIRONMENT,
    }
    text = io.StringIO()
    content.write(text)
    return text.getvalue()


def _variables() -> dict[str, str]:
    folder = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    # dbt would send what it does to its makers, and wait where that is not possible.
    quiet = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DBT_VERSION_CHECK": "false"}
    return {**offline_variables(_ENVIRONMENT, _ENVIRONMENT), **quiet, "PATH": folder, "LANG": "C.UTF-8"}


def main(arguments: Sequence[str]) -> int:
    """`lint` or `fix`: all projects; returns the exit code."""
    try:
        outcomes = [lint(folder, arguments[0]) for folder, _ in projects()]
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return int(not all(outcomes))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
