"""How a real run ends where the fault suite does not reach: it hangs, its disk is full, it is stopped or started too early."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.faults.machine import REPOSITORY, Machine
from tests.runner.attempts import builds, ended, started
from tests.unit.runner.support import events_of, validated_record

pytestmark = pytest.mark.usefixtures("schema")
ENDLESS_SECONDS = 3600.0


def test_a_query_that_never_returns_ends_with_the_deadline(machine: Machine) -> None:
    """The run ends by itself, says why, leaves no query at the server, and the next attempt goes on."""
    machine.set_pace(ENDLESS_SECONDS)
    code = ended(started(machine, "hangs", spec={"steps": ["build"], "deadline_seconds": 60}))

    record = validated_record(machine.store, "hangs")
    end = record["attempts/0001/end.json"]
    assert (code, end["outcome"]) == (2, "interrupted")
    assert end["headline"].endswith("the run's own deadline of 60 s is over")
    assert machine.stand_in.active_queries() == []
    cut_off = [event["unique_id"] for event in events_of(record) if event.get("cut_off")]
    assert cut_off
    assert end["counts"]["error"] == 0
    machine.set_pace(0.0)
    assert ended(started(machine, "hangs", spec={"steps": ["build"]}, number=2)) == 0
    assert len(builds(machine)) == len(set(builds(machine)))


def test_of_two_containers_that_claim_one_attempt_one_builds(machine: Machine) -> None:
    """Started at the same moment; the other one ends with 2, and nothing is built twice."""
    spec = {"steps": ["build"]}
    other = ["env", "RUNNER_RUN_ID=claimed", sys.executable, "-m", "runner"]
    both = [started(machine, name, spec=spec, command=other) for name in ("claimed", "claimed-by-another")]
    codes = sorted(ended(attempt) for attempt in both)

    assert codes == [0, 2]
    assert len(builds(machine)) == len(set(builds(machine))) > 0
    assert validated_record(machine.store, "claimed")["attempts/0001/end.json"]["outcome"] == "success"


def _entrypoint() -> list[str]:
    """The image's own, with the Python of this environment."""
    dockerfile = (REPOSITORY / "container/Dockerfile").read_text()
    words: list[str] = json.loads(re.findall(r"^ENTRYPOINT (\[.*\])$", dockerfile, re.MULTILINE)[-1])
    return [sys.executable if word == "/opt/venv/bin/python" else word for word in words]


def _first_process_below(pid: int) -> int:
    """The process that `unshare` has made PID 1 of a namespace of its own."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.001)
    raise AssertionError("unshare has started nothing")


def test_a_stop_that_comes_before_python_is_up_is_not_lost(machine: Machine) -> None:
    """The runner is PID 1, for which the kernel drops a SIGTERM that nobody waits for yet: it must end all the same, and say so."""
    attempt = started(
        machine,
        "early",
        spec={"steps": ["build"]},
        command=["unshare", "--pid", "--fork", "--kill-child", *_entrypoint()],
    )
    first = _first_process_below(attempt.process.pid)
    # unshare has become env and env Python, which has not run a line of the runner.
    while not Path(f"/proc/{first}/comm").read_text().startswith("python"):
        time.sleep(0.001)
    os.kill(first, signal.SIGTERM)

    assert ended(attempt, within_seconds=60) == 2
    record = validated_record(machine.store, "early")
    assert (
        record["attempts/0001/end.json"]["headline"]
        == "the run was stopped before its first node: SIGTERM was received"
    )
    assert builds(machine) == []


@pytest.mark.parametrize("size_kib", [16, 400, 1400, 3000])
def test_a_full_disk_makes_no_run_green_and_no_record_invalid(machine: Machine, size_kib: int) -> None:
    """Whatever does not fit (the profile, dbt's parse cache, its artifacts, the docs): what is said to be built is built."""
    run_id = f"full-{size_kib}"
    mounted = f'mount -t tmpfs -o size={size_kib}k full "$RUNNER_SCRATCH_FOLDER" && exec "$@"'
    attempt = started(
        machine,
        run_id,
        spec={"steps": ["build", "docs"]},
        command=["unshare", "--mount", "sh", "-c", mounted, "sh", sys.executable, "-m", "runner"],
    )
    code = ended(attempt)

    end = validated_record(machine.store, run_id)["attempts/0001/end.json"]
    assert end["exit_code"] == code
    done = {
        unique_id
        for unique_id, node in end["nodes"].items()
        if node["status"] == "success" and unique_id.split(".")[0] in {"model", "seed", "snapshot"}
    }
    assert done == set(builds(machine))
    assert code != 0 or len(done) == 15
    assert "Traceback" not in attempt.log.read_text().splitlines()[-1]
    if code == 2:
        assert "No space left on device" in end["headline"]


def test_a_scratch_folder_that_cannot_be_written_is_named(machine: Machine) -> None:
    """A read-only root without the volume: one sentence, exit code 2, and the warehouse untouched."""
    code = ended(
        started(
            machine,
            "read-only",
            spec={"steps": ["build"]},
            command=["env", "RUNNER_SCRATCH_FOLDER=/proc/nowhere", sys.executable, "-m", "runner"],
        )
    )

    end = validated_record(machine.store, "read-only")["attempts/0001/end.json"]
    assert (code, end["exit_code"]) == (2, 2)
    assert "/proc/nowhere" in end["headline"]
    assert builds(machine) == []
