"""
Commands as the pages have them: tests type them out of the page, so that a changed page changes what is tried.

tests/unit/test_documented_commands.py finds the calls of `documented` and asks that every command of a page is in one.
Nothing but Python is needed, since the environments of Airflow import this, too.
"""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = tuple(
    sorted(
        path.relative_to(REPOSITORY).as_posix()
        for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "projects/*/*.md")
        for path in REPOSITORY.glob(pattern)
    )
)
_SHELL = frozenset({"console", "sh", "bash", "shell"})
_BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
# "<env>" and "…" stand for what a reader knows; "<<<" and "2>&1" do not.
_TO_FILL = re.compile(r"(?<!<)<[A-Za-z][\w -]*>|…")


def codes(page: str) -> list[str]:
    """What stands as code on a page, the path below the repository: each shell block whole, and each code in a line."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    blocks = [code.strip() for language, code in _BLOCK.findall(text) if language in _SHELL]
    return [*blocks, *_INLINE.findall(_BLOCK.sub("", text))]


def documented(page: str, start: str, filled: Mapping[str, str] | None = None) -> str:
    """
    The command of `page` that begins with `start`, with what `filled` has in the place of what it names.

    Raises LookupError if no command begins so, or more than one, if one does not have what is to be filled in, and if it has a
    placeholder that is not.
    """
    found = {code for code in codes(page) if code.startswith(start)}
    if len(found) != 1:
        raise LookupError(f"{page} must have one command that begins with {start!r}, it has {len(found)}")
    (command,) = found
    wanted = filled or {}
    if strange := [place for place in wanted if place not in command]:
        raise LookupError(f"{page}: there is no {', '.join(strange)} in {command!r}")
    # At once, so that nothing is looked for in what was filled in.
    places = re.compile("|".join([*(re.escape(place) for place in wanted), _TO_FILL.pattern]))
    if left := {place for place in places.findall(command) if place not in wanted}:
        raise LookupError(f"{page}: nothing is filled in for {', '.join(sorted(left))} in {command!r}")
    return places.sub(lambda place: wanted[place[0]], command)


def session(page: str, command: str) -> tuple[str, str]:
    """
    A command of `page` that stands behind "$ " in a block, and what it writes, which stands below it.

    Raises LookupError if there is none, or more than one.
    """
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    blocks = [block.partition("\n") for _, block in _BLOCK.findall(text) if block.startswith(f"$ {command}")]
    if len(blocks) != 1:
        raise LookupError(f"{page} must have one block that begins with '$ {command}', it has {len(blocks)}")
    ((typed_line, _, written),) = blocks
    return typed_line.removeprefix("$ "), written.strip()


def typed(
    command: str, *, environment: Mapping[str, str], folder: Path = REPOSITORY, standard_input: str | None = None
) -> str:
    """What a command writes, typed into bash; raises AssertionError with its words if it fails, in a pipe too."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=dict(environment),
        input=standard_input,
        stdin=subprocess.DEVNULL if standard_input is None else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        # Without a terminal, from which a password would be read.
        start_new_session=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout
