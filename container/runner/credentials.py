"""Where the warehouse is and who we are there: four sources behind one small interface."""

from __future__ import annotations

import base64
import binascii
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from runner.outcome import SettingsError

DEFAULT_PORT = 5439
_CONFIG = Config(connect_timeout=5, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 4})
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})
_DECRYPT = "kms:Decrypt"
_KMS = re.compile(r"\bkms\b|ciphertext|encryption key", re.IGNORECASE)
_JDBC_URL = re.compile(
    r"jdbc:redshift:(?P<iam>iam:)?//(?P<host>[^:/?;]+)(?::(?P<port>[^/?;]+))?/(?P<database>[^?;]+)(?P<options>[?;].*)?",
    re.DOTALL,
)
_Answer = TypeVar("_Answer")


class LoginMethod(StrEnum):
    """dbt-redshift's `method`."""

    DATABASE = "database"
    IAM = "iam"
    IAM_ROLE = "iam_role"


@dataclass(frozen=True, kw_only=True, slots=True)
class Warehouse:
    """What dbt needs to connect; the password never shows in a representation."""

    host: str
    port: int
    database: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    method: LoginMethod = LoginMethod.DATABASE
    cluster_identifier: str | None = None
    workgroup_name: str | None = None
    region: str | None = None


class CredentialsSource(Protocol):
    """One place that credentials come from."""

    def fetch(self) -> Warehouse:
        """
        Return the warehouse.

        Raises SettingsError with one sentence that names the ARN or the name, and the missing action or field.
        """


def credentials_source(settings: Mapping[str, Any]) -> CredentialsSource:
    """Return the source that `credentials` of the deployment names; raises SettingsError for a kind or field not known."""
    kind = settings.get("kind")
    source = _SOURCES.get(kind) if isinstance(kind, str) else None
    if source is None:
        raise SettingsError(f"kind of credentials must be one of {sorted(_SOURCES)}, got {kind!r}")
    fields = {name: value for name, value in settings.items() if name != "kind"}
    allowed = set(source.__dataclass_fields__)
    unknown = sorted(set(fields) - allowed)
    if unknown:
        raise SettingsError(
            f"unknown field {unknown[0]!r} in credentials of kind {kind!r}, allowed are {sorted(allowed)}"
        )
    try:
        made: CredentialsSource = source(**fields)
    except TypeError as error:
        missing = sorted(name for name in source.REQUIRED if not fields.get(name))
        raise SettingsError(f"credentials of kind {kind!r} lack {missing}") from error
    return made


