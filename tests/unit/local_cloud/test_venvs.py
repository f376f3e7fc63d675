"""Python environments are installed once, whoever asks."""

import fcntl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local_cloud.venvs import install_venv

pytestmark = pytest.mark.slow


def test_one_installs_and_the_others_wait(tmp_path: Path) -> None:
    """Two that need the same environment at the same time do not install into each other's half."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("")
    folder = tmp_path / "venvs/empty"
    folder.parent.mkdir()
    with ThreadPoolExecutor() as pool, folder.with_name("empty.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installing = [pool.submit(install_venv, folder, requirements) for _ in range(2)]
        with pytest.raises(TimeoutError):
            installing[0].result(timeout=1)
        assert not folder.exists()
        fcntl.flock(lock, fcntl.LOCK_UN)
        pythons = {future.result(timeout=60) for future in installing}

    assert pythons == {folder / "bin/python"}
    assert subprocess.run([*pythons, "-c", "pass"], check=False).returncode == 0
