"""What differs from another commit, and whether that is dbt projects alone: `make ci-check BASE=…`."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from constructs_lib.repository import REPOSITORY

PROJECTS = "projects"
_SHOWN_AT_MOST = 3


class GitError(Exception):
    """What is changed cannot be told; the message has git's words."""


def changed_files(base: str, repository: Path, *, since_common_ancestor: bool) -> list[PurePosixPath]:
    """
    The files, as paths below `repository`, that differ from those of commit `base`, or of its common ancestor with HEAD.

    Raises GitError.
    """
    dots = "..." if since_common_ancestor else ".."
    done = subprocess.run(
        ["git", "diff", "--name-only", "-z", "--no-renames", f"{base}{dots}HEAD", "--"],
        cwd=repository,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise GitError(f"git diff with {base!r} failed: {done.stderr.strip()}")
    return [PurePosixPath(name) for name in done.stdout.split("\0") if name]


def main(arguments: Sequence[str], *, repository: Path = REPOSITORY) -> int:
    """Returns 0 if nothing but dbt projects differs from the commit that is named, else 1, and says why."""
    (base,) = arguments
    if not base:
        print("everything is checked: no BASE says what has passed all checks before")
        return 1
    try:
        # Of the very files that have passed all checks: an ancestor, on a branch that was written anew, may not have.
        changed = changed_files(base, repository, since_common_ancestor=False)
    except GitError as error:
        print(f"everything is checked: {error}")
        return 1
    others = [str(file) for file in changed if not file.is_relative_to(PROJECTS)]
    if others:
        more = f" and {len(others) - _SHOWN_AT_MOST} more" if len(others) > _SHOWN_AT_MOST else ""
        print(f"everything is checked: {', '.join(others[:_SHOWN_AT_MOST])}{more} differs from {base}")
        return 1
    print(f"the dbt projects alone are checked: nothing else differs from {base}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
