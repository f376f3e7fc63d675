"""dbt in this process, as the locked environment has it, on a profile that holds no value."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.credentials import Warehouse
from runner.profile import PROFILE_NAME, profile_environment, write_profile

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

_QUIET = ("--no-send-anonymous-usage-stats", "--no-version-check")


class ProjectError(Exception):
    """The project does not parse; the message is dbt's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalDbt:
    """One dbt project, built where `schema` of `warehouse` is, as `target`; its profile is written to `profiles_folder`."""

    project_folder: Path
    profiles_folder: Path
    warehouse: Warehouse
    target: str
    schema: str

    def parse(self, options: Sequence[str] = ()) -> "Manifest":
        """Parse the project; raises ProjectError."""
        from dbt.cli.main import dbtRunner  # noqa: PLC0415 - seconds of import that a refusal need not wait for
        from dbt.contracts.graph.manifest import Manifest  # noqa: PLC0415 - as above

        parsed = dbtRunner().invoke([*_QUIET, "--quiet", "parse", *options, *self._place()])
        if not isinstance(parsed.result, Manifest):
            raise ProjectError(f"the project does not parse: {parsed.exception}")
        return parsed.result

    def run(self, arguments: Sequence[str], manifest: "Manifest | None" = None) -> tuple[int, Any]:
        """Run a command, its output as it comes, on `manifest` if it is given; returns dbt's exit code and its result."""
        from dbt.cli.main import dbtRunner  # noqa: PLC0415 - as in parse

        done = dbtRunner(manifest=manifest).invoke([*_QUIET, *arguments, *self._place()])
        if done.success:
            return 0, done.result
        if done.exception is None:
            return 1, done.result
        print(f"error: {done.exception}", file=sys.stderr)
        return 2, None

    def _place(self) -> list[str]:
        write_profile(self.profiles_folder, warehouse=self.warehouse, target=self.target)
        # The password is in this process's environment and nowhere else.
        os.environ.update(profile_environment(self.warehouse, environment=self.target, schema=self.schema))
        place = ["--project-dir", str(self.project_folder), "--profiles-dir", str(self.profiles_folder)]
        return [*place, "--profile", PROFILE_NAME, "--target", self.target]
