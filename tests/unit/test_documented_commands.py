"""
The commands that the documentation names exist, with the variables and options that they read, and each is run by a test.

A command that is documented anew fails here until a test runs it. `make TARGET NAME=…`
is run where a test calls one of `_RUNNERS` with the target and these variables; any other command where a test takes its text
from the page, with `documented` or a method `types`.
"""

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import botocore.session
import jmespath  # type: ignore[import-untyped]
import pytest
from botocore import xform_name
from botocore.exceptions import UnknownServiceError

from constructs_lib.repository import REPOSITORY
from tests.documented import PAGES, codes, documented, session

_PIPELINES = (
    ".gitlab-ci.yml",
    *(f".github/workflows/{path.name}" for path in (REPOSITORY / ".github/workflows").glob("*.yml")),
)
_MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
_MAKE = re.compile(r"\bmake ([a-z][a-z0-9-]*)((?:[^\S\n]+[A-Z][A-Z0-9_]*=(?:\"[^\"]*\"|'[^']*'|[^\s`]*))*)")
_VARIABLE = re.compile(r"(?<![\w])([A-Z][A-Z0-9_]*)=")
_TESTS = tuple(sorted((REPOSITORY / "tests").rglob("*.py")))


@dataclass(frozen=True, order=True, slots=True)
class Make:
    """A target, and the variables that it is given."""

    target: str
    variables: frozenset[str]

    def __str__(self) -> str:
        """As it is typed."""
        return " ".join(["make", self.target, *(f"{name}=…" for name in sorted(self.variables))])


def _in_text(text: str) -> Iterator[Make]:
    for target, variables in _MAKE.findall(text):
        yield Make(target, frozenset(_VARIABLE.findall(variables)))


def _documented_make() -> dict[Make, list[str]]:
    """The documents that name each command; prose makes things, too, so that of pages only code is read."""
    found: dict[Make, list[str]] = {}
    texts = {page: "\n".join(codes(page)) for page in PAGES}
    texts |= {name: (REPOSITORY / name).read_text(encoding="utf-8") for name in _PIPELINES}
    for name, text in texts.items():
        for make in _in_text(text):
            found.setdefault(make, []).append(name)
    return found


_DOCUMENTED = _documented_make()


def _recipes() -> dict[str, str]:
    """The lines below each target, with what they use of the Makefile's own definitions."""
    definitions = dict(re.findall(r"^([A-Z][A-Z0-9_]*) [:?]?= (.*)$", _MAKEFILE, re.MULTILINE))
    recipes = dict(re.findall(r"^([a-z][a-z0-9-]*):(?!=)[^\n]*\n((?:\t[^\n]*\n)*)", _MAKEFILE, re.MULTILINE))
    return {
        target: "\n".join([recipe, *(definitions.get(name, "") for name in re.findall(r"\$\((\w+)\)", recipe))])
        for target, recipe in recipes.items()
    }


def _reads(recipe: str, variable: str) -> bool:
    return re.search(rf"\$\([^)]*\b{variable}\b", recipe) is not None


@pytest.mark.parametrize("make", sorted(_DOCUMENTED, key=str), ids=str)
def test_documented_command_exists(make: Make) -> None:
    """A target that was renamed, or a variable that is read no longer, shows here and not at a reader's."""
    recipes = _recipes()

    assert make.target in recipes, _DOCUMENTED[make]
    assert {name for name in make.variables if not _reads(recipes[make.target], name)} == set(), _DOCUMENTED[make]


def test_the_commands_of_every_page_are_found() -> None:
    """The check above would be silent if it read none."""
    assert {"demo", "test", "deploy", "run", "dbt", "rollback", "bench"} <= {make.target for make in _DOCUMENTED}
    assert Make("rollback", frozenset({"ENV", "PROJECT"})) in _DOCUMENTED


_OWN_HINT = re.compile(r"(?:`|\brun )make ([a-z][a-z0-9-]*)|\bmake ([a-z][a-z0-9-]*) [A-Z_]+=")


