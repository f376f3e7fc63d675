"""The four sources of credentials, against AWS look-alikes."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError

from runner.credentials import LoginMethod, Warehouse, credentials_source
from runner.outcome import SettingsError

AWKWARD_PASSWORD = "a'b\"c&d$e\nf\\g%h{{ i }}ü€"
HOST = "shop.abc123.eu-west-1.redshift.amazonaws.com"
SERVERLESS_HOST = "shop.123456789012.eu-west-1.redshift-serverless.amazonaws.com"


def fetch(**settings: object) -> Warehouse:
    """What the source of these settings gives."""
    return credentials_source(settings).fetch()


def glue_connection(properties: Mapping[str, str], **more: object) -> dict[str, Any]:
    """Make a Glue connection, and return the settings that name it."""
    connection: Any = {"Name": "warehouse", "ConnectionType": "JDBC", "ConnectionProperties": dict(properties), **more}
    boto3.client("glue").create_connection(ConnectionInput=connection)
    return {"kind": "glue_connection", "connection_name": "warehouse"}


def jdbc(url: str = f"jdbc:redshift://{HOST}:5439/analytics", **properties: str) -> dict[str, str]:
    """Properties of a Glue connection to Redshift."""
    return {"JDBC_CONNECTION_URL": url, "USERNAME": "dbt", "PASSWORD": "secret"} | properties


@contextmanager
def aws_answers(answers: Mapping[str, Any]) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Let AWS answer these operations by what is given, an exception being raised; note what was asked."""
    asked: list[tuple[str, dict[str, Any]]] = []
    real = BaseClient._make_api_call  # type: ignore[attr-defined] # what boto3 calls every operation through

    def answer(client: BaseClient, operation: str, parameters: dict[str, Any]) -> object:
        asked.append((operation, parameters))
        given = answers.get(operation)
        if isinstance(given, Exception):
            raise given
        return real(client, operation, parameters) if given is None else given

    with patch.object(BaseClient, "_make_api_call", answer):
        yield asked


def denied(operation: str) -> ClientError:
    """AWS's answer to a role without permission."""
    error: Any = {"Code": "AccessDeniedException", "Message": "User: arn:aws:sts::1:assumed-role/x is not authorized"}
    return ClientError({"Error": error}, operation)


@pytest.mark.parametrize(
    ("url", "host", "port", "database"),
    [
        (f"jdbc:redshift://{HOST}:5439/analytics", HOST, 5439, "analytics"),
        (f"jdbc:redshift://{HOST}:5440/analytics?ssl=true&tcpKeepAlive=true", HOST, 5440, "analytics"),
        (f"jdbc:redshift://{HOST}:5439/analytics;ssl=true;loginTimeout=5", HOST, 5439, "analytics"),
        (f"jdbc:redshift://{HOST}/analytics", HOST, 5439, "analytics"),
        (f"jdbc:redshift://{SERVERLESS_HOST}:5439/dev", SERVERLESS_HOST, 5439, "dev"),
        (f" jdbc:redshift://{HOST}:5439/my%20database ", HOST, 5439, "my database"),
    ],
)
@pytest.mark.usefixtures("aws")
def test_reads_jdbc_urls_of_clusters_and_of_serverless(url: str, host: str, port: int, database: str) -> None:
    """With and without a port, and with parameters after either kind of separator."""
    assert Warehouse(host=host, port=port, database=database, user="dbt", password="secret") == fetch(
        **glue_connection(jdbc(url))
    )


@pytest.mark.usefixtures("aws")
def test_takes_any_password_as_it_is() -> None:
    """Quotes, ampersands, dollars, line breaks, braces and letters beyond ASCII arrive unchanged."""
    assert fetch(**glue_connection(jdbc(PASSWORD=AWKWARD_PASSWORD))).password == AWKWARD_PASSWORD


@pytest.mark.usefixtures("aws")
def test_takes_user_and_password_out_of_the_jdbc_url() -> None:
    """Some connections carry them as parameters of the URL."""
    url = f"jdbc:redshift://{HOST}:5439/analytics;UID=loader;PWD=p%26w"
    warehouse = fetch(**glue_connection({"JDBC_CONNECTION_URL": url}))

    assert (warehouse.user, warehouse.password) == ("loader", "p&w")


