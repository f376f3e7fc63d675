"""A clone of this repository, as a stranger's fork, on the environment that is installed here."""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from local_cloud.cdk_cli import REPOSITORY_ROOT

_INSTALLED = (".venv", "node_modules")
_LOCKS = ("requirements.txt", "package.json", "package-lock.json")


class Fork:
    """
    The clone in `folder`; what is committed here is in it, and its `make setup` finds everything done.

    `installed`: further folders of what is installed here and is the same there.
    """

    def __init__(self, folder: Path, installed: Sequence[str] = ()) -> None:
        self.folder = folder
        subprocess.run(["git", "clone", "--quiet", REPOSITORY_ROOT, folder], check=True)
        names = (*_INSTALLED, *installed)
        for name in names:
            (folder / name).symlink_to(REPOSITORY_ROOT / name)
            self.age_locks_beside(name)
        (folder / ".git/info/exclude").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")

    def age_locks_beside(self, name: str) -> None:
        """Let make take what is installed in a folder for younger than what it was installed of."""
        for lock in _LOCKS:
            if (file := (self.folder / name).parent / lock).is_file():
                os.utime(file, (0, 0))

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