def test_commands_that_the_product_names_to_its_users_exist() -> None:
    """What a message tells one to run can be run; the Makefile's own messages, too."""
    folders = (
        "constructs_lib",
        "container/runner",
        "dags",
        "functions/run_guard",
        "local_cloud",
        "preflight",
        "stacks",
        "tools",
    )
    modules = [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]
    nodes = [node for path in modules for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    found = [hint for text in (_MAKEFILE, *texts) for hint in _OWN_HINT.findall(text)]
    hints = {target for hint in found for target in hint if target}

    assert {"bootstrap", "demo-stop", "ci-build", "credentials", "pages"} <= hints
    assert hints - set(_recipes()) == set()


# ---- each is run by a test -------------------------------------------------------------------------------------------

_RUNNERS = frozenset({"make", "_make", "start", "start_make"})
"""The functions with which tests run `make TARGET`, the target being written out and its variables named."""
_NAMED_BY_THE_RUNNER = {
    "tests/e2e/test_analyst.py": {"ENV", "PROJECT"},
    "tests/e2e/test_pages_and_catalogs.py": {"ENV", "PROJECT"},
    "tests/e2e/test_rollback.py": {"ENV"},
}
"""The variables that a file's runner gives to every command."""


@functools.cache
def _run_by_tests() -> frozenset[Make]:
    """What the tests run with make, by a runner or out of a page."""
    found: set[Make] = set()
    for path in _TESTS:
        name = path.relative_to(REPOSITORY).as_posix()
        named = _NAMED_BY_THE_RUNNER.get(name, set())
        for call in _calls(path):
            if _name(call.func) in _RUNNERS:
                variables = {keyword.arg for keyword in call.keywords if keyword.arg} | named
                found |= {Make(_text(argument), frozenset(variables)) for argument in call.args if _text(argument)}
    for page, start in _typed():
        found |= set(_in_text(_command(page, start)))
    return frozenset(found | {Make(needed, frozenset()) for run in found for needed in _needed(run.target)})


def _needed(target: str) -> list[str]:
    """What make runs before a target, whenever it runs that."""
    line = re.search(rf"^{target}:(?!=)([^#\n]*)", _MAKEFILE, re.MULTILINE)
    return re.findall(r"(?<!\S)[a-z][a-z0-9-]*(?!\S)", line[1]) if line else []


def _made_by(target: str) -> set[str]:
    """A target, what make runs before it, and what its recipe has make run, in a lane or not."""
    by_recipe = [
        word
        for line in _recipes().get(target, "").splitlines()
        # Of a choice the last; the first needs a condition that the tests do not fulfil.
        if ("$(MAKE)" in line or "$(call lane," in line) and "@if " not in line
        for word in re.findall(r"[a-z][a-z0-9-]*", line)
        if word in _recipes() and word != target
    ]
    return {target}.union(*(_made_by(each) for each in (*_needed(target), *by_recipe)))


@functools.cache
def _part_of_the_tests() -> frozenset[str]:
    """What `make test` runs: no test runs it, for a run within a run would not end."""
    return frozenset(_made_by("test"))


@functools.cache
def _calls(path: Path) -> tuple[ast.Call, ...]:
    return tuple(node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


@pytest.mark.parametrize("make", sorted(_DOCUMENTED, key=str), ids=str)
def test_a_test_runs_each_documented_make_command(make: Make) -> None:
    """With these variables at least, as a reader types it."""
    is_run = any(run.target == make.target and make.variables <= run.variables for run in _run_by_tests())
    is_part = not make.variables and make.target in _part_of_the_tests()

    assert is_run or is_part, f"no test runs {make}: see tests/commands/test_commands.py"


def test_what_make_test_runs_is_found() -> None:
    """By what it needs, by its recipe and by its lanes; the check above would be silent about what it took for run."""
    assert {"ci-check", "check", "lint-sql", "unit-slow", "test-e2e", "test-pages"} <= _part_of_the_tests()
    assert {"demo", "deploy", "bench", "lock", "clean", "check-projects"}.isdisjoint(_part_of_the_tests())


# ---- commands of others ----------------------------------------------------------------------------------------------

_TYPING = frozenset({"documented", "types", "session"})
_PROGRAM = re.compile(
    r"(?:[A-Z_]+=\S+ )?(?:\.venv/bin/)?(?P<program>aws|airflow|cdk|cp|datahub|dbt|docker|echo|export|for|git|npm|npx|python3?) \S"
)
_NAMED: Mapping[str, tuple[str, str]] = {
    "cdk bootstrap": ("tools/bootstrap.py", '["cdk", "bootstrap",'),
    "cdk deploy": ("Makefile", "@cdk deploy "),
    "cdk destroy": ("tests/e2e/test_night.py", '.cdk.run("destroy",'),
    "cdk diff": ("stacks/diff.py", '["diff",'),
    "cdk synth": ("Makefile", '"cdk synth" cdk synth '),
    "dbt debug": ("benchmarks/article/run_dbt.sh", "dbt debug"),
    "dbt parse": ("container/Dockerfile", "parse"),
    "python -O": ("cdk.json", "python -O app.py"),
    "datahub ingest": ("tests/runner/datahub_library.py", '"datahub", "ingest"'),
}
"""What a page names by program and command, and the file and the words with which it is run, by make or by a test."""


@functools.cache
def _typed() -> frozenset[tuple[str, str]]:
    """Page and beginning of each command that a test takes out of a page."""
    return frozenset(
        (_text(call.args[0]), _text(call.args[1]))
        for path in _TESTS
        if path != Path(__file__)
        for call in _calls(path)
        if _name(call.func) in _TYPING and len(call.args) > 1 and _text(call.args[0]) in PAGES
    )


def _command(page: str, start: str) -> str:
    """The only one of a page that begins so; what is to be filled in is left as it is."""
    found = {code for code in codes(page) if code.startswith(start)}
    return found.pop() if len(found) == 1 else ""


def _commands_of_others() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for code in codes(page):
            if any(_PROGRAM.match(line) for line in code.splitlines()):
                found.setdefault(code, []).append(page)
    return found


def _first_words(code: str) -> str:
    """Program and command, of AWS's with the service."""
    words = code.split()
    return " ".join(words[: 3 if words[0] == "aws" else 2])


@pytest.mark.parametrize("code", sorted(_commands_of_others()), ids=lambda code: code.split("\n")[0][:60])
def test_a_test_types_each_documented_command_of_others(code: str) -> None:
    """Out of the page, so that a page that is changed changes what is tried; what is only named is run, too."""
    typed = {_command(page, start) or start for page, start in _typed()}
    is_named = len(code.split()) == len(_first_words(code).split())
    covered = code in typed or (is_named and any(_first_words(code) in other for other in typed))
    file, words = _NAMED.get(_first_words(code), ("", ""))
    if not covered and file:
        assert words in (REPOSITORY / file).read_text(encoding="utf-8")
    elif not covered and code.startswith("make "):
        # A block of make and another program.
        assert all(_first_words(line) in _NAMED for line in code.splitlines() if not line.startswith("make "))
    else:
        assert covered, f"no test types {code!r} of {_commands_of_others()[code]}"


def test_places_are_of_documented_commands_of_others() -> None:
    """What no page names needs no place."""
    named = {_first_words(line) for code in _commands_of_others() for line in code.splitlines() if line.strip()}

    assert set(_NAMED) <= named


@pytest.mark.parametrize(("page", "start"), sorted(_typed()))
def test_what_tests_type_is_on_the_page(page: str, start: str) -> None:
    """A command that was taken off its page fails here, in a second, and not first in a long test."""
    assert _command(page, start) or session(page, start)


def test_placeholders_must_be_filled_in() -> None:
    """A command with one left, or with none of that name, is not typed."""
    with pytest.raises(LookupError, match="nothing is filled in for <cluster>"):
        documented("docs/runbook.md", "aws ecs stop-task", {"<task id>": "1"})
    with pytest.raises(LookupError, match="there is no <clustre>"):
        documented("docs/runbook.md", "aws ecs stop-task", {"<task id>": "1", "<clustre>": "2"})
    with pytest.raises(LookupError, match="it has 0"):
        documented("docs/runbook.md", "aws ecs start-everything")


def test_every_line_of_a_shell_block_is_of_a_kind_that_is_checked() -> None:
    """A program that no check here knows does not slip in."""
    lines = [
        line
        for page in PAGES
        for code in codes(page)
        if "\n" in code
        for line in code.replace("\\\n", " ").splitlines()
        if re.match(r"[a-zA-Z./]", line)
    ]

    assert lines
    assert [line for line in lines if not (line.startswith("make ") or _PROGRAM.match(line))] == []


# ---- AWS's command line ----------------------------------------------------------------------------------------------

_OF_THE_AWS_CLI = frozenset({("s3", "cp"), ("s3", "sync"), ("s3", "rm"), ("ecr", "get-login-password")})
"""What the AWS CLI makes of several operations: https://docs.aws.amazon.com/cli/latest/reference/."""
_GLOBAL_OPTIONS = frozenset({"query", "output", "region"})
_SHORTHANDS = {("cloudwatch", "put-metric-data"): {"metric-name", "value", "dimensions", "timestamp"}}
"""Options that the AWS CLI has besides the operation's own."""


def _aws_commands() -> Iterator[tuple[str, str, str]]:
    """Service, command and the rest of each `aws …` in code, those within `$(…)` too."""
    for page in PAGES:
        for code in codes(page):
            whole, texts = code.replace("\\\n", " "), []
            while inner := re.search(r"\$\(((?:[^()]|\([^()]*\))*)\)", whole):
                texts.append(inner[1])
                whole = whole[: inner.start()] + "…" + whole[inner.end() :]
            for text in [whole, *texts]:
                yield from re.findall(
                    r"(?<![\w./-])aws +([a-z0-9-]+)\s+([a-z0-9-]+)([^|;\n`]*(?:\n {2,}[^|;\n`]*)*)", text
                )


def test_documented_aws_commands_are_the_apis_own() -> None:
    """In a second: the operation and each of its options exist, and what is picked out of the answer is a query that can be."""
    model_of = botocore.session.get_session().get_service_model
    wrong: list[str] = []
    for service, command, rest in _aws_commands():
        if (service, command) in _OF_THE_AWS_CLI:
            continue
        try:
            model = model_of(service)
        except UnknownServiceError:
            wrong.append(f"aws {service}")
            continue
        operation = {xform_name(name, "-"): name for name in model.operation_names}.get(command)
        if operation is None:
            wrong.append(f"aws {service} {command}")
            continue
        shape = model.operation_model(operation).input_shape
        known = {xform_name(name, "-") for name in shape.members} if shape else set()
        known |= _GLOBAL_OPTIONS | _SHORTHANDS.get((service, command), set())
        wrong += [
            f"aws {service} {command} --{name}"
            for name in re.findall(r"(?<=--)[a-z][a-z-]+", rest)
            if name not in known
        ]
        for query in re.findall(r"--query\s+('[^']*'|\"[^\"]*\"|\S+)", rest):
            jmespath.compile(query.strip("'\""))

    assert wrong == []


def test_documented_commands_of_dbt_are_its_own() -> None:
    """As the locked version has them."""
    # Read, not imported, which takes seconds.
    source = Path(str(metadata.distribution("dbt-core").locate_file("dbt/cli/main.py"))).read_text(encoding="utf-8")
    known = set(re.findall(r"@cli\.command\(\"([a-z-]+)\"\)", source))
    named = {word for page in PAGES for code in codes(page) for word in re.findall(r"(?m)^dbt ([a-z]+)\b", code)}

    assert {"deps", "build"} <= named
    assert named - known == set()
