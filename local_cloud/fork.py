"""A clone of this repository, as a stranger's fork, on the environment that is installed here."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from local_cloud.cdk_cli import REPOSITORY_ROOT

_INSTALLED = (".venv", "node_modules")
_INSTALLED_FROM = ("requirements.txt", "package.json", "package-lock.json")


class Fork:
    """The clone in `folder`; what is committed here is in it, and its `make setup` finds everything done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run(["git", "clone", "--quiet", REPOSITORY_ROOT, folder], check=True)
        for name in _INSTALLED:
            (folder / name).symlink_to(REPOSITORY_ROOT / name)
        # What make takes for older than what was installed of it.
        for name in _INSTALLED_FROM:
            os.utime(folder / name, (0, 0))
        (folder / ".git/info/exclude").write_text("\n".join([*_INSTALLED, ""]), encoding="utf-8")

    def git(self, *arguments: str) -> str:
        """What git says."""
        named = ["-c", "user.name=a stranger", "-c", "user.email=stranger@example.com"]
        done = subprocess.run(["git", *named, *arguments], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        """Change a file, and commit it; raises ValueError if `change` leaves it as it is."""
        file = self.folder / name
        before = file.read_text(encoding="utf-8")
        after = change(before)
        if after == before:
            raise ValueError(f"{name} is not changed")
        file.write_text(after, encoding="utf-8")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", f"Change {file.name}")