@dataclass(frozen=True, kw_only=True)
class GlueConnection:
    """A JDBC connection of the Glue Data Catalog, with its password inline, encrypted, or in Secrets Manager."""

    REQUIRED = ("connection_name",)
    connection_name: str

    def fetch(self) -> Warehouse:
        """Return the warehouse; needs glue:GetConnection, and what the kind of its password needs."""
        client = boto3.client("glue", config=_CONFIG)
        what = f"Glue connection {self.connection_name!r}"
        arn = f"arn:aws:glue:{client.meta.region_name}:*:connection/{self.connection_name}"
        answer = _ask(lambda: client.get_connection(Name=self.connection_name), "glue:GetConnection", f"{what} ({arn})")
        connection: Mapping[str, Any] = answer["Connection"]
        properties: Mapping[str, str] = connection.get("ConnectionProperties", {})
        url = properties.get("JDBC_CONNECTION_URL")
        if not url:
            raise SettingsError(
                f"{what} is of type {connection.get('ConnectionType')!r} without a JDBC_CONNECTION_URL, "
                "it must be a JDBC connection to Redshift"
            )
        target = _jdbc_target(what, url)
        user = properties.get("USERNAME") or target.user
        secret_id = properties.get("SECRET_ID") or _secret_arn(connection)
        if target.iam:
            return _with_iam(what, target, user)
        if secret_id:
            secret = secret_fields(secret_id)
            user = secret.get("username") or secret.get("user") or user
            password: str | None = _text_field(f"secret {secret_id!r}", secret, "password")
        elif properties.get("ENCRYPTED_PASSWORD") and not properties.get("PASSWORD"):
            password = _decrypted(what, properties["ENCRYPTED_PASSWORD"])
        else:
            password = properties.get("PASSWORD") or target.password
        if not user:
            raise SettingsError(f"{what} has no user: neither USERNAME nor a secret with the field 'username'")
        if not password:
            raise SettingsError(
                f"{what} has no password: none of PASSWORD, SECRET_ID, ENCRYPTED_PASSWORD "
                "or AuthenticationConfiguration.SecretArn is set"
            )
        return Warehouse(host=target.host, port=target.port, database=target.database, user=user, password=password)


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A secret of Secrets Manager, made by Redshift or by hand; what the settings give wins over the secret's fields."""

    REQUIRED = ("secret_arn",)
    secret_arn: str
    host: str | None = None
    port: int | None = None
    database: str | None = None

    def fetch(self) -> Warehouse:
        """Return the warehouse; needs secretsmanager:GetSecretValue (and kms:Decrypt for a key of one's own)."""
        secret = secret_fields(self.secret_arn)
        what = f"secret {self.secret_arn!r}"
        named = secret.get("dbname") or secret.get("database") or secret.get("dbName")
        host = self.host or secret.get("host")
        database = self.database or named
        if not host:
            raise SettingsError(f"{what} has no field 'host' and the settings give none")
        if not database:
            raise SettingsError(f"{what} has no field 'dbname' and the settings give no database")
        return Warehouse(
            host=str(host),
            port=_port(what, self.port or secret.get("port") or DEFAULT_PORT),
            database=str(database),
            user=str(secret.get("user") or _text_field(what, secret, "username")),
            password=_text_field(what, secret, "password"),
        )


@dataclass(frozen=True, kw_only=True)
class SsmParameters:
    """Five parameters (host, port, database, user, password) below one path of the SSM parameter store."""

    REQUIRED = ("path",)
    path: str

    def fetch(self) -> Warehouse:
        """Return the warehouse; needs ssm:GetParametersByPath (and kms:Decrypt for a key of one's own)."""
        path = self.path if self.path.endswith("/") else f"{self.path}/"
        client = boto3.client("ssm", config=_CONFIG)
        what = f"SSM parameters below {path!r}"
        arn = f"arn:aws:ssm:{client.meta.region_name}:*:parameter{path}*"

        def read() -> dict[str, str]:
            pages = client.get_paginator("get_parameters_by_path").paginate(Path=path, WithDecryption=True)
            return {entry["Name"].removeprefix(path): entry["Value"] for page in pages for entry in page["Parameters"]}

        values = _ask(read, "ssm:GetParametersByPath", f"{what} ({arn})")
        missing = [name for name in ("host", "database", "user", "password") if not values.get(name)]
        if missing:
            raise SettingsError(f"{what} lack {missing}, found are {sorted(values)}")
        return Warehouse(
            host=values["host"],
            port=_port(what, values.get("port") or DEFAULT_PORT),
            database=values["database"],
            user=values["user"],
            password=values["password"],
        )