@pytest.mark.parametrize("place", ["SECRET_ID", "AuthenticationConfiguration"])
@pytest.mark.usefixtures("aws")
def test_follows_a_glue_connection_into_secrets_manager(place: str) -> None:
    """Both ways in which a connection names a secret."""
    secret = {"username": "from_secret", "password": AWKWARD_PASSWORD}
    arn = boto3.client("secretsmanager").create_secret(Name="dbt", SecretString=json.dumps(secret))["ARN"]
    properties = {"JDBC_CONNECTION_URL": f"jdbc:redshift://{HOST}:5439/analytics"}
    connection: dict[str, Any] = {"ConnectionType": "JDBC", "ConnectionProperties": properties}
    if place == "SECRET_ID":
        properties["SECRET_ID"] = "dbt"
    else:
        connection["AuthenticationConfiguration"] = {"SecretArn": arn}

    with aws_answers({"GetConnection": {"Connection": connection}}):
        warehouse = fetch(kind="glue_connection", connection_name="warehouse")

    assert (warehouse.user, warehouse.password) == ("from_secret", AWKWARD_PASSWORD)


@pytest.mark.usefixtures("aws")
def test_decrypts_an_encrypted_password() -> None:
    """A catalog that encrypts passwords gives them as ENCRYPTED_PASSWORD."""
    properties = jdbc(PASSWORD="", ENCRYPTED_PASSWORD=base64.b64encode(b"blob").decode())
    with aws_answers(
        {
            "GetConnection": {"Connection": {"ConnectionType": "JDBC", "ConnectionProperties": properties}},
            "Decrypt": {"Plaintext": AWKWARD_PASSWORD.encode()},
        }
    ) as asked:
        warehouse = fetch(kind="glue_connection", connection_name="warehouse")

    assert warehouse.password == AWKWARD_PASSWORD
    assert ("Decrypt", {"CiphertextBlob": b"blob"}) in asked


@pytest.mark.parametrize(
    ("url", "operation", "answers"),
    [
        (f"jdbc:redshift:iam://{HOST}:5439/analytics", "GetClusterCredentials", {}),
        (
            "jdbc:redshift:iam://shop:eu-west-1/analytics",
            "GetClusterCredentials",
            {"DescribeClusters": {"Clusters": [{"Endpoint": {"Address": HOST, "Port": 5439}}]}},
        ),
    ],
)
@pytest.mark.usefixtures("aws")
def test_iam_urls_need_no_password(url: str, operation: str, answers: dict[str, Any]) -> None:
    """`jdbc:redshift:iam:` names a host, or a cluster and its region; dbt then logs in by the task role."""
    settings = glue_connection({"JDBC_CONNECTION_URL": url, "USERNAME": "dbt"})
    with aws_answers({operation: {}, **answers}) as asked:
        warehouse = fetch(**settings)

    assert (
        warehouse.host,
        warehouse.method,
        warehouse.cluster_identifier,
        warehouse.password,
    ) == (HOST, LoginMethod.IAM, "shop", None)
    assert operation in [name for name, _ in asked]


@pytest.mark.parametrize(
    ("secret", "more", "expected"),
    [
        (
            {"username": "u", "password": "p", "host": HOST, "port": 5440, "dbname": "d", "engine": "redshift"},
            {},
            (HOST, 5440, "d", "u"),
        ),
        # What Redshift keeps for an administrator's password that it manages has no place to connect to.
        ({"username": "admin", "password": "p"}, {"host": HOST, "database": "d"}, (HOST, 5439, "d", "admin")),
        ({"user": "u", "password": "p", "host": HOST, "database": "d"}, {"port": 5441}, (HOST, 5441, "d", "u")),
        (
            {"username": "u", "password": "p", "host": "old", "port": "1", "dbname": "old"},
            {"host": HOST, "port": 5439, "database": "new"},
            (HOST, 5439, "new", "u"),
        ),
    ],
)
@pytest.mark.usefixtures("aws")
def test_reads_secrets_made_by_redshift_and_by_hand(
    secret: dict[str, Any], more: dict[str, Any], expected: tuple[str, int, str, str]
) -> None:
    """Settings fill what a secret lacks, and win over what it has."""
    arn = boto3.client("secretsmanager").create_secret(Name="dbt", SecretString=json.dumps(secret))["ARN"]
    warehouse = fetch(kind="secret", secret_arn=arn, **more)

    assert expected == (warehouse.host, warehouse.port, warehouse.database, warehouse.user)


