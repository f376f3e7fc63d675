"""
A stand-in for Redshift: PostgreSQL behind a bridge that makes it look like Redshift to dbt-redshift's driver.

It shows that credentials, connection, pipeline and artifacts work with the real adapter.
It proves nothing about Redshift's planner, types or limits.
"""

from local_cloud.redshift_stand_in.stand_in import ActiveQuery, RedshiftStandIn

__all__ = ["ActiveQuery", "RedshiftStandIn"]
