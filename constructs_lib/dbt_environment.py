"""The Python environments of projects that pin their own dbt: what reads their models is the dbt that will build them."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from constructs_lib.dbt_requirements import DbtRequirements
from constructs_lib.settings_error import SettingsError

_INSTALL_TIMEOUT_SECONDS = 900


def dbt_python(requirements: DbtRequirements, *, cache_folder: Path) -> Path:
    """
    The Python of a virtual environment that has the packages of `requirements` and no others.

    It is made once for each content, which needs the package index, and kept in `cache_folder`. Raises `SettingsError` in uv's
    words if that cannot be: a version that does not exist, a wrong hash, packages that do not go together, no network.
    """
    content = "\0".join((requirements.digest, sys.version, sys.base_prefix))
    folder = cache_folder / hashlib.sha256(content.encode()).hexdigest()
    python = folder / "bin" / "python"
    if not python.exists():
        shutil.rmtree(folder, ignore_errors=True)
        cache_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_folder, prefix="new-") as temporary:
            made = Path(temporary) / "environment"
            _install(requirements, made)
            _move(made, folder)
    return python


def _install(requirements: DbtRequirements, folder: Path) -> None:
    _uv(requirements, "venv", "--python", sys.executable, str(folder))
    # As the image does it, which compiles and builds nothing either.
    options = ("--require-hashes", "--only-binary", ":all:", "--requirement", str(requirements.file))
    _uv(requirements, "pip", "install", "--python", str(folder / "bin" / "python"), *options)


def _uv(requirements: DbtRequirements, *arguments: str) -> None:
    # With this machine's way to the package index; the hashes make what comes from there the same for everyone.
    done = subprocess.run(
        [sys.executable, "-m", "uv", "--quiet", "--no-progress", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=_INSTALL_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise SettingsError(f"the packages of {requirements.file} cannot be installed:\n{done.stderr.strip()}")


def _move(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        # Two synths at once: the other one was faster, and its environment is the same.
        if not folder.is_dir():
            raise
