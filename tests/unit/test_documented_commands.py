"""
The commands that the documentation names exist, with the variables and options that they read, and each is run by a test.

A command that is documented anew fails here until a test runs it, or a reason stands here why none can.
"""

import ast
import functools
import importlib.util
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import botocore.session
import jmespath  # type: ignore[import-untyped]
import pytest
from botocore import xform_name
from botocore.exceptions import UnknownServiceError

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


# ---- each is run by a test -------------------------------------------------------------------------------------------

_RUNNERS = frozenset({"make", "_make", "start", "start_make"})
"""The functions with which tests run `make TARGET`, the target being written out."""
_PART_OF_THE_TESTS = frozenset(
    {
        "test",
        "check",
        "lint",
        "unit-slow",
        "test-pages",
        "test-local-cloud",
    }
)
"""`make test` is what runs the tests and, by what it needs, the others; a run within a run would not end."""
_OTHERWISE: Mapping[str, str] = {
    "lock": "asks the package index for all that is newest, for minutes; make pin does the same with one file",
    "ci-check": "is make check and make unit-slow, or make check-projects; which, tests/unit/tools/test_changed_files.py tries",
    "check-projects": "is a part of make lint, make unit and make unit-slow",
    "diff": "is make ci-diff, but for the file that it writes to and the commit",
    "test-faults": "is make test-faults-short, a part of make test, for half an hour",
    "screenshots": "takes pictures of make demo, whose parts tests/e2e runs; what changes is looked at by a person",
    "pages-screenshots": "is one file of make test-pages, with the pictures kept",
    "ci-try-comment": "is make ci-comment with another file, which the stranger's story reads",
}


@functools.cache
def _tests_that_run() -> Mapping[str, list[str]]:
    """By target, the functions of tests that run it."""
    found: dict[str, list[str]] = {}
    for path in sorted((REPOSITORY / "tests").rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for target in _targets_in(function):
                    found.setdefault(target, []).append(f"{path.relative_to(REPOSITORY)}::{function.name}")
    return found


def _targets_in(function: ast.FunctionDef) -> Iterator[str]:
    for call in ast.walk(function):
        if not isinstance(call, ast.Call) or _name(call.func) not in _RUNNERS:
            continue
        for argument in call.args:
            # A target may be a parameter of the test, as the first of each row.
            if isinstance(argument, ast.Name) and argument.id == "target":
                rows = [row for decorator in function.decorator_list for row in ast.walk(decorator)]
                yield from (_text(row.elts[0]) for row in rows if isinstance(row, ast.Tuple) and row.elts)
            yield _text(argument)


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


_DOCUMENTED = sorted({target for path in _DOCUMENTS for target, _ in _commands(path)})


@pytest.mark.parametrize("target", _DOCUMENTED)
def test_a_test_runs_each_documented_command(target: str) -> None:
    """`make TARGET` stands in a test as a reader types it, or a reason stands above; never both."""
    is_run = target in _tests_that_run() or target in _PART_OF_THE_TESTS

    assert is_run or target in _OTHERWISE, f"no test runs make {target}: see tests/local_cloud/test_commands.py"
    assert not (is_run and target in _OTHERWISE)


def test_reasons_are_of_documented_commands() -> None:
    """What is no longer documented needs none."""
    assert set(_OTHERWISE) | _PART_OF_THE_TESTS <= set(_DOCUMENTED)


@pytest.mark.parametrize("target", sorted({*_OTHERWISE, *_PART_OF_THE_TESTS}))
def test_what_no_test_runs_names_programs_that_are_there(target: str) -> None:
    """In short form: make knows all that the command needs, and each module and program that it would start can be found."""
    # Not as a part of the `make` that may run this test.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True
    )
    modules = set(re.findall(r"python3? -m ([a-z_.]+)", done.stdout))
    programs = set(re.findall(r"(?<![\w/])(\.venv/bin/[\w-]+)", done.stdout))

    assert modules | programs
    # The environments of browser and Checkov are not installed before these commands are run.
    assert {name for name in modules if importlib.util.find_spec(name) is None} == set()
    assert {name for name in programs if not (REPOSITORY / name).exists()} == set()


# ---- commands of others ----------------------------------------------------------------------------------------------

