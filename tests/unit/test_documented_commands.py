"""The commands that the documentation names are commands of the Makefile, with the variables that it reads."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from constructs_lib.repository import REPOSITORY

_DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "projects/*/*.md", ".github/**/*.yml", ".gitlab-ci.yml")
    for path in REPOSITORY.glob(pattern)
)
_MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
# In code only: prose makes things, too.
_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_COMMAND = re.compile(r"\bmake ([a-z][a-z0-9-]*)((?:[^\S\n]+[A-Z][A-Z0-9_]*=(?:\"[^\"]*\"|'[^']*'|[^\s`]*))*)")
_VARIABLE = re.compile(r"([A-Z][A-Z0-9_]*)=")


def _commands(path: Path) -> Iterator[tuple[str, frozenset[str]]]:
    """The target and the variables of each command that a document names."""
    text = path.read_text(encoding="utf-8")
    for code in _CODE.findall(text) if path.suffix == ".md" else [text]:
        for target, variables in _COMMAND.findall(code):
            yield target, frozenset(_VARIABLE.findall(variables))


def _recipes() -> dict[str, str]:
    """The lines below each target, with what they use of the Makefile's own definitions."""
    definitions = dict(re.findall(r"^([A-Z][A-Z0-9_]*) [:?]?= (.*)$", _MAKEFILE, re.MULTILINE))
    recipes = dict(re.findall(r"^([a-z][a-z0-9-]*):(?!=)[^\n]*\n((?:\t[^\n]*\n)*)", _MAKEFILE, re.MULTILINE))
    return {
        target: "\n".join([recipe, *(definitions.get(name, "") for name in re.findall(r"\$\((\w+)\)", recipe))])
        for target, recipe in recipes.items()
    }


@pytest.mark.parametrize("path", _DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_documented_commands_exist(path: Path) -> None:
    """A target that was renamed, or a variable that is read no longer, shows here and not at a reader's."""
    recipes = _recipes()
    wrong = [
        f"make {target} {' '.join(sorted(variables))}"
        for target, variables in _commands(path)
        if target not in recipes or any(not _reads(recipes[target], name) for name in variables)
    ]

    assert not wrong


def _reads(recipe: str, variable: str) -> bool:
    return re.search(rf"\$\([^)]*\b{variable}\b", recipe) is not None


def test_the_commands_of_every_page_are_found() -> None:
    """The check above would be silent if it read none."""
    targets = {target for path in _DOCUMENTS for target, _ in _commands(path)}

    assert {"demo", "test", "deploy", "run", "dbt", "rollback", "bench"} <= targets
    assert ("rollback", frozenset({"ENV", "PROJECT"})) in {found for path in _DOCUMENTS for found in _commands(path)}
