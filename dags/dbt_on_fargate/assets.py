"""The data that a run builds, as Airflow's assets (Airflow 2: datasets): other DAGs can be scheduled on them."""

from urllib.parse import quote

from .compat import Asset


def project_uri(environment: str, project: str) -> str:
    """
    The address of all that a project builds: `x-dbt-on-fargate://<environment>/<project>`.

    The warehouse's own address is not known when the DAG is deployed, and is no part of it: data that moves stays the same data.
    Airflow leaves schemes that begin with "x-" as they are; for any other it imports all providers whenever it parses the file.
    """
    return f"x-dbt-on-fargate://{environment}/{project}"


def node_uri(environment: str, project: str, unique_id: str) -> str:
    """The address of a model, seed or snapshot: that of the project, and dbt's unique id."""
    # Airflow 2 takes ASCII only.
    return f"{project_uri(environment, project)}/{quote(unique_id, safe='')}"


def asset(uri: str) -> Asset:
    """The asset of that address; its name is the address, too, which is all that Airflow 2 knows."""
    return Asset(uri)
