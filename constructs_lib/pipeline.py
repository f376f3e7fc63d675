"""What one run of a dbt project does: its steps, in order, and which of them must pass."""

from dataclasses import dataclass
from typing import Literal, get_args

from constructs_lib.settings_error import check_one_of

StepName = Literal["source_freshness", "seed", "snapshot", "run", "test", "build", "docs"]
StepPolicy = Literal["must_pass", "report_only"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a run; a `report_only` step is shown when it fails and fails nothing."""

    name: StepName
    policy: StepPolicy = "must_pass"

    def __post_init__(self) -> None:
        """Refuse a step or policy that the runner does not know."""
        check_one_of("a step's name", self.name, get_args(StepName))
        check_one_of(f"the policy of step {self.name!r}", self.policy, get_args(StepPolicy))


DEFAULT_STEPS = (
    Step(name="source_freshness", policy="report_only"),
    Step(name="build"),
    Step(name="docs", policy="report_only"),
)
