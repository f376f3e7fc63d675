"""The SQL of dbt projects is checked as dbt compiles it, where there is no warehouse."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.lint_sql import lint

pytestmark = pytest.mark.slow

# What only dbt itself can render: a relation that is looked up, an incremental model, a macro of the project, a contract of names.
_MODEL = """{{ config(materialized='incremental') }}
SELECT {{ answer() }} as the_answer
from {{ ref('parent') }}
{% if is_incremental() %}
where 1 = 0
{% endif %}
{% if adapter.get_relation(this.database, this.schema, 'elsewhere') %}
this is no SQL
{% endif %}
"""


def test_sql_is_fixed_and_then_passes_without_being_read_again(
    write_project: Callable[[dict[str, str]], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Jinja around it stays as it was written."""
    folder = write_project(
        {
            "models/parent.sql": "select 1 as a\n",
            "models/child.sql": _MODEL,
            "macros/answer.sql": "{% macro answer() %}42{% endmacro %}\n",
        }
    )

    assert lint(folder, "fix", cache_folder=tmp_path / "cache")
    assert (folder / "models/child.sql").read_text() == _MODEL.replace("SELECT", "select")

    assert lint(folder, cache_folder=tmp_path / "cache")
    monkeypatch.setattr("tools.lint_sql.subprocess.run", pytest.fail)
    assert lint(folder, cache_folder=tmp_path / "cache")


def test_sql_that_breaks_a_rule_is_said(
    write_project: Callable[[dict[str, str]], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With file, line and rule; a project's own rules are those that count."""
    folder = write_project(
        {
            "models/a.sql": "SELECT 1 as a\n",
            ".sqlfluff": "[sqlfluff]\ndialect = redshift\ntemplater = jinja\n[sqlfluff:rules:capitalisation.keywords]\n"
            "capitalisation_policy = lower\n",
        }
    )

    assert not lint(folder, cache_folder=tmp_path / "cache")
    assert "L:   1 | P:   1 | CP01" in capsys.readouterr().out
