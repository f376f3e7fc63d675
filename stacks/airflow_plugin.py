"""The files by which Airflow finds the plugin in the package of the DAGs."""


def plugin_folder(package: str) -> str:
    """The name of the folder beside the package."""
    return f"{package}.dist-info"


def plugin_files(package: str) -> dict[str, str]:
    """
    The content by name of the files in that folder.

    Python takes the package for an installed one with an entry point wherever the DAG folder is on its path, as it must be in the
    triggerer. Format: https://packaging.python.org/specifications/recording-installed-packages/
    """
    return {
        "METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n",
        "entry_points.txt": f"[airflow.plugins]\n{package} = {package}.plugin:DbtOnFargatePlugin\n",
    }