@dataclass(frozen=True, kw_only=True)
class RedshiftIam:
    """
    Redshift's own temporary credentials, of a cluster or of a serverless workgroup: no password anywhere.

    dbt-redshift fetches them itself at each connect, so a run may outlast their lifetime. They are fetched once here,
    and thrown away, so that a missing permission ends the run before dbt starts.
    """

    REQUIRED = ("database",)
    database: str
    cluster_identifier: str | None = None
    workgroup_name: str | None = None
    host: str | None = None
    port: int | None = None
    user: str | None = None
    region: str | None = None
    """Of the warehouse, if it is not the task's own."""

    def fetch(self) -> Warehouse:
        """Return the warehouse; needs GetClusterCredentials, GetClusterCredentialsWithIAM or GetCredentials."""
        if bool(self.cluster_identifier) == bool(self.workgroup_name):
            raise SettingsError(
                "credentials of kind 'redshift_iam' must name either cluster_identifier or workgroup_name, "
                f"got {self.cluster_identifier!r} and {self.workgroup_name!r}"
            )
        if self.workgroup_name:
            return self._serverless(self.workgroup_name)
        return self._provisioned(str(self.cluster_identifier))

    def _serverless(self, workgroup: str) -> Warehouse:
        client = boto3.client("redshift-serverless", region_name=self.region, config=_CONFIG)
        region = client.meta.region_name
        what = f"Redshift workgroup {workgroup!r} (arn:aws:redshift-serverless:{region}:*:workgroup/*)"
        _ask(
            lambda: client.get_credentials(workgroupName=workgroup, dbName=self.database),
            "redshift-serverless:GetCredentials",
            what,
        )
        host, port = self.host, self.port
        if not host:
            answer = _ask(
                lambda: client.get_workgroup(workgroupName=workgroup), "redshift-serverless:GetWorkgroup", what
            )
            host, port = _endpoint(what, answer["workgroup"].get("endpoint"), "address", "port", port)
        return Warehouse(
            host=host,
            port=port or DEFAULT_PORT,
            database=self.database,
            method=LoginMethod.IAM_ROLE,
            workgroup_name=workgroup,
            region=client.meta.region_name,
        )

    def _provisioned(self, cluster: str) -> Warehouse:
        client = boto3.client("redshift", region_name=self.region, config=_CONFIG)
        what, arn = f"Redshift cluster {cluster!r}", f"arn:aws:redshift:{client.meta.region_name}:*"
        user = self.user
        if user:
            _ask(
                lambda: client.get_cluster_credentials(DbUser=user, DbName=self.database, ClusterIdentifier=cluster),
                "redshift:GetClusterCredentials",
                f"{what} ({arn}:dbuser:{cluster}/{user})",
            )
        else:
            _ask(
                lambda: client.get_cluster_credentials_with_iam(DbName=self.database, ClusterIdentifier=cluster),
                "redshift:GetClusterCredentialsWithIAM",
                f"{what} ({arn}:dbname:{cluster}/{self.database})",
            )
        host, port = self.host, self.port
        if not host:
            answer = _ask(
                lambda: client.describe_clusters(ClusterIdentifier=cluster),
                "redshift:DescribeClusters",
                f"{what} ({arn}:cluster:{cluster})",
            )
            host, port = _endpoint(what, answer["Clusters"][0].get("Endpoint"), "Address", "Port", port)
        return Warehouse(
            host=host,
            port=port or DEFAULT_PORT,
            database=self.database,
            user=user,
            method=LoginMethod.IAM if user else LoginMethod.IAM_ROLE,
            cluster_identifier=cluster,
            region=client.meta.region_name,
        )


