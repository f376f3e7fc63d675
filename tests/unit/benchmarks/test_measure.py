"""The control group around a measured container, and what becomes of series of figures."""

import json
import threading
from pathlib import Path

import pytest

from benchmarks import measure
from benchmarks.measure import ControlGroup, compare, write_results

CONTROLLERS = ("cpu", "cpuacct", "memory", "pids")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders that look like version 1 of the interface; one that holds something cannot be removed, as with processes."""
    for name in CONTROLLERS:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(measure, "_ROOT", tmp_path)
    # There is no memory to look at in these folders.
    monkeypatch.setattr(measure, "_SECONDS_BETWEEN_SAMPLES", 60)
    return tmp_path


def left(root: Path) -> list[str]:
    """The groups that are still there."""
    return sorted(path.relative_to(root).as_posix() for path in root.glob("*/*"))


def test_a_group_that_is_still_busy_is_removed_once_it_is_not(root: Path) -> None:
    """The engine's own processes leave a moment after its command has returned, also when Ctrl-C has ended the container."""
    group = ControlGroup("bench-1")
    busy = root / "memory/bench-1/libpod-1/process"
    with group.opened():
        for name in CONTROLLERS:
            (root / name / "bench-1/libpod-1").mkdir(parents=True)
        busy.touch()
        threading.Timer(0.3, busy.unlink).start()

    assert left(root) == []


def test_a_group_is_removed_when_the_block_is_interrupted(root: Path) -> None:
    """Ctrl-C ends a measurement anywhere."""
    with pytest.raises(KeyboardInterrupt), ControlGroup("bench-1").opened():
        raise KeyboardInterrupt

    assert left(root) == []


def test_says_so_if_a_group_cannot_be_removed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not left behind in silence."""
    monkeypatch.setattr(measure, "_SECONDS_UNTIL_EMPTY", 0.2)
    with pytest.raises(OSError, match="bench-1"), ControlGroup("bench-1").opened():
        (root / "cpu/bench-1/process").touch()


def test_the_most_memory_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the processes held in between counts, not what they hold in the end."""
    held = iter([10, 300, 20])
    all_seen = threading.Event()

    def fields(_file: Path) -> dict[str, int]:
        mib = next(held, None)
        if mib is None:
            all_seen.set()
        return {"total_rss": (mib or 0) * 2**20}

    monkeypatch.setattr(measure, "_SECONDS_BETWEEN_SAMPLES", 0.001)
    monkeypatch.setattr(measure, "_fields", fields)
    with ControlGroup("bench-1").opened() as group:
        assert all_seen.wait(30)

    assert group.peak_memory_mib() == 300


def test_medians_are_compared(tmp_path: Path) -> None:
    """The ratio is that of the medians; results that were not measured this time stay."""
    file = tmp_path / "results.json"
    write_results(file, [compare("kept", "s", ours=[1.0])])
    write_results(file, [compare("pair", "s", ours=[2.0, 9.0, 1.0], other=[8.0, 4.0, 100.0], other_name="the other")])
    kept, pair = json.loads(file.read_text())

    assert kept["name"] == "kept"
    assert (pair["ours"], pair["other"], pair["ratio"], pair["runs"]) == (2.0, 8.0, 0.25, 3)
    assert (pair["ours_spread"], pair["other_spread"]) == ([1.0, 9.0], [4.0, 100.0])
