"""The Python environments of the local cloud: the emulator and Airflow do not share one with the product."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path


def install_venv(folder: Path, requirements: Path) -> Path:
    """
    Make `folder` a virtual environment with exactly the locked `requirements` and return its Python.

    Does nothing when that is so already, and waits while another process does it. Raises RuntimeError with the installer's words when it fails.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _install(folder, requirements)


def _install(folder: Path, requirements: Path) -> Path:
    python = folder / "bin/python"
    stamp = folder / ".installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    uv = Path(sys.executable).parent / "uv"
    if not python.exists():
        _run([uv, "venv", "--quiet", "--python", sys.executable, folder])
    # Airflow and the emulator start from bytecode: compiling once here is cheaper than at every start.
    _run([uv, "pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes", "--python", python, requirements])
    stamp.write_text(wanted)
    return python


def _run(command: list[str | Path]) -> None:
    result = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        raise RuntimeError(f"{command[0]} {command[1]} exited with {result.returncode}:\n{result.stderr[-3000:]}")
