"""Rules of the repository that a machine can check."""

import ast
import json
import re
import tarfile
import tomllib
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from constructs_lib.repository import REPOSITORY

_SYNTH = sorted(
    [*(REPOSITORY / "stacks").rglob("*.py"), *(REPOSITORY / "constructs_lib").rglob("*.py"), REPOSITORY / "app.py"]
)


def _name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def _imported(source: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            modules.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.split(".")[0])
    return modules


@pytest.mark.parametrize("source", _SYNTH, ids=_name)
def test_synth_does_not_depend_on_the_machine(source: Path) -> None:
    """The same commit gives the same templates for everyone: no environment variables, lookups, calls to AWS, clock."""
    assert not re.search(r"os\.environ|getenv|boto3|from_lookup|datetime\.now|time\.time|random", source.read_text())


@pytest.mark.parametrize("source", _SYNTH, ids=_name)
def test_imports_go_from_app_to_stacks_to_constructs(source: Path) -> None:
    """Constructs know no settings, and what is deployed knows neither the container, nor Airflow, nor the local cloud."""
    ours = _imported(source) & {"app", "stacks", "constructs_lib", "runner", "dags", "local_cloud", "tests"}

    allowed = {"constructs_lib"} if "constructs_lib" in source.parts else {"stacks", "constructs_lib"}
    assert ours <= allowed


def test_synth_does_not_load_the_checkers() -> None:
    """A synth alone checks nothing, and to load cdk-nag into CDK's process takes half a second."""
    sources = {_name(source): source for source in _SYNTH}

    assert {name for name, source in sources.items() if "cdk_nag" in _imported(source)} == {"stacks/checks.py"}
    assert not [
        name for name, source in sources.items() if re.search(r"stacks\.checks|import checks", source.read_text())
    ]


@pytest.mark.parametrize("source", sorted((REPOSITORY / "container" / "runner").rglob("*.py")), ids=_name)
def test_runner_imports_nothing_of_the_app(source: Path) -> None:
    """What runs in Fargate shares a format with the rest, not code."""
    assert not _imported(source) & {"aws_cdk", "stacks", "constructs_lib", "dags", "local_cloud"}


@pytest.mark.parametrize("source", sorted((REPOSITORY / "dags").rglob("*.py")), ids=_name)
def test_dags_import_nothing_of_the_app(source: Path) -> None:
    """What runs in Airflow shares a format with the rest, not code."""
    assert not _imported(source) & {"aws_cdk", "stacks", "constructs_lib", "runner", "local_cloud"}


def test_cdk_cli_is_a_pinned_version_2() -> None:
    """Npm's newest aws-cdk, 3.0.0, was published by mistake and cannot read our assemblies."""
    version = json.loads((REPOSITORY / "package.json").read_text())["devDependencies"]["aws-cdk"]

    assert re.fullmatch(r"2\.1\d{3}\.\d+", version)


def test_cdk_json_has_the_recommended_feature_flags() -> None:
    """A new flag of the library is a decision to take, and a change of snapshots to review."""
    (library,) = Path(str(files("aws_cdk._jsii"))).glob("aws-cdk-lib@*.jsii.tgz")
    with tarfile.open(library) as archive:
        file = archive.extractfile("package/recommended-feature-flags.json")
        assert file is not None
        recommended = json.load(file)

    context = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    # The one that is no flag: which bootstrap stack of an account is used.
    context.pop("@aws-cdk/core:bootstrapQualifier", None)
    assert context == recommended


def test_makefile_has_each_target_once() -> None:
    """Make takes the last of two recipes and only warns."""
    targets = re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)

    assert [target for target, count in Counter(targets).items() if count > 1] == []


def test_mypy_reads_every_module_of_aws_that_is_used() -> None:
    """Those that pyproject.toml does not name are Any to mypy, and mistakes in calls to them would pass."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["mypy"]
    (read,) = [set(override["module"]) for override in settings["overrides"] if override["follow_imports"] == "normal"]
    library = Path(str(files("aws_cdk")))
    used = {
        f"aws_cdk.{alias.name}"
        for folder in settings["files"]
        for source in ([REPOSITORY / folder] if folder.endswith(".py") else (REPOSITORY / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "aws_cdk"
        for alias in node.names
        if (library / alias.name).is_dir()
    }

    assert used <= read
