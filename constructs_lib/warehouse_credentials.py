"""Where a dbt project's warehouse credentials come from, and the permission to read exactly those."""

import re
from dataclasses import dataclass

from constructs_lib.grants import Statement, allow
from constructs_lib.place import Place
from constructs_lib.settings_error import SettingsError

SECRET_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{6}")
# https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id-key-ARN: a UUID, or that of a multi-Region key.
KEY_ARN = re.compile(
    r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})", re.ASCII
)
_CONNECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,254}")
_PARAMETER_PATH = re.compile(r"(/[A-Za-z0-9_.-]+)+/")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_CLUSTER_IDENTIFIER = re.compile(r"[a-z][a-z0-9-]{0,62}")
_WORKGROUP_NAME = re.compile(r"[a-z0-9-]{3,64}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _check(setting: str, value: object, pattern: re.Pattern[str], expected: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise SettingsError(f"{setting} must be {expected}, got {value!r}")


def _check_key_arn(setting: str, value: object) -> None:
    if value is not None:
        _check(setting, value, KEY_ARN, "the ARN of a KMS key")


def _check_port(setting: str, value: object) -> None:
    if not isinstance(value, int) or not 1 <= value <= 65535:
        raise SettingsError(f"{setting} must be a port number from 1 to 65535, got {value!r}")


@dataclass(frozen=True, slots=True)
class GlueConnection:
    """
    A JDBC connection of AWS Glue in the environment's account and region.

    `secret_arn`: the secret that the connection refers to, if it does not hold user and password itself.
    `kms_key_arn`: the customer managed key that encrypts the connection's password or that secret. Default: AWS managed.
    """

    name: str
    secret_arn: str | None = None
    kms_key_arn: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot name a connection."""
        _check("a Glue connection's name", self.name, _CONNECTION_NAME, "1 to 255 letters, digits or any of '_. -'")
        if self.secret_arn is not None:
            _check("secret_arn", self.secret_arn, SECRET_ARN, "the full ARN of a secret, with its 6-character suffix")
        _check_key_arn("kms_key_arn", self.kms_key_arn)


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretsManagerSecret:
    """
    A JSON secret with `username` and `password`, and `host`, `port` and `dbname` where they are not given here.

    Values given here win over those of the secret.
    `kms_key_arn`: the customer managed key that encrypts the secret. Default: the AWS managed key.
    """

    secret_arn: str
    host: str | None = None
    port: int | None = None
    database: str | None = None
    kms_key_arn: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot name a secret or a host."""
        _check("secret_arn", self.secret_arn, SECRET_ARN, "the full ARN of a secret, with its 6-character suffix")
        if self.host is not None:
            _check("host", self.host, _HOST, "a host name")
        if self.port is not None:
            _check_port("port", self.port)
        _check_key_arn("kms_key_arn", self.kms_key_arn)


@dataclass(frozen=True, kw_only=True, slots=True)
class SsmParameters:
    """
    The parameters `host`, `port`, `database`, `user` and `password` below one path of the SSM parameter store.

    `kms_key_arn`: the customer managed key that encrypts the password. Default: the AWS managed key.
    """

    path: str
    kms_key_arn: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be a parameter path."""
        _check("an SSM path", self.path, _PARAMETER_PATH, "of the form '/a/b/', beginning and ending with '/'")
        _check_key_arn("kms_key_arn", self.kms_key_arn)


@dataclass(frozen=True, kw_only=True, slots=True)
class RedshiftIam:
    """
    Temporary credentials from Redshift by the task's own role; there is no password anywhere.

    Either `cluster_identifier` (provisioned) or `workgroup_name` with `workgroup_id` (serverless; IAM knows a workgroup by its
    id only). `user`: the database user of a provisioned cluster. Default: the database user that Redshift derives from the role.
    """

    host: str
    database: str
    port: int = 5439
    cluster_identifier: str | None = None
    workgroup_name: str | None = None
    workgroup_id: str | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        """Refuse a mixture of provisioned and serverless."""
        if (self.cluster_identifier is None) == (self.workgroup_name is None):
            raise SettingsError(
                "RedshiftIam takes either cluster_identifier or workgroup_name, "
                f"got {self.cluster_identifier!r} and {self.workgroup_name!r}"
            )
        if self.cluster_identifier is not None:
            _check(
                "cluster_identifier", self.cluster_identifier, _CLUSTER_IDENTIFIER, "a Redshift cluster's identifier"
            )
        if self.workgroup_name is not None:
            _check("workgroup_name", self.workgroup_name, _WORKGROUP_NAME, "a Redshift Serverless workgroup's name")
            _check("workgroup_id", self.workgroup_id, _UUID, "the workgroup's id, the UUID at the end of its ARN")
            if self.user is not None:
                raise SettingsError(
                    f"user is for provisioned clusters; a serverless workgroup derives it, got {self.user!r}"
                )
        _check("host", self.host, _HOST, "a host name")
        _check("database", self.database, re.compile(r"[A-Za-z_][A-Za-z0-9_$-]{0,126}"), "a database's name")
        _check_port("port", self.port)


WarehouseCredentials = GlueConnection | SecretsManagerSecret | SsmParameters | RedshiftIam


def runner_entry(credentials: WarehouseCredentials) -> dict[str, object]:
    """What the runner is told about `credentials`: where to look, never what they are."""
    return {name: value for name, value in _where_to_look(credentials).items() if value is not None}


def _where_to_look(credentials: WarehouseCredentials) -> dict[str, object]:
    match credentials:
        case GlueConnection():
            return {"kind": "glue_connection", "connection_name": credentials.name}
        case SecretsManagerSecret():
            return {
                "kind": "secret",
                "secret_arn": credentials.secret_arn,
                "host": credentials.host,
                "port": credentials.port,
                "database": credentials.database,
            }
        case SsmParameters():
            return {"kind": "ssm_parameters", "path": credentials.path}
        case RedshiftIam():
            return {
                "kind": "redshift_iam",
                "cluster_identifier": credentials.cluster_identifier,
                "workgroup_name": credentials.workgroup_name,
                "host": credentials.host,
                "port": credentials.port,
                "database": credentials.database,
                "user": credentials.user,
            }


def reads(credentials: WarehouseCredentials, place: Place) -> list[Statement]:
    """
    The right to read `credentials` and no others.

    Statements are written out: no construct stands for a Glue connection or a Redshift user, and the grants that exist for
    secrets and parameters allow more actions than the runner calls.
    """
    match credentials:
        case GlueConnection():
            # GetConnection authorises on the catalog and on the connection.
            catalog, connection = place.arn("glue", "catalog"), place.arn("glue", "connection", name=credentials.name)
            return [
                allow("glue:GetConnection", catalog, connection),
                *([allow("secretsmanager:GetSecretValue", credentials.secret_arn)] if credentials.secret_arn else []),
                *_decrypts(credentials.kms_key_arn),
            ]
        case SecretsManagerSecret():
            return [
                allow("secretsmanager:GetSecretValue", credentials.secret_arn),
                *_decrypts(credentials.kms_key_arn),
            ]
        case SsmParameters():
            path = place.arn("ssm", "parameter", name=credentials.path.strip("/"))
            return [allow("ssm:GetParametersByPath", path, f"{path}/*"), *_decrypts(credentials.kms_key_arn)]
        case RedshiftIam():
            return [_asks_redshift(credentials, place)]


def wildcards(credentials: WarehouseCredentials, place: Place) -> dict[str, str]:
    """The resources of `reads` that have a wildcard, with the reason."""
    if not isinstance(credentials, SsmParameters):
        return {}
    below = place.arn("ssm", "parameter", name=f"{credentials.path.strip('/')}/*")
    return {below: "The path is the setting; the runner reads all parameters below it."}


def _asks_redshift(credentials: RedshiftIam, place: Place) -> Statement:
    if credentials.workgroup_id:
        workgroup = place.arn("redshift-serverless", "workgroup", name=credentials.workgroup_id)
        return allow("redshift-serverless:GetCredentials", workgroup)
    cluster = credentials.cluster_identifier
    database = place.arn("redshift", "dbname", separator=":", name=f"{cluster}/{credentials.database}")
    if credentials.user:
        user = place.arn("redshift", "dbuser", separator=":", name=f"{cluster}/{credentials.user}")
        return allow("redshift:GetClusterCredentials", database, user)
    return allow("redshift:GetClusterCredentialsWithIAM", database)


def _decrypts(kms_key_arn: str | None) -> list[Statement]:
    return [allow("kms:Decrypt", kms_key_arn)] if kms_key_arn else []


def services(credentials: WarehouseCredentials) -> frozenset[str]:
    """The AWS services that the runner asks for `credentials`, by the names of their endpoints."""
    match credentials:
        case GlueConnection():
            secret = {"secretsmanager"} if credentials.secret_arn else set()
            # The runner decrypts a connection's encrypted password itself.
            key = {"kms"} if credentials.kms_key_arn else set()
            return frozenset({"glue"} | secret | key)
        case SecretsManagerSecret():
            return frozenset({"secretsmanager"})
        case SsmParameters():
            return frozenset({"ssm"})
        case RedshiftIam():
            return frozenset({"redshift-serverless" if credentials.workgroup_name else "redshift"})
