"""The line that docs/airflow.md has for the startup script of an Airflow whose PYTHONPATH is not one's own."""

import sys
from pathlib import Path

from tests.documented import documented, typed


def test_packages_of_the_dag_folder_are_found_without_a_path(tmp_path: Path) -> None:
    """Every Python of that user then imports what lies in the folder."""
    dags, programs = tmp_path / "dags", tmp_path / "bin"
    for folder in (dags / "dbt_on_fargate_live", programs):
        folder.mkdir(parents=True)
    (dags / "dbt_on_fargate_live/__init__.py").touch()
    # That of the machine: one of a virtual environment does not look at what is the user's.
    (programs / "python3").symlink_to(Path(sys.base_prefix) / "bin/python3")
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path)}
    packages = typed("python3 -c 'import site; print(site.getusersitepackages())'", environment=environment).strip()
    command = documented("docs/airflow.md", "echo /usr/local/airflow/dags", {"/usr/local/airflow/dags": str(dags)})
    typed(f"mkdir -p {packages}", environment=environment)
    typed(command, environment=environment)

    assert str(dags) in typed(
        "python3 -c 'import dbt_on_fargate_live; print(dbt_on_fargate_live.__file__)'", environment=environment
    )
