"""What is done once, while the image is built: the project is parsed, so that one that does not parse is never deployed."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from runner import dbt_session
from runner.dbt_session import DbtSession
from runner.events import EventReader
from runner.fingerprint import FINGERPRINT_FILE, project_fingerprint
from runner.outcome import ExitCode
from runner.profile import BUILD_WAREHOUSE, profile_environment, write_profile
from runner.run_spec import RunSpec

_LOG = logging.getLogger("runner")


def check_project(project_folder: Path) -> ExitCode:
    """Parse the project as a run would, without a warehouse; raises ParseError with dbt's words if it does not."""
    environment = os.environ.get("DBT_ENVIRONMENT") or "build"
    os.environ.update(profile_environment(BUILD_WAREHOUSE, environment=environment, schema="build"))
    dbt_session.load()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_profile(scratch / "profiles", warehouse=BUILD_WAREHOUSE, target=environment)
        session = DbtSession(
            project_folder=project_folder,
            profiles_folder=scratch / "profiles",
            target_folder=scratch / "target",
            target=environment,
            spec=RunSpec(),
            on_event=EventReader(),
        )
        session.parse()
        models = sum(node.resource_type == "model" for node in session.manifest.nodes.values())
    _LOG.info("the project parses", extra={"models": models})
    if os.access(FINGERPRINT_FILE.parent, os.W_OK):
        FINGERPRINT_FILE.write_text(project_fingerprint(project_folder), encoding="ascii")
    return ExitCode.SUCCESS
