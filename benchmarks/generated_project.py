"""A dbt project of many cheap models, so that dbt's and the runner's own time shows and not the warehouse's."""

import json
from pathlib import Path


def generate_project(folder: Path, *, models: int, sources_schema: str) -> None:
    """
    Write a project of `models` views and tables in a tree, half of them with a test, and one source with freshness, into `folder`.

    Every third model is a table; each but the first ones selects from two others, as real layers do.
    """
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text(
        "name: generated\nversion: '1.0'\nconfig-version: 2\nprofile: generated\nmodel-paths: [models]\n"
    )
    properties: list[dict[str, object]] = []
    for number in range(models):
        parents = sorted({number // 2, number // 3} - {number}) if number >= 3 else []
        origin = " union all ".join(f"select id from {{{{ ref('m{parent:04d}') }}}}" for parent in parents)  # noqa: S608 - numbers
        select = f"select distinct id from ({origin}) as parents" if parents else "select 1 as id"  # noqa: S608 - numbers
        config = "{{ config(materialized='table') }}\n" if number % 3 == 0 else ""
        (folder / f"models/m{number:04d}.sql").write_text(config + select + "\n")
        columns = [{"name": "id", "data_tests": ["not_null"]}] if number % 2 == 0 else []
        properties.append({"name": f"m{number:04d}", "description": f"Model {number}.", "columns": columns})
    source = {
        "name": "raw",
        "schema": sources_schema,
        "tables": [
            {
                "name": "events",
                "config": {
                    "loaded_at_field": "loaded_at",
                    "freshness": {"warn_after": {"count": 1, "period": "day"}},
                },
            }
        ],
    }
    # JSON is YAML, and needs no second writer.
    (folder / "models/properties.yml").write_text(
        json.dumps({"version": 2, "sources": [source], "models": properties}, indent=1)
    )
