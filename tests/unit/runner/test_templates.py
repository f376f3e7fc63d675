"""dbt's own macros, compiled while the image is built, and taken by Jinja in a run."""

import marshal
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from dbt_common.clients.jinja import MacroFuzzEnvironment, get_environment

from runner import dbt_session, templates
from runner.run_spec import RunSpec
from tests.unit.runner.support import make_project
from tests.unit.runner.test_dbt_session import parsed


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the image has."""
    dbt_session.load()
    file = tmp_path_factory.mktemp("image") / "templates.marshal"
    templates.compile_macros(file)
    return file


def content(file: Path) -> dict[bytes, CodeType]:
    """The code in `file`, by the keys of the texts."""
    kept: dict[bytes, bytes] = marshal.loads(file.read_bytes())  # noqa: S302 - made by this test
    return {key: marshal.loads(code) for key, code in kept.items()}  # noqa: S302 - see above


def test_every_macro_of_dbt_and_its_adapters_is_found(compiled: Path, tmp_path: Path) -> None:
    """The texts are those that dbt's parser cuts out of the same files, and the code is what Jinja makes of them."""
    macros = parsed(make_project(tmp_path / "project"), tmp_path, RunSpec()).manifest.macros.values()
    texts = {macro.macro_sql for macro in macros if macro.package_name in {"dbt", "dbt_postgres", "dbt_redshift"}}
    kept = content(compiled)
    environment = get_environment()

    assert len(texts) > 500
    assert not [text for text in texts if templates.text_key(text) not in kept]
    assert not [text for text in texts if kept[templates.text_key(text)] != environment.compile(text)]


def test_what_is_kept_is_not_compiled_again(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the plain environment takes it: others make other code of the same text."""
    text = next(templates._macros())
    asked: list[str] = []

    def compile_anew(_environment: MacroFuzzEnvironment, source: str) -> str:
        asked.append(source)
        return "compiled anew"

    monkeypatch.setattr(MacroFuzzEnvironment, "compile", compile_anew)
    templates.use_compiled_macros(compiled)
    found: list[Any] = [
        get_environment().compile(text),
        get_environment().compile("{{ 1 }}"),
        get_environment(native=True).compile(text),
        get_environment(capture_macros=True).compile(text),
    ]

    assert content(compiled)[templates.text_key(text)] == found[0]
    assert found[1:] == ["compiled anew"] * 3
    assert asked == ["{{ 1 }}", text, text]


def test_without_the_file_all_is_compiled_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner outside of its image has none."""
    before = MacroFuzzEnvironment.compile
    monkeypatch.setattr(MacroFuzzEnvironment, "compile", before)
    templates.use_compiled_macros(tmp_path / "none")

    assert MacroFuzzEnvironment.compile is before
