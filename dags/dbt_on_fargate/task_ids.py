"""The ids of the tasks of a DAG that are no nodes."""

RUN = "run_dbt"
RESULT = "all_built"
ASSETS = "update_assets"

RESERVED = frozenset({RUN, RESULT, ASSETS})
