"""The hooks of .pre-commit-config.yaml, run by pre-commit on a commit that breaks what they look for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from constructs_lib.repository import REPOSITORY

pytestmark = pytest.mark.slow

_CONFIGURATION = REPOSITORY / ".pre-commit-config.yaml"
# Those that read all dbt projects have tests of their own.
_OF_PROJECTS = {"sqlfluff", "dbt-projects"}
# A key that opens nothing, in two parts so that this file holds none.
_KEY = "AKIA" + "IEQH746YNG7BY3A4"
_SECRET = "IDnOdcdbWB2dC4+DSDC6" + "Lc1mxLpQ2yMK+Ye9FZ1w"
_BAD = {
    "settings.txt": f'key = "{_KEY}"\nsecret = "{_SECRET}"\n',
    "bad.py": "import os\nx=1\n",
    "bad.yml": "a:   1\n",
    "Dockerfile": "FROM debian\nRUN sudo make\n",
    ".github/workflows/bad.yml": "on: push\njobs:\n  a:\n    needs: nothing\n    runs-on: ubuntu-24.04\n    steps:\n      - uses: actions/checkout@v6\n"
    "      - run: echo ${{ github.event.head_commit.mesage }}\n",
    ".gitlab-ci.yml": "job:\n  scrpt: [make]\n",
}


def _git(checkout: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=checkout, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the hooks and the locked tools, in which bad files are about to be committed."""
    _git(tmp_path, "init", "--quiet")
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    for name in (".pre-commit-config.yaml", "pyproject.toml", ".yamllint", ".gitignore"):
        (tmp_path / name).write_text((REPOSITORY / name).read_text())
    for name, text in _BAD.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    _git(tmp_path, "add", *_BAD, ".pre-commit-config.yaml")
    return tmp_path


def test_every_hook_finds_what_it_is_for(checkout: Path) -> None:
    """Without the network, and without showing the secret that it found."""
    hooks = [hook["id"] for hook in yaml.safe_load(_CONFIGURATION.read_text())["repos"][0]["hooks"]]
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "pre-commit"), "run", "--color=never"],
        cwd=checkout,
        env={"PATH": os.environ["PATH"], "HOME": str(checkout), "SKIP": ",".join(_OF_PROJECTS)},
        check=False,
        capture_output=True,
        text=True,
    )

    failed = [line.removeprefix("- hook id: ") for line in ran.stdout.splitlines() if line.startswith("- hook id: ")]
    assert failed == [hook for hook in hooks if hook not in _OF_PROJECTS], ran.stdout + ran.stderr
    assert _KEY not in ran.stdout
    assert _SECRET not in ran.stdout


def test_hooks_download_nothing() -> None:
    """Each is a program of the locked environment."""
    (repository,) = yaml.safe_load(_CONFIGURATION.read_text())["repos"]

    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        (program,) = [word for word in hook["entry"].split() if word.startswith(".venv/bin/")]
        assert (Path(sys.executable).parent / Path(program).name).is_file()
