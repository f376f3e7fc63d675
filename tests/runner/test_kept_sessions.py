"""Sessions on the warehouse that go from one node to the next, in a process like the container's."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.machine import SCHEMA, Machine
from tests.runner.attempts import ended, started
from tests.unit.runner.support import events_of, validated_record

pytestmark = pytest.mark.usefixtures("schema")

_OWN_SESSION = "select pg_backend_pid() as pid, current_setting('statement_timeout') as timeout"


def _project(machine: Machine, folder: Path, models: dict[str, str]) -> None:
    machine.project = Path(shutil.copytree(machine.project, folder))
    for part in ("models", "seeds", "snapshots", "tests"):
        shutil.rmtree(machine.project / part, ignore_errors=True)
    (machine.project / "models").mkdir()
    for name, sql in models.items():
        (machine.project / f"models/{name}.sql").write_text("{{ config(materialized='table') }}\n" + sql)


def _built(machine: Machine, run_id: str, *, threads: int) -> dict[str, Any]:
    """The record of a run that must be green."""
    attempt = started(
        machine,
        run_id,
        spec={"steps": ["build"], "threads": threads},
        command=[sys.executable, "-m", "runner"],
    )
    assert ended(attempt) == 0, attempt.log.read_text()
    return validated_record(machine.store, run_id)


def _row(machine: Machine, model: str) -> tuple[Any, ...]:
    (row,) = machine.stand_in.query(f"select * from {SCHEMA}.{model}")
    return tuple(row)


def test_nodes_of_a_thread_share_a_session_until_one_of_them_changes_it(machine: Machine, tmp_path: Path) -> None:
    """Neither a setting nor a temporary table of a node reaches the next one; everything else costs no new login."""
    hooked = '{{ config(pre_hook="%s") }}\n' + _OWN_SESSION + " from {{ ref('%s') }}"
    _project(
        machine,
        tmp_path / "project",
        {
            "a_first": _OWN_SESSION,
            "b_second": _OWN_SESSION + " from {{ ref('a_first') }}",
            "c_sets": hooked % ("set statement_timeout to '77s'", "b_second"),
            "d_after": _OWN_SESSION + " from {{ ref('c_sets') }}",
            "e_makes": hooked % ("create temporary table secret as select 1 as id", "d_after"),
            "f_last": _OWN_SESSION + ", to_regclass('pg_temp.secret')::text as secret from {{ ref('e_makes') }}",
        },
    )

    record = _built(machine, "kept", threads=1)

    first, second, sets, after, makes = (
        _row(machine, name) for name in ("a_first", "b_second", "c_sets", "d_after", "e_makes")
    )
    last = _row(machine, "f_last")
    assert first == second
    assert sets == (first[0], "77s")
    assert after[0] != sets[0]
    assert after[1] == first[1]
    assert makes == after
    assert last[0] != makes[0]
    assert last[2] is None
    opened = [event["pid"] for event in events_of(record) if event["type"] == "session_opened"]
    assert {first[0], after[0], last[0]} <= set(opened)


def test_a_kept_session_that_the_server_has_ended_is_not_used(machine: Machine, tmp_path: Path) -> None:
    """As after a failover: those that come next open one of their own, and the run is green."""
    ends_others = (
        "select count(pg_terminate_backend(pid)) as ended from pg_stat_activity "
        "where usename = current_user and pid <> pg_backend_pid() and application_name = 'dbt'"
    )
    models = {f"before_{number}": _OWN_SESSION for number in range(4)}
    models["ends_others"] = ends_others + "".join(f"\n-- {{{{ ref('{name}') }}}}" for name in models)
    models |= {
        f"after_{number}": _OWN_SESSION + ", (select ended from {{ ref('ends_others') }})" for number in range(8)
    }
    _project(machine, tmp_path / "project", models)

    _built(machine, "ended", threads=4)

    assert _row(machine, "ends_others")[0] >= 1
