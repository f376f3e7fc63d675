"""The Airflow DAG of Astronomer Cosmos that is compared: its defaults, with the manifest as its fastest way to read a project."""

import json
from datetime import UTC, datetime
from pathlib import Path

# Airflow looks for its own name in a file before it takes it for one of DAGs.
from cosmos import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import ExecutionMode, LoadMode

_SETTINGS = json.loads((Path(__file__).parent / "settings.json").read_text())
_PROJECT = Path(_SETTINGS["project"])

dag = DbtDag(
    dag_id=_SETTINGS["dag_id"],
    project_config=ProjectConfig(
        dbt_project_path=_PROJECT, manifest_path=_PROJECT / "target/manifest.json", install_dbt_deps=False
    ),
    profile_config=ProfileConfig(
        profile_name="generated", target_name="bench", profiles_yml_filepath=_PROJECT / "profiles.yml"
    ),
    render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST),
    execution_config=ExecutionConfig(execution_mode=ExecutionMode(_SETTINGS["mode"])),
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
)
