"""How Airflow finds the plugin in the package of the DAGs."""

from importlib.metadata import distributions
from pathlib import Path

from stacks.airflow_plugin import plugin_files, plugin_folder


def test_python_finds_the_plugin_where_the_dag_folder_is_on_its_path(tmp_path: Path) -> None:
    """Airflow loads the entry points of what Python takes for installed packages."""
    package = "dbt_on_fargate_dev"
    folder = tmp_path / plugin_folder(package)
    folder.mkdir()
    for name, content in plugin_files(package).items():
        (folder / name).write_text(content)

    (found,) = distributions(path=[str(tmp_path)])
    (entry_point,) = found.entry_points
    assert found.name == package
    assert (entry_point.group, entry_point.value) == ("airflow.plugins", f"{package}.plugin:DbtOnFargatePlugin")
