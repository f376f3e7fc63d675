"""A database for Airflow's own state in the PostgreSQL that plays the warehouse: in SQLite the parts of Airflow lock each other out."""

from collections.abc import Mapping

from local_cloud.redshift_stand_in import RedshiftStandIn

_USER = "airflow"
_PASSWORD = "Airfl0w"  # noqa: S105 - of a database on loopback


def airflow_database(server: RedshiftStandIn) -> Mapping[str, str]:
    """Make an empty database, in place of an earlier one; returns the environment by which Airflow uses it."""
    server.run_sql(f"drop database if exists {_USER} with (force)")
    server.run_sql(f"drop role if exists {_USER}")
    server.run_sql(f"create role {_USER} login password '{_PASSWORD}'")
    server.run_sql(f"create database {_USER} owner {_USER}")
    # The server's own setting is Redshift's.
    server.run_sql(f"alter database {_USER} set standard_conforming_strings = on")
    address = f"{server.host}:{server.postgres_port}/{_USER}"
    return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{_USER}:{_PASSWORD}@{address}"}
