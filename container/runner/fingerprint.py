"""What the code of a run is, in one word: resume and the parse cache hold only for the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

FINGERPRINT_FILE = Path("/opt/dbt/fingerprint")
"""Written when the image is built, so that a run need not read all files of the project."""

_LEFT_OUT = frozenset({"target", "logs", ".git", ".user.yml", "__pycache__"})


def code_fingerprint(project_folder: Path) -> str:
    """Return the image's fingerprint for the image's project, for any other folder that of its files and the installed dbt."""
    if project_folder == FINGERPRINT_FILE.parent / "project" and FINGERPRINT_FILE.exists():
        return FINGERPRINT_FILE.read_text(encoding="ascii").strip()
    return project_fingerprint(project_folder)


def project_fingerprint(project_folder: Path) -> str:
    """Return a hash over the files of a dbt project (names and contents, vendored packages too) and dbt's versions."""
    digest = hashlib.sha256()
    for package in ("dbt-core", "dbt-redshift", "dbt-adapters"):
        digest.update(f"{package}=={metadata.version(package)}\0".encode())
    for path in sorted(project_folder.rglob("*")):
        relative = path.relative_to(project_folder)
        if path.is_file() and not _LEFT_OUT & set(relative.parts):
            digest.update(f"{relative.as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def combined(*parts: str | Mapping[str, Any] | bool | None) -> str:
    """Return a hash over `parts`, whatever the order of their fields."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
