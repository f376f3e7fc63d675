"""A container whose memory is used up, which ends like a machine that is gone: without a word."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.machine import Machine
from tests.runner.attempts import builds, ended, started
from tests.unit.runner.support import validated_record

pytestmark = pytest.mark.usefixtures("schema")

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_ENOUGH_FOR_DBT = 320 * 2**20
_ENOUGH_FOR_ALL = 2048 * 2**20
# The database gives the size, so that Jinja cannot work it out when it compiles the model, in this attempt or while parsing.
_HUNGRY_MODEL = """
{% set blocks = run_query("select 700").rows[0][0] | int if execute else 0 %}
{% set ballast = "x" * (blocks * 1024 * 1024) %}
select id, {{ ballast | length }} as size from {{ ref('report') }} as r cross join {{ ref('orders') }} as o
"""


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[tuple[list[str], Callable[[int], int]]]:
    """The beginning of a command line that limits the memory of the rest, and what sets the limit, in bytes."""
    if (_CONTROL_GROUPS / "cgroup.controllers").exists():
        (_CONTROL_GROUPS / "cgroup.subtree_control").write_text("+memory")
        group, name = _CONTROL_GROUPS / f"runner-{os.getpid()}", "memory.max"
    else:
        group, name = _CONTROL_GROUPS / f"memory/runner-{os.getpid()}", "memory.limit_in_bytes"
    group.mkdir()
    yield (
        ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"],
        lambda limit_bytes: (group / name).write_text(str(limit_bytes)),
    )
    group.rmdir()


def test_a_run_that_used_up_its_memory_goes_on_in_a_larger_task(
    machine: Machine, limited: tuple[list[str], Callable[[int], int]], tmp_path: Path
) -> None:
    """Its record says that it is unfinished, and the next attempt builds what is left, the hungry model among it."""
    prefix, limit_memory = limited
    machine.project = Path(shutil.copytree(machine.project, tmp_path / "project"))
    (machine.project / "models/hungry.sql").write_text(_HUNGRY_MODEL)
    command = [*prefix, sys.executable, "-m", "runner"]
    machine.set_pace(3.0)
    limit_memory(_ENOUGH_FOR_DBT)
    killed = ended(started(machine, "hungry", spec={"steps": ["build"]}, command=command))

    # A container engine tells this as 137.
    assert killed == -signal.SIGKILL
    assert "attempts/0001/end.json" not in validated_record(machine.store, "hungry")
    limit_memory(_ENOUGH_FOR_ALL)
    code = ended(started(machine, "hungry", spec={"steps": ["build"]}, command=command, number=2))

    end = validated_record(machine.store, "hungry")["attempts/0002/end.json"]
    assert (code, end["outcome"]) == (0, "success")
    built = builds(machine)
    proven = {unique_id for unique_id, node in end["nodes"].items() if node.get("from_attempt") == 1}
    assert "model.faults.orders" in proven
    assert "model.faults.hungry" not in proven
    assert [node for node in built if node in proven and built.count(node) > 1] == []
