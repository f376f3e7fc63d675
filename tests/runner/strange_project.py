"""A dbt project as other people write them: everything that dbt allows and that has broken readers of its artifacts."""

import json
from pathlib import Path

import yaml

AWKWARD = 'it\'s "quoted" \\ \u2028 {{ no }} </script><b>&amp; 🚀 é'
"""Quotes, a backslash, a line separator that is no newline, Jinja in a text, markup, an emoji."""
_LITERAL = AWKWARD.replace("\\", "\\\\").replace("'", "''").replace("{{ no }}", "{{ '{{' }} no {{ '}}' }}")

_MODELS = {
    # A reserved word, with another reserved word as a column.
    "order": "select id, amount as \"select\" from {{ ref('raw_orders') }}",
    "awkward": f"select 1 as id, '{_LITERAL}' as words",
    "base_ephemeral": "{{ config(materialized='ephemeral') }} select id from {{ ref('order') }}",
    "more_ephemeral": "{{ config(materialized='ephemeral') }} select id from {{ ref('base_ephemeral') }}",
    "after_ephemeral": "select count(*) as orders from {{ ref('more_ephemeral') }}",
    "switched_off": "{{ config(enabled=false) }} select * from {{ ref('nowhere') }}",
    "elsewhere": "{{ config(schema='mart', alias='Mixed Case Name') }} select id from {{ ref('order') }}",
    "secret_sauce": "{{ config(materialized='view') }} select id from {{ ref('order') }}",
    "finance_report": "select id from {{ ref('secret_sauce') }}",
    "customers_v1": "select 1 as id",
    "customers_v2": "select 1 as id, 'Ann' as name",
    "uses_versions": "select a.id from {{ ref('customers', v=1) }} as a join {{ ref('customers') }} as b on b.id = a.id",
    "uses_package": "select {{ tools.forty_two() }} as answer, (select max(id) from {{ ref('tools_model') }}) as id",
    "grows": "{{ config(materialized='incremental', unique_key='id', on_schema_change='append_new_columns') }} "
    "select id from {{ ref('order') }}",
    "metricflow_time_spine": "select cast('2026-01-01' as date) as date_day",
    # The database repeats the words in its message.
    "breaks": "select cast(words as int) as id from {{ ref('awkward') }}",
    "after_broken": "select id from {{ ref('breaks') }}",
}
_PROPERTIES = {
    "groups": [{"name": "finance", "owner": {"name": "Ann", "email": "ann@example.com"}}],
    "models": [
        {"name": "awkward", "description": AWKWARD.replace("{{ no }}", "no"), "columns": [{"name": "words"}]},
        {"name": "secret_sauce", "config": {"group": "finance", "access": "private"}},
        {"name": "finance_report", "config": {"group": "finance"}},
        {
            "name": "customers",
            "latest_version": 2,
            "columns": [{"name": "id", "data_tests": ["unique", "not_null"]}],
            "versions": [{"v": 1}, {"v": 2}],
        },
        {
            "name": "order",
            "columns": [
                {"name": "id", "data_tests": ["unique"]},
                {"name": '"select"', "data_tests": [{"not_null": {"config": {"severity": "warn"}}}]},
            ],
        },
        {
            "name": "metricflow_time_spine",
            "time_spine": {"standard_granularity_column": "date_day"},
            "columns": [{"name": "date_day", "granularity": "day"}],
        },
    ],
    "unit_tests": [
        {
            "name": "orders_keep_their_amount",
            "model": "order",
            "given": [{"input": "ref('raw_orders')", "rows": [{"id": 1, "amount": 5}]}],
            "expect": {"rows": [{"id": 1, "select": 5}]},
        }
    ],
    "exposures": [
        {"name": "board", "type": "dashboard", "owner": {"name": "Bo"}, "depends_on": ["ref('finance_report')"]}
    ],
    "semantic_models": [
        {
            "name": "orders",
            "model": "ref('order')",
            "defaults": {"agg_time_dimension": "ordered_at"},
            "entities": [{"name": "order_id", "type": "primary", "expr": "id"}],
            "dimensions": [
                {"name": "ordered_at", "type": "time", "type_params": {"time_granularity": "day"}, "expr": "getdate()"}
            ],
            "measures": [{"name": "order_count", "agg": "count", "expr": "id"}],
        }
    ],
    "metrics": [{"name": "orders", "label": "Orders 🚀", "type": "simple", "type_params": {"measure": "order_count"}}],
    "saved_queries": [{"name": "all_orders", "query_params": {"metrics": ["orders"], "group_by": []}}],
    "snapshots": [
        {
            "name": "order_history",
            "relation": "ref('order')",
            "config": {"unique_key": "id", "strategy": "check", "check_cols": "all"},
        }
    ],
}
_OLD_SNAPSHOT = """
{% snapshot old_history %}
{{ config(target_schema=target.schema, unique_key='id', strategy='check', check_cols=['amount']) }}
select id, amount from {{ ref('raw_orders') }}
{% endsnapshot %}
"""
_FILES = {
    "dbt_project.yml": json.dumps(
        {
            "name": "strange",
            "version": "1.0",
            "config-version": 2,
            "profile": "any",
            "on-run-start": ["select 1"],
            "on-run-end": ["{{ log('results: ' ~ results | length, info=true) }}"],
            "models": {"+materialized": "table"},
        }
    ),
    "packages.yml": json.dumps({"packages": [{"local": "../tools"}]}),
    "dbt_packages/tools/dbt_project.yml": json.dumps({"name": "tools", "version": "1.0", "config-version": 2}),
    "dbt_packages/tools/macros/forty_two.sql": "{% macro forty_two() %}42{% endmacro %}",
    "dbt_packages/tools/models/tools_model.sql": "select 7 as id",
    "seeds/raw_orders.csv": 'id,amount,note\n1,10,"it\'s, ""quoted"" 🚀"\n2,20,\n',
    "snapshots/old.sql": _OLD_SNAPSHOT,
    "analyses/never_run.sql": "select * from {{ ref('order') }}",
    "models/properties.yml": yaml.safe_dump(_PROPERTIES),
    "tests/finds_rows.sql": "{{ config(severity='warn') }} select words from {{ ref('awkward') }}",
    **{f"models/{name}.sql": text for name, text in _MODELS.items()},
}


def write_strange_project(folder: Path) -> Path:
    """Write the project into `folder`, and return it."""
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