_OF_THE_AWS_CLI = frozenset({("s3", "cp"), ("s3", "sync"), ("s3", "rm"), ("sso", "login"), ("logs", "tail")}) | {
    ("ecr", "get-login-password")
}
"""What the AWS CLI makes of several operations: https://docs.aws.amazon.com/cli/latest/reference/."""
_GLOBAL_OPTIONS = frozenset({"query", "output", "cli-binary-format", "region"})
_SHORTHANDS = {("cloudwatch", "put-metric-data"): {"metric-name", "value", "dimensions", "timestamp"}}
"""Options that the AWS CLI has besides the operation's own."""
_NOT_IN_THE_EMULATOR = {
    "rotate_secret": "the rotation's function is called step by step in tests/unit/functions/pages_access",
    "get_function_configuration": "only names a log group, beside logs tail",
    "describe_image_scan_findings": "images are scanned in AWS only",
    "start_image_scan": "images are scanned in AWS only",
}
_CHECKED_PROGRAMS = frozenset({"make", "aws", "cdk", "npx", "dbt", "datahub"})
_OTHER_LINES = {
    "docker": "the registry's own commands, around the alarm that is made to ring by hand",
    "for": "a loop of aws",
    "export": "what a shell keeps for dbt",
    "cp": "copies dbt's packages as the page says",
}


def _shell_blocks() -> Iterator[tuple[Path, str]]:
    for path in _DOCUMENTS:
        if path.suffix == ".md":
            for block in re.findall(
                r"```(?:console|sh|bash|shell)\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL
            ):
                yield path, block.replace("\\\n", " ")


def _aws_commands() -> Iterator[tuple[str, str, str]]:
    """Service, command and the rest of each `aws …` in code, those within `$(…)` too."""
    for path in _DOCUMENTS:
        for code in _CODE.findall(path.read_text(encoding="utf-8")) if path.suffix == ".md" else ():
            whole, texts = code.replace("\\\n", " "), []
            while inner := re.search(r"\$\(((?:[^()]|\([^()]*\))*)\)", whole):
                texts.append(inner[1])
                whole = whole[: inner.start()] + "…" + whole[inner.end() :]
            for text in [whole, *texts]:
                yield from re.findall(
                    r"(?<![\w./-])aws +([a-z0-9-]+)\s+([a-z0-9-]+)([^|;\n`]*(?:\n {2,}[^|;\n`]*)*)", text
                )


def test_documented_aws_commands_are_the_apis_own() -> None:
    """The operation and each of its options exist, and what is picked out of the answer is a query that can be."""
    session = botocore.session.get_session()
    wrong: list[str] = []
    for service, command, rest in _aws_commands():
        if (service, command) in _OF_THE_AWS_CLI:
            continue
        try:
            model = session.get_service_model(service)
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


def test_a_test_calls_what_each_documented_aws_command_calls() -> None:
    """The emulator and its likes are asked the same, by boto3; what they do not know has a reason above."""
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("*.py"))
    methods = {
        command.replace("-", "_")
        for service, command, _ in _aws_commands()
        if (service, command) not in _OF_THE_AWS_CLI
    }

    assert {name for name in methods if f".{name}(" not in tests} == set(_NOT_IN_THE_EMULATOR)


def test_every_line_of_a_shell_block_is_of_a_kind_that_is_checked() -> None:
    """A program that no check here knows does not slip in."""
    lines = [line for _, block in _shell_blocks() for line in block.splitlines() if re.match(r"[a-zA-Z]", line)]
    programs = {line.split()[0] for line in lines}

    assert {"make", "aws"} <= programs
    assert programs - _CHECKED_PROGRAMS - set(_OTHER_LINES) == set()


def _words_after(program: str) -> set[str]:
    """What stands behind `program` in code, as a command of it would."""
    texts = [path.read_text(encoding="utf-8") for path in _DOCUMENTS if path.suffix == ".md"]
    codes = [code for text in texts for code in _CODE.findall(text)]
    return {word for code in codes for word in re.findall(rf"(?:^|[`\n;&] *){program} ([a-z]+)\b", code)}


def test_documented_commands_of_dbt_are_its_own() -> None:
    """As the locked version has them."""
    # Read, not imported, which takes seconds.
    source = Path(str(metadata.distribution("dbt-core").locate_file("dbt/cli/main.py"))).read_text(encoding="utf-8")
    known = set(re.findall(r"@cli\.command\(\"([a-z-]+)\"\)", source))

    assert {"deps", "build"} <= _words_after("dbt")
    assert _words_after("dbt") - known == set()


def test_documented_commands_of_the_cdk_are_run_by_the_tests() -> None:
    """With the real CLI, and with the flag without which a first deployment fails."""
    paths = [*(REPOSITORY / "tests/e2e").glob("*.py"), *(REPOSITORY / "local_cloud").glob("*.py")]
    paths += [REPOSITORY / "stacks/diff.py", REPOSITORY / "Makefile"]
    run = "\n".join(path.read_text(encoding="utf-8") for path in paths)

    assert {"deploy", "destroy"} <= _words_after("cdk")
    assert {word for word in _words_after("cdk") if f'"{word}"' not in run and f"cdk {word} " not in run} == set()
    assert '"--asset-prebuild=false"' in run
