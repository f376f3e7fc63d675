"""The key that sessions of hosted pages are signed with, as whoever runs an environment sees it."""

from local_cloud.cloud import LocalCloud
from tests.local_cloud.key_value_store import keys_and_values


class SessionKeys:
    """The secret of the one environment of a cloud that has hosted pages, its function and its key value store."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._cloud = cloud
        self._secrets = cloud.account.client("secretsmanager")
        # As the runbook tells it apart.
        (self.secret_arn,) = (
            secret["ARN"]
            for secret in self._secrets.list_secrets()["SecretList"]
            if secret.get("Description", "").startswith("What sessions of the pages")
        )

    def current(self) -> str:
        """The id of the version that sessions are signed with."""
        return str(self._secrets.get_secret_value(SecretId=self.secret_arn)["VersionId"])

    def known_to_cloudfront(self) -> set[str]:
        """The ids of the versions whose sessions are accepted."""
        return set(keys_and_values(self._cloud.emulator.endpoint_url, self._variables()["KEY_VALUE_STORE_ARN"]))

    def need_not_wait_for_edges(self) -> None:
        """There are none here, which would have a new key some seconds later."""
        variables = {**self._variables(), "PROPAGATION_SECONDS": "0"}
        self._cloud.account.client("lambda").update_function_configuration(
            FunctionName=self._function(), Environment={"Variables": variables}
        )

    def _function(self) -> str:
        return str(self._secrets.describe_secret(SecretId=self.secret_arn)["RotationLambdaARN"])

    def _variables(self) -> dict[str, str]:
        configuration = self._cloud.account.client("lambda").get_function_configuration(FunctionName=self._function())
        return dict(configuration["Environment"]["Variables"])