_SOURCES: Mapping[str, Any] = {
    "glue_connection": GlueConnection,
    "secret": Secret,
    "ssm_parameters": SsmParameters,
    "redshift_iam": RedshiftIam,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _JdbcTarget:
    host: str
    port: int
    database: str
    iam: bool
    region: str | None
    user: str | None
    password: str | None = field(repr=False)


def _jdbc_target(what: str, url: str) -> _JdbcTarget:
    """
    Read a JDBC URL of Redshift's driver.

    Forms: https://docs.aws.amazon.com/redshift/latest/mgmt/jdbc20-build-connection-url.html. With `iam:` the host may be
    a cluster's name, followed by its region in place of a port.
    """
    match = _JDBC_URL.fullmatch(url.strip())
    if not match:
        # The URL itself may hold a password, so it is not repeated.
        raise SettingsError(
            f"the JDBC URL of {what} must look like jdbc:redshift://host:port/database or jdbc:redshift:iam://host:port/database, "
            f"got one that begins with {url.strip().split('//')[0][:40]!r}"
        )
    options = _jdbc_options(match["options"] or "")
    port = match["port"]
    region = port if match["iam"] and port and not port.isdigit() else None
    return _JdbcTarget(
        host=match["host"],
        port=DEFAULT_PORT if region or not port else _port(f"the JDBC URL of {what}", port),
        database=urllib.parse.unquote(match["database"]),
        iam=bool(match["iam"]),
        region=region,
        user=options.get("dbuser") or options.get("user") or options.get("uid"),
        password=options.get("password") or options.get("pwd"),
    )


def _jdbc_options(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in re.split(r"[?;&]", text) if "=" in pair)
    return {name.lower(): urllib.parse.unquote(value) for name, _, value in pairs}


def _with_iam(what: str, target: _JdbcTarget, user: str | None) -> Warehouse:
    labels = target.host.split(".")
    serverless = "redshift-serverless" in labels
    if len(labels) == 1 and not target.region:
        raise SettingsError(
            f"the JDBC URL of {what} must name a cluster's host, or cluster:region, got {target.host!r}"
        )
    return RedshiftIam(
        database=target.database,
        cluster_identifier=None if serverless else labels[0],
        workgroup_name=labels[0] if serverless else None,
        host=None if len(labels) == 1 else target.host,
        port=target.port,
        user=user,
        region=target.region,
    ).fetch()


def _secret_arn(connection: Mapping[str, Any]) -> str | None:
    arn: str | None = (connection.get("AuthenticationConfiguration") or {}).get("SecretArn")
    return arn


def secret_fields(secret_id: str) -> Mapping[str, Any]:
    """Return the JSON object of a secret of Secrets Manager; raises SettingsError with its name and the missing action."""
    region = secret_id.split(":")[3] if secret_id.startswith("arn:") else None
    client = boto3.client("secretsmanager", region_name=region, config=_CONFIG)
    answer = _ask(
        lambda: client.get_secret_value(SecretId=secret_id), "secretsmanager:GetSecretValue", f"secret {secret_id!r}"
    )
    try:
        value = json.loads(answer.get("SecretString", ""))
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise SettingsError(f"secret {secret_id!r} must be a JSON object with the fields 'username' and 'password'")
    return value


def _text_field(what: str, values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{what} has no field {name!r}, its fields are {sorted(values)}")
    return value


def _decrypted(what: str, encrypted: str) -> str:
    client = boto3.client("kms", config=_CONFIG)
    try:
        blob = base64.b64decode(encrypted, validate=True)
    except binascii.Error as error:
        raise SettingsError(f"the ENCRYPTED_PASSWORD of {what} is not base64") from error
    answer = _ask(lambda: client.decrypt(CiphertextBlob=blob), _DECRYPT, f"the ENCRYPTED_PASSWORD of {what}")
    password: str = answer["Plaintext"].decode("utf-8")
    return password


def _endpoint(
    what: str, endpoint: Mapping[str, Any] | None, host: str, port: str, wanted: int | None
) -> tuple[str, int]:
    if not endpoint or not endpoint.get(host):
        raise SettingsError(f"{what} has no endpoint yet, it must be available")
    return str(endpoint[host]), wanted or int(endpoint.get(port) or DEFAULT_PORT)


def _port(what: str, got: object) -> int:
    text = str(got)
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise SettingsError(f"the port of {what} must be 1..65535, got {got!r}")
    return int(text)


def _ask(call: Callable[[], _Answer], action: str, what: str) -> _Answer:
    """Make `call` and turn what AWS may say against it into one sentence with `action` and `what`."""
    try:
        return call()
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        words = error.response["Error"].get("Message", "")
        if code in _DENIED and action != _DECRYPT and _KMS.search(words):
            # The secret may be read, but not its key be used.
            raise SettingsError(f"the task role lacks {_DECRYPT} on the key of {what}: {words}") from error
        if code in _DENIED:
            raise SettingsError(f"the task role lacks {action} on {what}: {words}") from error
        raise SettingsError(f"{action} on {what} was refused with {code}: {words}") from error
    except BotoCoreError as error:
        raise SettingsError(f"{action} on {what} could not be asked: {error}") from error
