"""Secrets Manager uses the key of a secret in the name of its caller; the stock emulator asks nobody for it."""

from collections.abc import Callable

from local_cloud.emulator.patches.iam import caller_may
from local_cloud.emulator.patches.stock import Json, Response, refusal, replace, responses, secretsmanager

# https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
_NEEDED = {
    "_get_secret_value": ("kms:Decrypt",),
    "_put_secret_value": ("kms:GenerateDataKey", "kms:Decrypt"),
}


def apply() -> None:
    """Apply the patch of this module."""
    for name, actions in _NEEDED.items():
        replace(secretsmanager, name, "data", by=_asking_for(actions))


def _asking_for(actions: tuple[str, ...]) -> Callable[[Callable[[Json], Response]], Callable[[Json], Response]]:
    def wrap(stock: Callable[[Json], Response]) -> Callable[[Json], Response]:
        def handle(data: Json) -> Response:
            _, secret = secretsmanager._resolve(data.get("SecretId"))
            key_arn = (secret or {}).get("KmsKeyId") or ""
            region = responses.get_region()
            context = {
                "kms:viaservice": f"secretsmanager.{region}.amazonaws.com",
                "kms:encryptioncontext:secretarn": (secret or {}).get("ARN", ""),
            }
            # AWS's own key is for everybody in the account.
            if ":key/" in key_arn and not all(caller_may(action, key_arn, context) for action in actions):
                return refusal("AccessDeniedException", "Access to KMS is not allowed")
            return stock(data)

        return handle

    return wrap
