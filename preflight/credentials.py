"""The warehouse credentials of each project: there, complete, and what the settings say of them."""

from typing import Any

from constructs_lib.warehouse_credentials import GlueConnection, runner_entry
from preflight.findings import Clients, Findings, NotAllowedError, NotThereError, ask, fine, is_denied, unknown, wrong
from runner.credentials import credentials_source
from runner.outcome import SettingsError as RunnerSettingsError
from stacks.settings import DbtProject, Environment


def check_credentials(clients: Clients, environment: Environment) -> Findings:
    """
    Read them as the container will, by the container's own code, and tell where the warehouse is, never how to get in.

    That is done as the one who runs this: what the task's role may read is a grant of the stack. The container's code uses boto3's
    default session, which must be in the environment's region.
    """
    for project in environment.projects:
        if isinstance(project.credentials, GlueConnection):
            yield from _check_glue(clients, project, project.credentials)
        try:
            entry = {name: value for name, value in runner_entry(project.credentials).items() if value is not None}
            warehouse = credentials_source(entry).fetch()
        except RunnerSettingsError as error:
            if is_denied(error.__cause__):
                yield unknown(
                    f"project {project.name!r}: {error.__cause__}; someone who may read the credentials can tell"
                )
            else:
                yield wrong(f"project {project.name!r}: {error}")
        else:
            yield fine(
                f"project {project.name!r}: credentials for {warehouse.host}:{warehouse.port}/{warehouse.database} are complete"
            )


def _check_glue(clients: Clients, project: DbtProject, credentials: GlueConnection) -> Findings:
    """What the stack must know beforehand: which secret and which key it has to grant."""
    try:
        connection = ask(
            lambda: clients("glue").get_connection(Name=credentials.name, HidePassword=True), "EntityNotFoundException"
        )["Connection"]
    except (NotThereError, NotAllowedError):
        # Reading it as the container does says so, too.
        return
    secret_id = _secret_id(connection)
    if secret_id and not _is_secret(secret_id, credentials.secret_arn):
        yield wrong(
            f"project {project.name!r}: connection {credentials.name!r} refers to the secret {secret_id!r}, which its role may not "
            f"read: give GlueConnection that secret's full ARN as secret_arn, it is {credentials.secret_arn!r}"
        )
    if connection.get("ConnectionProperties", {}).get("ENCRYPTED_PASSWORD") and not credentials.kms_key_arn:
        yield wrong(
            f"project {project.name!r}: the password of connection {credentials.name!r} is encrypted with a key that its role may "
            "not use: give GlueConnection the key's ARN as kms_key_arn"
        )


def _secret_id(connection: dict[str, Any]) -> str | None:
    properties, authentication = (
        connection.get("ConnectionProperties", {}),
        connection.get("AuthenticationConfiguration", {}),
    )
    found: str | None = properties.get("SECRET_ID") or authentication.get("SecretArn")
    return found


def _is_secret(secret_id: str, arn: str | None) -> bool:
    """Whether a secret's name or ARN is that of the full ARN, which ends with six characters of AWS's own after the name."""
    return arn is not None and (secret_id == arn or arn.partition(":secret:")[2][:-7] == secret_id)
