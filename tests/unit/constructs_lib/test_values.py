"""Values that go into constructs are right when they are made."""

from collections.abc import Callable

import pytest

from constructs_lib.settings_error import SettingsError
from constructs_lib.task_size import TaskSize
from constructs_lib.warehouse_credentials import (
    KEY_ARN,
    GlueConnection,
    RedshiftIam,
    SecretsManagerSecret,
    SsmParameters,
    WarehouseCredentials,
    runner_entry,
)

_SECRET = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:warehouse-a1B2c3"


@pytest.mark.parametrize(
    ("cpu_units", "memory_mib"),
    [(256, 512), (256, 2048), (512, 4096), (1024, 8192), (2048, 5120), (4096, 30720), (8192, 61440), (16384, 122880)],
)
def test_accepts_sizes_of_fargate(cpu_units: int, memory_mib: int) -> None:
    """The pairs of AWS's table, up to its end."""
    assert TaskSize(cpu_units=cpu_units, memory_mib=memory_mib).memory_mib == memory_mib


@pytest.mark.parametrize(
    ("cpu_units", "memory_mib", "words"),
    [
        (300, 512, "cpu_units must be one of 256, 512, 1024, 2048, 4096, 8192, 16384, got 300"),
        (256, 4096, "for 256 cpu units must be one of 512, 1024, 2048, got 4096"),
        (1024, 2000, "got 2000"),
        (4096, 31744, "got 31744"),
        (8192, 17408, "got 17408"),
        (16384, 36864, "got 36864"),
    ],
)
def test_rejects_sizes_that_fargate_does_not_offer(cpu_units: int, memory_mib: int, words: str) -> None:
    """The error tells what goes with that many CPU units."""
    with pytest.raises(SettingsError, match=words):
        TaskSize(cpu_units=cpu_units, memory_mib=memory_mib)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GlueConnection(""), "a Glue connection's name"),
        (lambda: GlueConnection("ware*"), "got 'ware\\*'"),
        (lambda: GlueConnection("warehouse", secret_arn="warehouse/dbt"), "the full ARN of a secret"),
        (lambda: GlueConnection("warehouse", kms_key_arn="alias/dbt"), "the ARN of a KMS key, got 'alias/dbt'"),
        (lambda: SecretsManagerSecret(secret_arn="warehouse/dbt"), "the full ARN of a secret"),
        (lambda: SecretsManagerSecret(secret_arn=_SECRET, host="a host"), "a host name, got 'a host'"),
        (lambda: SecretsManagerSecret(secret_arn=_SECRET, port=0), "a port number from 1 to 65535, got 0"),
        (lambda: SsmParameters(path="dbt/shop"), "got 'dbt/shop'"),
        (lambda: SsmParameters(path="/"), "got '/'"),
        (lambda: RedshiftIam(host="h", database="d"), "either cluster_identifier or workgroup_name, got None and None"),
        (
            lambda: RedshiftIam(host="h", database="d", cluster_identifier="c", workgroup_name="w"),
            "got 'c' and 'w'",
        ),
        (lambda: RedshiftIam(host="h", database="d", workgroup_name="wg1"), "the workgroup's id"),
        (lambda: RedshiftIam(host="h", database="d*", cluster_identifier="c"), "a database's name, got 'd\\*'"),
    ],
)
def test_rejects_credentials_that_cannot_be_read(make: Callable[[], WarehouseCredentials], words: str) -> None:
    """Wrong names stop before a policy is made of them: a '*' would grant more than was meant."""
    with pytest.raises(SettingsError, match=words):
        make()


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        (GlueConnection("warehouse"), {"kind": "glue_connection", "connection_name": "warehouse"}),
        (
            SecretsManagerSecret(secret_arn=_SECRET, host="db.example.com"),
            {"kind": "secret", "secret_arn": _SECRET, "host": "db.example.com"},
        ),
        (SsmParameters(path="/dbt/shop/"), {"kind": "ssm_parameters", "path": "/dbt/shop/"}),
        (
            RedshiftIam(host="h", database="d", cluster_identifier="c"),
            {
                "kind": "redshift_iam",
                "cluster_identifier": "c",
                "host": "h",
                "port": 5439,
                "database": "d",
            },
        ),
        (
            RedshiftIam(
                host="h",
                database="d",
                workgroup_name="wg1",
                workgroup_id="01234567-89ab-cdef-0123-456789abcdef",
            ),
            {
                "kind": "redshift_iam",
                "workgroup_name": "wg1",
                "host": "h",
                "port": 5439,
                "database": "d",
            },
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_runner_is_told_where_to_look(credentials: WarehouseCredentials, expected: dict[str, object]) -> None:
    """The runner's `credentials` of RUNNER_DEPLOYMENT, kind by kind."""
    assert runner_entry(credentials) == expected


@pytest.mark.parametrize(
    ("key_id", "is_key"),
    [
        ("01234567-89ab-cdef-0123-456789abcdef", True),
        ("mrk-0123456789abcdef0123456789abcdef", True),
        ("mrk-01234567-89ab-cdef-0123-456789abcdef", False),
        ("mrk-0123456789abcdef", False),
        ("mrk-0123456789ABCDEF0123456789ABCDEF", False),
        ("0123456789abcdef0123456789abcdef", False),
        ("1", False),
        ("alias/dbt", False),
    ],
)
def test_a_key_is_a_uuid_or_a_multi_region_id(key_id: str, is_key: bool) -> None:
    """An id that AWS never gives is refused before a deployment fails on it."""
    assert bool(KEY_ARN.fullmatch(f"arn:aws:kms:eu-west-1:111111111111:key/{key_id}")) is is_key
