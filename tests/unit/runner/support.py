"""What the tests of the runner share: a small dbt project, and validators of the record's files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema

from runner.store import Store

BUCKET = "records"
REPOSITORY = Path(__file__).parents[3]
SCHEMAS = REPOSITORY / "container/runner/schemas"


def make_project(folder: Path) -> Path:
    """Write the project into `folder`, and return it."""
    files = {
        "dbt_project.yml": "name: shop\nversion: '1.0'\nconfig-version: 2\nprofile: anything\n",
        "seeds/raw_orders.csv": "id,amount\n1,10\n2,20\n",
        "models/orders.sql": "select id, amount from {{ ref('raw_orders') }}\n",
        "models/big_orders.sql": "{{ config(materialized='ephemeral') }} select * from {{ ref('orders') }} where amount > 15\n",
        "models/totals.sql": "select sum(amount) as total from {{ ref('big_orders') }}\n",
        "tests/total_is_positive.sql": "select * from {{ ref('totals') }} where total < 0\n",
        "models/schema.yml": json.dumps(
            {
                "models": [
                    {"name": "orders", "columns": [{"name": "id", "data_tests": ["unique"]}]},
                ],
                "sources": [
                    {
                        "name": "raw",
                        "schema": "public",
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
                ],
                "unit_tests": [
                    {
                        "name": "orders_keep_amounts",
                        "model": "orders",
                        "given": [{"input": "ref('raw_orders')", "rows": [{"id": 1, "amount": 5}]}],
                        "expect": {"rows": [{"id": 1, "amount": 5}]},
                    }
                ],
                "exposures": [
                    {"name": "board", "type": "dashboard", "owner": {"name": "x"}, "depends_on": ["ref('totals')"]}
                ],
            }
        ),
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def validator(name: str) -> jsonschema.Draft202012Validator:
    """The validator of one of the runner's schemas."""
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


def validated_record(store: Store, run_id: str) -> dict[str, Any]:
    """Every file of a run's record, as `validated_files` returns them."""
    return validated_files({key: store.get(key) or b"" for key in store.keys(f"runs/{run_id}/")}, run_id)


def validated_files(objects: Mapping[str, bytes], run_id: str) -> dict[str, Any]:
    """
    Every file of a run's record by its key below the run, each one checked against its schema.

    Batches of events are lists of events; their numbers are checked to have no gap.
    """
    files: dict[str, Any] = {}
    prefix = f"runs/{run_id}/"
    for key, body in objects.items():
        name = key.removeprefix(prefix)
        if name.endswith(("start.json", "end.json")):
            files[name] = json.loads(body)
            validator(Path(name).stem).validate(files[name])
        elif name.endswith(".jsonl"):
            files[name] = [json.loads(line) for line in body.decode().splitlines()]
            assert files[name], f"{key} is empty"
            for event in files[name]:
                validator("event").validate(event)
        else:
            files[name] = body
    for attempt in {name.split("/")[1] for name in files}:
        numbers = sorted(name for name in files if name.startswith(f"attempts/{attempt}/events/"))
        assert [f"attempts/{attempt}/events/{number:06d}.jsonl" for number in range(1, len(numbers) + 1)] == numbers
    return files


def events_of(record: dict[str, Any], attempt: int = 1) -> list[dict[str, Any]]:
    """All events of an attempt, in order."""
    prefix = f"attempts/{attempt:04d}/events/"
    return [event for name in sorted(record) if name.startswith(prefix) for event in record[name]]