@pytest.mark.usefixtures("aws")
def test_reads_parameters_below_a_path() -> None:
    """The port may be left out, the password is decrypted."""
    for name, value in {"host": HOST, "database": "d", "user": "u", "password": AWKWARD_PASSWORD}.items():
        kind: Any = "SecureString" if name == "password" else "String"
        boto3.client("ssm").put_parameter(Name=f"/dbt/shop/{name}", Value=value, Type=kind)

    assert Warehouse(host=HOST, port=5439, database="d", user="u", password=AWKWARD_PASSWORD) == fetch(
        kind="ssm_parameters", path="/dbt/shop"
    )


@pytest.mark.parametrize(
    ("settings", "operation", "method"),
    [
        ({"cluster_identifier": "shop"}, "GetClusterCredentialsWithIAM", LoginMethod.IAM_ROLE),
        ({"cluster_identifier": "shop", "user": "dbt"}, "GetClusterCredentials", LoginMethod.IAM),
        ({"workgroup_name": "shop"}, "GetCredentials", LoginMethod.IAM_ROLE),
    ],
)
@pytest.mark.usefixtures("aws")
def test_redshift_iam_asks_once_and_keeps_no_password(
    settings: dict[str, Any], operation: str, method: LoginMethod
) -> None:
    """The permission is tried before dbt starts; dbt-redshift then asks at each connect, so nothing expires."""
    with aws_answers({operation: {"DbPassword": "x", "dbPassword": "x"}}) as asked:
        warehouse = fetch(kind="redshift_iam", database="d", host=HOST, **settings)

    assert (method, None, [operation]) == (warehouse.method, warehouse.password, [name for name, _ in asked])


@pytest.mark.parametrize(
    ("settings", "operation", "action"),
    [
        ({"kind": "glue_connection", "connection_name": "warehouse"}, "GetConnection", "glue:GetConnection"),
        ({"kind": "secret", "secret_arn": "dbt"}, "GetSecretValue", "secretsmanager:GetSecretValue"),
        ({"kind": "ssm_parameters", "path": "/dbt/"}, "GetParametersByPath", "ssm:GetParametersByPath"),
        (
            {"kind": "redshift_iam", "database": "d", "cluster_identifier": "warehouse"},
            "GetClusterCredentialsWithIAM",
            "redshift:GetClusterCredentialsWithIAM",
        ),
        (
            {"kind": "redshift_iam", "database": "d", "workgroup_name": "warehouse"},
            "GetCredentials",
            "redshift-serverless:GetCredentials",
        ),
    ],
)
@pytest.mark.usefixtures("aws")
def test_a_missing_permission_is_named(settings: dict[str, Any], operation: str, action: str) -> None:
    """One sentence with the action that the task role lacks, on what, and AWS's own words."""
    with aws_answers({operation: denied(operation)}), pytest.raises(SettingsError) as raised:
        fetch(**settings)

    message = str(raised.value)
    name = next(value for key, value in settings.items() if key not in {"kind", "database"})
    assert message.startswith(f"the task role lacks {action} on ")
    assert name in message
    assert message.endswith("is not authorized")


@pytest.mark.parametrize(
    ("warehouse", "operation", "expected"),
    [
        (
            {"cluster_identifier": "shop"},
            "DescribeClusters",
            "redshift:DescribeClusters on Redshift cluster 'shop' (arn:aws:redshift:eu-west-1:*:cluster:shop)",
        ),
        (
            {"workgroup_name": "shop"},
            "GetWorkgroup",
            (
                "redshift-serverless:GetWorkgroup on Redshift workgroup 'shop' "
                "(arn:aws:redshift-serverless:eu-west-1:*:workgroup/*)"
            ),
        ),
    ],
)
@pytest.mark.usefixtures("aws")
def test_a_missing_permission_to_find_the_warehouse_is_named(
    warehouse: dict[str, str], operation: str, expected: str
) -> None:
    """Without a host in the settings the warehouse's address is asked for, which is a permission of its own."""
    answers = {"GetCredentials": {}, "GetClusterCredentialsWithIAM": {}, operation: denied(operation)}
    with aws_answers(answers), pytest.raises(SettingsError) as raised:
        fetch(kind="redshift_iam", database="d", **warehouse)

    assert str(raised.value).startswith(f"the task role lacks {expected}: ")


