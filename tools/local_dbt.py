"""dbt on this machine, of the version that the project's image has, on a profile that holds no value."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from constructs_lib.dbt_graph import dbt_python_of
from constructs_lib.repository import REPOSITORY
from runner.credentials import Warehouse
from runner.profile import PROFILE_NAME, profile_environment, write_profile
from stacks.settings import DbtProject

_ENVIRONMENTS = REPOSITORY / ".cache" / "dbt-graph"


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalDbt:
    """
    One project, built in `schema` of `warehouse` as `target` and nowhere else; its profile is written to `profiles_folder`.

    `environment` is added to that of the process.
    """

    project: DbtProject
    profiles_folder: Path
    warehouse: Warehouse
    target: str
    schema: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(
        self,
        arguments: Sequence[str],
        *,
        variables: Sequence[str] = (),
        parses: bool = True,
        manifest_file: Path | None = None,
        captures: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """
        Run a command and return its ending, with dbt's exit code, or `dbt_process.OUTSIDE` if a node would be built outside.

        Its output goes where that of this process goes, unless `captures`. `variables`: the options that the project is parsed
        with. Raises SettingsError if the project pins packages that cannot be installed.
        """
        write_profile(self.profiles_folder, warehouse=self.warehouse, target=self.target)
        place = ["--project-dir", str(self.project.folder), "--profiles-dir", str(self.profiles_folder)]
        order = {
            "arguments": list(arguments),
            "place": [*place, "--profile", PROFILE_NAME, "--target", self.target],
            "schema": self.schema if parses else None,
            "database": self.warehouse.database,
            "variables": list(variables),
            "manifest_file": None if manifest_file is None else str(manifest_file),
        }
        python = dbt_python_of(self.project.locked_requirements, self.project.name, _ENVIRONMENTS)
        return subprocess.run(
            [python, "-m", "tools.dbt_process", json.dumps(order)],
            # The password is in the environment of that one process and nowhere else.
            env={
                **os.environ,
                **profile_environment(self.warehouse, environment=self.target, schema=self.schema),
                **self.environment,
                "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "container"))),
            },
            check=False,
            text=True,
            capture_output=captures,
        )
