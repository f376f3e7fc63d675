"""What one container took, and how series of such figures become lines of the results file."""

import contextlib
import json
import resource
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_SECONDS_BETWEEN_SAMPLES = 0.05
_SECONDS_UNTIL_EMPTY = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One line of benchmarks/results.json: medians, and the spread (lowest and highest) beside them."""

    name: str
    unit: str
    ours: float
    other: float | None
    other_name: str | None
    ratio: float | None
    command: str
    ours_spread: tuple[float, float]
    other_spread: tuple[float, float] | None
    runs: int


def compare(
    name: str, unit: str, *, ours: Sequence[float], other: Sequence[float] = (), other_name: str | None = None
) -> Result:
    """The medians of two series and their ratio (ours to other); `other` is empty where there is nothing to compare with."""
    ours_median = statistics.median(ours)
    other_median = statistics.median(other) if other else None
    return Result(
        name=name,
        unit=unit,
        ours=round(ours_median, 3),
        other=None if other_median is None else round(other_median, 3),
        other_name=other_name if other else None,
        ratio=None if not other_median else round(ours_median / other_median, 3),
        command=f"make bench ONLY={name} REPEAT={len(ours)}",
        ours_spread=(round(min(ours), 3), round(max(ours), 3)),
        other_spread=(round(min(other), 3), round(max(other), 3)) if other else None,
        runs=len(ours),
    )


def children_cpu_seconds() -> float:
    """CPU time of all processes that this one has started and seen end, and of those that they have started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class ControlGroup:
    """
    The parent control group of one container, which still holds the sums when the container is gone.

    Works with version 1 of the interface, also on hosts that have both, and with version 2; needs root. Pass `parent` to the
    container engine as `--cgroup-parent`.
    """

    def __init__(self, name: str) -> None:
        self.parent = f"/{name}"
        self._is_v2 = (_ROOT / "cgroup.controllers").exists()
        self._peak_memory = 0

    @contextlib.contextmanager
    def opened(self) -> Iterator["ControlGroup"]:
        """Make the group, empty, watch its memory, and remove it at the end; no container may be left in it then."""
        self._remove()
        for folder in self._folders():
            folder.mkdir()
        if self._is_v2:
            (self._folders()[0] / "cgroup.subtree_control").write_text("+cpu +memory")
        ended = threading.Event()
        watch = threading.Thread(target=self._watch_memory, args=(ended,), daemon=True)
        watch.start()
        try:
            yield self
        finally:
            ended.set()
            watch.join()
            self._remove()

    def cpu_seconds(self) -> float:
        """CPU time of all that ran in the group so far."""
        if self._is_v2:
            return _fields(self._folders()[0] / "cpu.stat")["usage_usec"] / 1e6
        return int((_ROOT / f"cpuacct{self.parent}/cpuacct.usage").read_text()) / 1e9

    def peak_memory_mib(self) -> float:
        """
        The most memory that the processes of the group held at once, looked at 20 times a second.

        Page cache is left out: the kernel takes it back where memory is short.
        """
        return self._peak_memory / 2**20

    def _watch_memory(self, ended: threading.Event) -> None:
        if self._is_v2:
            file, field = self._folders()[0] / "memory.stat", "anon"
        else:
            file, field = _ROOT / f"memory{self.parent}/memory.stat", "total_rss"
        while not ended.wait(_SECONDS_BETWEEN_SAMPLES):
            self._peak_memory = max(self._peak_memory, _fields(file)[field])

    def _folders(self) -> list[Path]:
        if self._is_v2:
            return [_ROOT / self.parent.lstrip("/")]
        # Some hosts mount two of them as one, with links.
        return list({(_ROOT / name).resolve() / self.parent.lstrip("/") for name in ("cpu", "cpuacct", "memory")})

    def _remove(self) -> None:
        """Remove the group once the last of the engine's own processes has left it."""
        deadline = time.monotonic() + _SECONDS_UNTIL_EMPTY
        # An engine uses further controllers and leaves its folder there.
        for folder in {*self._folders(), *_ROOT.glob(f"*{self.parent}")}:
            while folder.exists():
                try:
                    for child in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
                        child.rmdir()
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)


def _fields(file: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in file.read_text().splitlines())}


def write_results(file: Path, results: Sequence[Result]) -> None:
    """Write the results; those that were not measured this time are kept from the file as it was."""
    kept = {entry["name"]: entry for entry in json.loads(file.read_text())} if file.is_file() else {}
    kept |= {result.name: asdict(result) for result in results}
    file.write_text(json.dumps([kept[name] for name in sorted(kept)], indent=1) + "\n")
