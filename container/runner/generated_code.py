"""
What dbt writes, compiles and derives anew in every process, done once while the image is built: `python -m runner.generated_code`.

Python's dataclasses write the text of some 800 functions while dbt is imported and reads a project, and have it compiled; dbt
derives the JSON Schemas of its own settings from classes. The code is looked up by its whole text, a schema by its class; what
is not found is made as ever. mashumaro compiles text, too, but puts random names in half of it.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import marshal
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

from runner.dbt_types import DbtObject
from runner.known_code import require_known
from runner.profile import BUILD_WAREHOUSE, profile_environment, write_profile
from runner.templates import text_key

GENERATED_FILE = Path(__file__).parent / "generated_code.marshal"
"""Lies beside the code that reads it, in the layer of the Python and the dbt that have made it."""

_PROJECT = {
    "dbt_project.yml": "name: all_kinds\nversion: '1.0'\nprofile: anything\n",
    "seeds/numbers.csv": "id\n1\n",
    "models/doubled.sql": "select id * 2 as id from {{ ref('numbers') }} union all select id from {{ source('raw', 'more') }}\n",
    "models/nodes.yml": """\
sources:
  - name: raw
    schema: raw
    tables:
      - name: more
        config: {loaded_at_field: loaded_at, freshness: {warn_after: {count: 1, period: day}}}
models:
  - name: doubled
    description: every kind of node is read and written once
    columns: [{name: id, data_tests: [unique]}]
unit_tests:
  - name: doubles
    model: doubled
    given: [{input: ref('numbers'), rows: [{id: 1}]}, {input: "source('raw', 'more')", rows: []}]
    expect: {rows: [{id: 2}]}
exposures: [{name: board, type: dashboard, owner: {name: nobody}, depends_on: [ref('doubled')]}]
snapshots:
  - name: kept
    relation: ref('doubled')
    config: {unique_key: id, strategy: check, check_cols: all}
""",
    "tests/none_is_negative.sql": "select * from {{ ref('kept') }} where id < 0\n",
    "macros/nothing.sql": "{% macro nothing() %}{% endmacro %}\n",
}
_ENVIRONMENT = "build"


def generate(file: Path = GENERATED_FILE) -> None:
    """
    Import dbt and read a project of all kinds twice, and keep in `file` what that makes.

    Call it in a process that has not imported dbt.
    """
    file.unlink(missing_ok=True)
    code: dict[bytes, bytes] = {}
    _let_dataclasses_execute(functools.partial(_compile_and_keep, code))
    from runner import dbt_session  # noqa: PLC0415 - its import must be recorded

    dbt_session.load()
    schemas = _schemas_of(_read_a_project)
    file.write_bytes(marshal.dumps((code, schemas)))


def use_generated_code(file: Path = GENERATED_FILE) -> None:
    """Let dataclasses take the code in `file`, if it exists, for text that they would have compiled."""
    code = _kept(file)[0]
    if not code:
        return

    def take(text: str) -> CodeType:
        kept = code.get(text_key(text))
        return compile_as_executed(text) if kept is None else marshal.loads(kept)  # noqa: S302 - made while the image was built

    _let_dataclasses_execute(take)


def use_kept_schemas(file: Path = GENERATED_FILE) -> None:
    """Let dbt's classes, which must be imported, take their JSON Schemas from `file`, if it exists."""
    from dbt_common.dataclass_schema import dbtClassMixin  # noqa: PLC0415 - only where dbt is imported

    derive = vars(dbtClassMixin)["json_schema"].__func__
    require_known("aa2601e7c02df9bdc8052282e626249a9d11ebec2393afb779ff95f6c07577ec", derive.__wrapped__)
    schemas = _kept(file)[1]
    if not schemas:
        return

    @functools.cache
    def take(cls: type) -> DbtObject:
        kept = schemas.get(_name(cls))
        return derive(cls) if kept is None else json.loads(kept)

    dbtClassMixin.json_schema = classmethod(take)  # type: ignore[method-assign, assignment, arg-type]


def compile_as_executed(text: str) -> CodeType:
    """Compile `text` as `exec(text)` in a module without future imports does."""
    return compile(text, "<string>", "exec", dont_inherit=True)


@functools.cache
def _kept(file: Path) -> tuple[dict[bytes, bytes], dict[str, str]]:
    if not file.exists():
        return {}, {}
    kept: tuple[dict[bytes, bytes], dict[str, str]] = marshal.loads(file.read_bytes())  # noqa: S302 - see above
    return kept


def _let_dataclasses_execute(code_of: Callable[[str], CodeType]) -> None:
    """Give dataclasses an `exec` of their own, which hides Python's from them."""

    def execute(text: str, *namespaces: Any) -> None:  # noqa: ANN401 - whatever exec takes
        exec(code_of(text), *namespaces)  # noqa: S102 - what they would execute anyway

    dataclasses.exec = execute  # type: ignore[attr-defined]


def _compile_and_keep(code: dict[bytes, bytes], text: str) -> CodeType:
    compiled = compile_as_executed(text)
    code[text_key(text)] = marshal.dumps(compiled)
    return compiled


def _schemas_of(read: Callable[[], None]) -> dict[str, str]:
    """Return what dbt derives during `read`, by class, as JSON; without classes that their name does not lead to."""
    import dbt_common.dataclass_schema  # noqa: PLC0415 - see use_kept_schemas

    # What the module has imported for itself is none of its public names.
    dataclass_schema: DbtObject = dbt_common.dataclass_schema
    derive = dataclass_schema.build_json_schema
    classes: list[type] = []

    def derive_and_note(cls: type) -> DbtObject:
        classes.append(cls)
        return derive(cls)

    dataclass_schema.build_json_schema = derive_and_note
    try:
        read()
    finally:
        dataclass_schema.build_json_schema = derive
    schemas = {cls: derive(cls).to_dict() for cls in classes if _is_found_by_name(cls)}
    texts = {cls: json.dumps(schema) for cls, schema in schemas.items()}
    return {_name(cls): text for cls, text in texts.items() if json.loads(text) == schemas[cls]}


def _read_a_project() -> None:
    """Parse a project twice, the second time from what the first has kept, and write its manifest."""
    from runner.dbt_session import DbtSession  # noqa: PLC0415 - see generate
    from runner.run_spec import RunSpec  # noqa: PLC0415 - see generate

    os.environ.update(profile_environment(BUILD_WAREHOUSE, environment=_ENVIRONMENT, schema="build"))
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name, text in _PROJECT.items():
            (scratch / "project" / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / "project" / name).write_text(text, encoding="utf-8")
        write_profile(scratch / "profiles", warehouse=BUILD_WAREHOUSE, target=_ENVIRONMENT)
        for _ in range(2):
            session = DbtSession(
                project_folder=scratch / "project",
                profiles_folder=scratch / "profiles",
                target_folder=scratch / "target",
                target=_ENVIRONMENT,
                spec=RunSpec(),
                on_event=lambda _event: None,
            )
            session.parse()
        session.manifest.write(str(scratch / "manifest.json"))


def _is_found_by_name(cls: type) -> bool:
    return getattr(importlib.import_module(cls.__module__), cls.__qualname__, None) is cls


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


if __name__ == "__main__":
    generate()
