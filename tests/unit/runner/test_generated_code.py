"""What dbt generates in every process, kept while the image is built, and taken by a run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.runner.support import REPOSITORY

pytestmark = pytest.mark.slow

_GENERATE = """
import sys
from pathlib import Path
from runner.generated_code import generate
generate(Path(sys.argv[1]))
"""
_USE = """
import json, sys
from pathlib import Path
from runner import generated_code
file = Path(sys.argv[1])
anew = []
compile_anew = generated_code.compile_as_executed
def compile_and_note(text):
    anew.append(text)
    return compile_anew(text)
generated_code.compile_as_executed = compile_and_note
generated_code.use_generated_code(file)
from runner import dbt_session
dbt_session.load()
while_imported = len(anew)
from dbt.contracts.project import Project
from dbt_common.dataclass_schema import dbtClassMixin
derived = Project.json_schema()
generated_code.use_kept_schemas(file)
generated_code._read_a_project()
while_read = len(anew)
import dataclasses
other = dataclasses.make_dataclass("Other", ["one", "two"])(1, two=2)
print(json.dumps({
    "while_imported": while_imported,
    "while_read": while_read,
    "other": [dataclasses.asdict(other), len(anew) > while_read],
    "same_schema": Project.json_schema() == derived,
    "kept_schema": Project.json_schema() is not derived,
}))
"""


def _python(code: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "container")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the image has."""
    file = tmp_path_factory.mktemp("image") / "generated_code.marshal"
    _python(_GENERATE, str(file))
    return file


@pytest.fixture(scope="module")
def used(generated: Path) -> dict[str, Any]:
    """What a process says that has used it."""
    found: dict[str, Any] = json.loads(_python(_USE, str(generated)).splitlines()[-1])
    return found


def test_a_run_compiles_nothing_of_dbt_again(used: dict[str, Any]) -> None:
    """Neither while it is imported nor while a project is read."""
    assert (used["while_imported"], used["while_read"]) == (0, 0)


def test_other_code_is_compiled_as_ever(used: dict[str, Any]) -> None:
    """A class that the image's build has not seen, such as one of a package that a project brings."""
    assert used["other"] == [{"one": 1, "two": 2}, True]


def test_kept_schemas_are_what_dbt_derives(used: dict[str, Any]) -> None:
    """A project is checked by the same rules, which are only not derived again."""
    assert (used["same_schema"], used["kept_schema"]) == (True, True)