@pytest.mark.parametrize(
    ("settings", "operation", "words"),
    [
        ({"kind": "secret", "secret_arn": "dbt"}, "GetSecretValue", "Access to KMS is not allowed"),
        (
            {"kind": "ssm_parameters", "path": "/dbt/"},
            "GetParametersByPath",
            "The ciphertext refers to a customer master key that does not exist, or you are not allowed to access it",
        ),
    ],
)
@pytest.mark.usefixtures("aws")
def test_a_missing_permission_on_the_key_is_not_taken_for_one_on_the_secret(
    settings: dict[str, str], operation: str, words: str
) -> None:
    """AWS refuses the reading though the role may read: the key of one's own is what is missing."""
    refused = ClientError({"Error": {"Code": "AccessDeniedException", "Message": words}}, operation)
    with aws_answers({operation: refused}), pytest.raises(SettingsError) as raised:
        fetch(**settings)

    assert str(raised.value).startswith("the task role lacks kms:Decrypt on the key of ")


@pytest.mark.usefixtures("aws")
def test_the_region_in_an_iam_url_is_the_clusters() -> None:
    """`cluster:region` may name another region than the task's; it is asked there, and dbt-redshift too."""
    regions: list[str] = []
    real: Callable[..., Any] = boto3.client

    def client(service: str, **options: Any) -> object:  # noqa: ANN401 - whatever boto3 takes
        made = real(service, **options)
        regions.append(made.meta.region_name)
        return made

    settings = glue_connection({"JDBC_CONNECTION_URL": "jdbc:redshift:iam://shop:us-east-2/analytics"})
    answers = {
        "GetClusterCredentialsWithIAM": {},
        "DescribeClusters": {"Clusters": [{"Endpoint": {"Address": HOST, "Port": 5439}}]},
    }
    with aws_answers(answers), patch("boto3.client", client):
        warehouse = fetch(**settings)

    assert (regions, warehouse.region) == (["eu-west-1", "us-east-2"], "us-east-2")


@pytest.mark.usefixtures("aws")
def test_a_missing_permission_to_decrypt_is_named() -> None:
    """An encrypted password needs kms:Decrypt too."""
    properties = jdbc(PASSWORD="", ENCRYPTED_PASSWORD="YWJj")
    answers = {
        "GetConnection": {"Connection": {"ConnectionType": "JDBC", "ConnectionProperties": properties}},
        "Decrypt": denied("Decrypt"),
    }
    with (
        aws_answers(answers),
        pytest.raises(SettingsError, match="lacks kms:Decrypt on the ENCRYPTED_PASSWORD of Glue"),
    ):
        fetch(kind="glue_connection", connection_name="warehouse")


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        (jdbc("jdbc:postgresql://db:5432/shop"), "must look like jdbc:redshift://host:port/database"),
        (jdbc("jdbc:redshift://host:5439"), "must look like jdbc:redshift://host:port/database"),
        (
            jdbc("jdbc:redshift://host:99999/db"),
            "the port of the JDBC URL of Glue connection 'warehouse' must be 1..65535",
        ),
        (jdbc("jdbc:redshift:iam://shop/db"), "must name a cluster's host, or cluster:region, got 'shop'"),
        (jdbc(PASSWORD=""), "Glue connection 'warehouse' has no password: none of PASSWORD, SECRET_ID"),
        (jdbc(USERNAME=""), "Glue connection 'warehouse' has no user"),
        (jdbc(SECRET_ID="nothing"), "secretsmanager:GetSecretValue on secret 'nothing' was refused"),
        ({"CONNECTION_URL": "mongodb://x"}, "without a JDBC_CONNECTION_URL, it must be a JDBC connection to Redshift"),
    ],
)
@pytest.mark.usefixtures("aws")
def test_rejects_glue_connections_that_lead_nowhere(properties: dict[str, str], words: str) -> None:
    """One sentence that names the connection and what is wrong with it."""
    connection = {"ConnectionType": "JDBC", "ConnectionProperties": properties}
    answers = {"GetConnection": {"Connection": connection}}
    with aws_answers(answers), pytest.raises(SettingsError) as raised:
        fetch(kind="glue_connection", connection_name="warehouse")

    assert words in str(raised.value)
    assert "secret'" not in str(raised.value)


