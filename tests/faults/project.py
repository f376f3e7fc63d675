"""The dbt project of the trials: small, quick, of all materializations, and with a log of each build inside its own transaction."""

import json
from pathlib import Path

_BUILD_LOG = (
    "insert into public.fault_builds (schema_name, node, invocation) "
    "values ('{{ target.schema }}', '{{ model.unique_id }}', '{{ invocation_id }}')"
)
_PACE = "(select seconds from public.fault_pace where schema_name = '{{ target.schema }}')"
_WAIT = f"pg_sleep({_PACE} * %s) is not null"

_MODELS = {
    "stg_customers": "{{ config(materialized='view') }} select id, name from {{ ref('raw_customers') }}",
    "stg_orders": "{{ config(materialized='view') }} select id, customer_id, amount from {{ ref('raw_orders') }}",
    "large_orders": "{{ config(materialized='ephemeral') }} select * from {{ ref('orders') }} where amount >= 40",
    "orders": f"select id, customer_id, amount, amount / 10 as tens from {{{{ ref('stg_orders') }}}} where {_WAIT % '1 / 8.0'}",
    "customers": f"""
        select c.id, c.name, count(o.id) as orders
        from {{{{ ref('stg_customers') }}}} as c left join {{{{ ref('stg_orders') }}}} as o on o.customer_id = c.id
        where {_WAIT % "1 / 12.0"} group by c.id, c.name
    """,
    "order_sizes": f"select tens, count(*) as orders from {{{{ ref('orders') }}}} where {_WAIT % '1 / 8.0'} group by tens",
    "large_customers": """
        select c.id, c.name, o.amount from {{ ref('customers') }} as c
        join {{ ref('large_orders') }} as o on o.customer_id = c.id
    """,
    # Deletes what it inserts: built twice, it holds each order once, unless half of it is committed.
    "order_log": f"""
        {{{{ config(materialized='incremental', unique_key='id') }}}}
        select id, amount from {{{{ ref('orders') }}}}
        {{% if is_incremental() %}} where id > 2 and {_WAIT % "1 / 6.0"} {{% endif %}}
    """,
    # Appends what it does not have.
    "order_events": """
        {{ config(materialized='incremental') }}
        select id, 'ordered' as event from {{ ref('orders') }}
        {% if is_incremental() %} where id > (select max(id) from {{ this }}) {% endif %}
    """,
    "size_names": "select tens, 'size ' || tens as size_name from {{ ref('order_sizes') }}",
    "totals": """
        {{ config(materialized='view') }}
        select (select count(*) from {{ ref('customers') }}) as customers, sum(orders) as orders
        from {{ ref('order_sizes') }}
    """,
    "report": f"""
        select t.customers, t.orders, l.entries from {{{{ ref('totals') }}}} as t
        cross join (select count(*) as entries from {{{{ ref('order_log') }}}}) as l where {_WAIT % "1"}
    """,
    "late_view": "{{ config(materialized='view', bind=False) }} select * from {{ ref('report') }}",
}
_SNAPSHOT = """
{% snapshot customer_history %}
{{ config(target_schema=target.schema, unique_key='id', strategy='check', check_cols=['name']) }}
select id, name from {{ ref('customers') }}
{% endsnapshot %}
"""
_PROPERTIES = {
    "sources": [
        {
            "name": "events",
            "schema": "public",
            "tables": [
                {
                    "name": "fault_arrivals",
                    "config": {
                        "loaded_at_field": "loaded_at",
                        "freshness": {"warn_after": {"count": 3650, "period": "day"}},
                    },
                }
            ],
        }
    ],
    "models": [
        {"name": "stg_orders", "columns": [{"name": "id", "data_tests": ["unique", "not_null"]}]},
        {"name": "orders", "columns": [{"name": "id", "data_tests": ["unique", "not_null"]}]},
        {"name": "customers", "columns": [{"name": "id", "data_tests": ["unique"]}]},
        {"name": "order_log", "columns": [{"name": "id", "data_tests": ["unique"]}]},
        {"name": "order_events", "columns": [{"name": "id", "data_tests": ["unique"]}]},
        {"name": "report", "columns": [{"name": "orders", "data_tests": ["not_null"]}]},
    ],
    "unit_tests": [
        {
            "name": "sizes_are_counted",
            "model": "size_names",
            "given": [{"input": "ref('order_sizes')", "rows": [{"tens": 1, "orders": 2}]}],
            "expect": {"rows": [{"tens": 1, "size_name": "size 1"}]},
        }
    ],
}
_FILES = {
    "dbt_project.yml": json.dumps(
        {
            "name": "faults",
            "version": "1.0",
            "config-version": 2,
            "profile": "any",
            "models": {"+materialized": "table", "+post-hook": _BUILD_LOG},
            "seeds": {"+post-hook": _BUILD_LOG},
            "snapshots": {"+post-hook": _BUILD_LOG},
        }
    ),
    "seeds/raw_customers.csv": "id,name\n1,Ann\n2,Bo\n3,Cy\n",
    "seeds/raw_orders.csv": "id,customer_id,amount\n1,1,10\n2,1,20\n3,2,20\n4,2,40\n5,3,50\n6,3,60\n",
    "snapshots/customer_history.sql": _SNAPSHOT,
    "models/properties.yml": json.dumps(_PROPERTIES),
    # It always warns, and a warning proves a node done.
    "tests/no_small_orders.sql": "{{ config(severity='warn') }} select * from {{ ref('orders') }} where amount < 20",
    **{f"models/{name}.sql": text for name, text in _MODELS.items()},
}


def write_project(folder: Path) -> Path:
    """Write the project into `folder`, and return it."""
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
