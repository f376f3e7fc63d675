"""How much CPU and memory a Fargate task gets."""

from dataclasses import dataclass
from typing import Literal

from constructs_lib.settings_error import SettingsError, check_one_of

CpuArchitecture = Literal["x86_64", "arm64"]

_GIB = 1024

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html#task_size
_MEMORY_MIB_BY_CPU_UNITS: dict[int, list[int]] = {
    256: [512, 1 * _GIB, 2 * _GIB],
    512: list(range(1 * _GIB, 4 * _GIB + 1, _GIB)),
    1024: list(range(2 * _GIB, 8 * _GIB + 1, _GIB)),
    2048: list(range(4 * _GIB, 16 * _GIB + 1, _GIB)),
    4096: list(range(8 * _GIB, 30 * _GIB + 1, _GIB)),
    8192: list(range(16 * _GIB, 60 * _GIB + 1, 4 * _GIB)),
    16384: list(range(32 * _GIB, 120 * _GIB + 1, 8 * _GIB)),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSize:
    """The CPU and memory of a Fargate task; refuses pairs that Fargate does not offer."""

    cpu_units: int
    memory_mib: int

    def __post_init__(self) -> None:
        """Refuse what Fargate does not offer."""
        check_one_of("cpu_units", self.cpu_units, _MEMORY_MIB_BY_CPU_UNITS)
        allowed = _MEMORY_MIB_BY_CPU_UNITS[self.cpu_units]
        if self.memory_mib not in allowed:
            raise SettingsError(
                f"memory_mib for {self.cpu_units} cpu units must be one of {', '.join(map(str, allowed))}, "
                f"got {self.memory_mib!r}"
            )
