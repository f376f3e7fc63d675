"""The dbt profile that the runner renders: it refers to environment variables and holds no value itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runner.credentials import LoginMethod, Warehouse

PROFILE_NAME = "warehouse"
"""Given to dbt with `--profile`, whatever name the project's own dbt_project.yml asks for."""

PASSWORD_VARIABLE = "DBT_ENV_SECRET_REDSHIFT_PASSWORD"  # noqa: S105 - the variable's name; dbt scrubs only names like it
BUILD_WAREHOUSE = Warehouse(host="warehouse.invalid", port=5439, database="warehouse", user="nobody", password="-")  # noqa: S106 - no secret
"""Stands for the warehouse where a project is only parsed; `.invalid` never resolves (RFC 2606)."""


def write_profile(folder: Path, *, warehouse: Warehouse, target: str) -> None:
    """Write `profiles.yml` for `warehouse` into `folder`; every value in it is an `env_var()` reference or a constant."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{PROFILE_NAME}:",
        f"  target: {target}",
        "  outputs:",
        f"    {target}:",
        *(f"      {name}: {value}" for name, value in _fields(warehouse).items()),
    ]
    (folder / "profiles.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def profile_environment(warehouse: Warehouse, *, environment: str, schema: str) -> dict[str, str]:
    """Return the variables that the profile refers to, to be set in this process only."""
    values = {
        "DBT_REDSHIFT_HOST": warehouse.host,
        "DBT_REDSHIFT_PORT": str(warehouse.port),
        "DBT_REDSHIFT_DB": warehouse.database,
        "DBT_REDSHIFT_SCHEMA": schema,
        "DBT_ENVIRONMENT": environment,
    }
    if warehouse.user is not None:
        values["DBT_REDSHIFT_USER"] = warehouse.user
    if warehouse.password is not None:
        values[PASSWORD_VARIABLE] = warehouse.password
    if warehouse.cluster_identifier is not None:
        values["DBT_REDSHIFT_CLUSTER"] = warehouse.cluster_identifier
    if warehouse.workgroup_name is not None:
        values["DBT_REDSHIFT_WORKGROUP"] = warehouse.workgroup_name
    if warehouse.region is not None:
        values["DBT_REDSHIFT_REGION"] = warehouse.region
    return values


def _fields(warehouse: Warehouse) -> Mapping[str, str]:
    fields = {
        "type": "redshift",
        "method": warehouse.method.value,
        "host": _reference("DBT_REDSHIFT_HOST"),
        "port": _reference("DBT_REDSHIFT_PORT", "as_number"),
        "dbname": _reference("DBT_REDSHIFT_DB"),
        "schema": _reference("DBT_REDSHIFT_SCHEMA"),
        # dbt-redshift's default, "prefer", checks the certificate's chain but not that it was made for this host.
        "sslmode": "verify-full",
        # No connect_timeout: redshift_connector keeps it for every answer, so a query that takes longer would be cut off.
        # A connect may fail while a paused cluster or an idle workgroup wakes up.
        "retries": "3",
        # A firewall drops idle connections after some minutes; the first probe must come before that.
        "tcp_keepalive_idle": "60",
        "tcp_keepalive_interval": "15",
        "tcp_keepalive_count": "4",
    }
    if warehouse.user is not None:
        fields["user"] = _reference("DBT_REDSHIFT_USER")
    if warehouse.method is LoginMethod.DATABASE:
        fields["password"] = _reference(PASSWORD_VARIABLE, None)
    if warehouse.cluster_identifier is not None:
        fields["cluster_id"] = _reference("DBT_REDSHIFT_CLUSTER")
    if warehouse.workgroup_name is not None:
        fields["is_serverless"] = "true"
        fields["serverless_work_group"] = _reference("DBT_REDSHIFT_WORKGROUP")
    if warehouse.region is not None:
        fields["region"] = _reference("DBT_REDSHIFT_REGION")
    return fields


def _reference(variable: str, as_type: str | None = "as_text") -> str:
    # as_text: dbt would turn a database that is called 2026 into a number.
    kind = f" | {as_type}" if as_type else ""
    return f"\"{{{{ env_var('{variable}'){kind} }}}}\""
