"""An analyst's own login to the warehouse, in a file that git ignores: `make credentials`."""

import getpass
import json
import os
import stat
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from constructs_lib.repository import REPOSITORY
from runner.credentials import DEFAULT_PORT, Warehouse
from stacks.settings import Environment

FILE = REPOSITORY / "credentials.toml"
_FIELDS = ("host", "port", "database", "user", "password")


class CredentialsFileError(Exception):
    """The file cannot be used; the message says why and never what is in it."""


def read(file: Path, environment: str) -> Warehouse | None:
    """The login to an environment's warehouse, None if the file has none; raises CredentialsFileError."""
    if not file.exists():
        return None
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise CredentialsFileError(f"{file.name} may be read by others than you: chmod 600 {file}")
    entry = _entries(file).get(environment)
    if entry is None:
        return None
    missing = [name for name in _FIELDS if not entry.get(name)]
    if missing or not isinstance(entry["port"], int):
        raise CredentialsFileError(
            f"{file.name} must have {', '.join(_FIELDS)} in [{environment}], lacks {', '.join(missing) or 'a number as port'}"
        )
    return Warehouse(**{name: entry[name] for name in _FIELDS})


def write(file: Path, environment: str, warehouse: Warehouse) -> None:
    """Put the login to an environment's warehouse into the file, beside those to others; only its owner may read it."""
    entries = {**(_entries(file) if file.exists() else {})}
    entries[environment] = {name: getattr(warehouse, name) for name in _FIELDS}
    # A string of JSON is one of TOML, too.
    text = "\n".join(
        f"[{json.dumps(name)}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in entry.items())
        for name, entry in entries.items()
    )
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        opened.write(text)
    unfinished.replace(file)


def _entries(file: Path) -> dict[str, dict[str, Any]]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CredentialsFileError(f"{file.name} is not TOML: make credentials writes it anew") from error


def main(
    arguments: Sequence[str],
    environments: Sequence[Environment],
    *,
    file: Path = FILE,
    ask: Callable[[str], str] = input,
    ask_secret: Callable[[str], str] = getpass.getpass,
) -> int:
    """Ask for the login to the warehouse of the environment that is named and keep it; returns the exit code."""
    names = [environment.name for environment in environments]
    name = arguments[0] if arguments else ""
    if name not in names:
        print(f"error: environment must be one of {', '.join(names)}, got {name!r}", file=sys.stderr)
        return 1
    host = ask(f"host of the warehouse of {name}: ").strip()
    port = ask(f"port [{DEFAULT_PORT}]: ").strip() or str(DEFAULT_PORT)
    database, user = ask("database: ").strip(), ask("user: ").strip()
    password = ask_secret("password: ")
    if not port.isdigit() or not all((host, database, user, password)):
        print("error: host, database, user and password must be given, and the port a number", file=sys.stderr)
        return 1
    warehouse = Warehouse(host=host, port=int(port), database=database, user=user, password=password)
    try:
        write(file, name, warehouse)
    except CredentialsFileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{file} has it, readable by you alone, and ignored by git")
    return 0


if __name__ == "__main__":
    from stacks.environments import ENVIRONMENTS

    raise SystemExit(main(sys.argv[1:], ENVIRONMENTS))
