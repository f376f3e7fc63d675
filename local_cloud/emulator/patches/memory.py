"""Tells whether a container was killed because its memory was used up."""

import os
import threading
from pathlib import Path

_CONTROLLER = Path("/sys/fs/cgroup/memory")


class OutOfMemoryWatch:
    """
    Watches the memory of one process's control group, of version 1.

    Docker and podman say themselves that memory was used up, but on machines with version 1 podman's monitor looks at the
    kernel's counter before it has counted (conmon 2.1) and reports nothing. With version 2 this watch sees nothing either, and is
    not needed.
    """

    def __init__(self, process: int) -> None:
        self.happened = False
        group = _memory_group(process)
        if group is None:
            return
        self._group = group
        self._event = os.eventfd(0)
        self._control = os.open(group / "memory.oom_control", os.O_RDONLY)
        # Kernel documentation, cgroup-v1/memory.rst, "OOM Control".
        (group / "cgroup.event_control").write_text(f"{self._event} {self._control}")
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        # The end of the group is an event too; the group is gone by then.
        while os.eventfd_read(self._event) and self._group.exists():
            self.happened = True
        os.close(self._event)
        os.close(self._control)


def _memory_group(process: int) -> Path | None:
    """The folder of the process's memory control group; None without version 1, or when the process has ended already."""
    try:
        lines = Path(f"/proc/{process}/cgroup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    paths = [line.split(":", 2)[2] for line in lines if line.split(":")[1] == "memory"]
    folder = _CONTROLLER / paths[0].lstrip("/") if paths else None
    return folder if folder is not None and (folder / "memory.oom_control").exists() else None