@pytest.mark.usefixtures("aws")
def test_an_error_about_a_jdbc_url_does_not_repeat_its_password() -> None:
    """The URL itself may carry the password."""
    url = "jdbc:mysql://host/db?password=canary"
    with pytest.raises(SettingsError) as raised:
        fetch(**glue_connection(jdbc(url)))

    assert "canary" not in str(raised.value)


@pytest.mark.usefixtures("aws")
def test_rejects_a_connection_that_does_not_exist() -> None:
    """AWS's word for it is in the sentence."""
    with pytest.raises(SettingsError, match=r"glue:GetConnection on Glue connection 'nowhere' .* was refused with"):
        fetch(kind="glue_connection", connection_name="nowhere")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not json", "must be a JSON object with the fields 'username' and 'password'"),
        (json.dumps({"username": "u", "host": "h", "dbname": "d"}), "has no field 'password', its fields are"),
        (json.dumps({"password": "p", "host": "h", "dbname": "d"}), "has no field 'username'"),
        (
            json.dumps({"username": "u", "password": "p", "dbname": "d"}),
            "has no field 'host' and the settings give none",
        ),
        (json.dumps({"username": "u", "password": "p", "host": "h"}), "has no field 'dbname' and the settings give no"),
    ],
)
@pytest.mark.usefixtures("aws")
def test_rejects_secrets_without_a_field(text: str, words: str) -> None:
    """The sentence names the secret and the field, and no value."""
    arn = boto3.client("secretsmanager").create_secret(Name="dbt", SecretString=text)["ARN"]
    with pytest.raises(SettingsError) as raised:
        fetch(kind="secret", secret_arn=arn)

    assert words in str(raised.value)
    assert arn in str(raised.value)


@pytest.mark.usefixtures("aws")
def test_rejects_a_path_that_lacks_parameters() -> None:
    """The sentence names those that are missing and those that are there."""
    boto3.client("ssm").put_parameter(Name="/dbt/host", Value=HOST, Type="String")
    with pytest.raises(SettingsError) as raised:
        fetch(kind="ssm_parameters", path="/dbt/")

    assert "lack ['database', 'user', 'password'], found are ['host']" in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "vault"}, "kind of credentials must be one of ['glue_connection', 'redshift_iam'"),
        ({}, "kind of credentials must be one of"),
        ({"kind": "secret"}, "credentials of kind 'secret' lack ['secret_arn']"),
        ({"kind": "secret", "secret_arn": "x", "user": "u"}, "unknown field 'user' in credentials of kind 'secret'"),
    ],
)
def test_rejects_settings_of_no_source(settings: dict[str, Any], words: str) -> None:
    """A kind or a field that does not exist is named, with those that do."""
    with pytest.raises(SettingsError) as raised:
        credentials_source(settings)

    assert words in str(raised.value)


@pytest.mark.parametrize("names", [{}, {"cluster_identifier": "a", "workgroup_name": "b"}])
def test_rejects_redshift_iam_without_exactly_one_warehouse(names: dict[str, str]) -> None:
    """A cluster or a workgroup, not both and not neither."""
    with pytest.raises(SettingsError, match="must name either cluster_identifier or workgroup_name"):
        fetch(kind="redshift_iam", database="d", **names)


@pytest.mark.usefixtures("aws")
def test_an_aws_that_does_not_answer_is_one_sentence_too() -> None:
    """A missing endpoint in a private subnet is not a traceback."""
    error = EndpointConnectionError(endpoint_url="https://glue.eu-west-1.amazonaws.com")
    with (
        aws_answers({"GetConnection": error}),
        pytest.raises(SettingsError, match="could not be asked: Could not connect"),
    ):
        fetch(kind="glue_connection", connection_name="warehouse")


def test_a_password_shows_in_no_representation() -> None:
    """What is logged by mistake does not hold it."""
    warehouse = Warehouse(host="h", port=1, database="d", user="u", password="canary")

    assert "canary" not in repr(warehouse)
