"""Where a project's lineage is sent, and the permission to read the key for it."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from constructs_lib.grants import Statement, allow
from constructs_lib.settings_error import SettingsError
from constructs_lib.warehouse_credentials import KEY_ARN, SECRET_ARN

IMAGE_ARGUMENT = "LINEAGE"
"""The build argument with which an image gets what it needs to send lineage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenLineage:
    """
    An OpenLineage server that hears of each run, its models and their tests, after the run.

    `url`: where it is; the tasks' security group lets them out over https only, and their network must have a way there.
    `namespace`: the one of the jobs. Default: the environment's name.
    `api_key_secret_arn`: a secret whose JSON has the field `api_key`, if the server wants one; `kms_key_arn`: the customer managed
    key that encrypts it.
    """

    url: str
    namespace: str | None = None
    api_key_secret_arn: str | None = None
    kms_key_arn: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no address, or no secret."""
        parts = urlsplit(self.url) if isinstance(self.url, str) else None
        if parts is None or parts.scheme != "https" or not parts.hostname or parts.username or parts.query:
            raise SettingsError(
                f"url of OpenLineage must be https:// with a host, without user or query, got {self.url!r}"
            )
        if self.namespace is not None and not re.fullmatch(r"\S{1,100}", self.namespace):
            raise SettingsError(
                f"namespace of OpenLineage must be 1 to 100 characters without spaces, got {self.namespace!r}"
            )
        if self.api_key_secret_arn is not None and not SECRET_ARN.fullmatch(self.api_key_secret_arn):
            raise SettingsError(
                "api_key_secret_arn must be the full ARN of a secret, with its 6-character suffix, "
                f"got {self.api_key_secret_arn!r}"
            )
        if self.kms_key_arn is not None and not KEY_ARN.fullmatch(self.kms_key_arn):
            raise SettingsError(f"kms_key_arn must be the ARN of a KMS key, got {self.kms_key_arn!r}")
        if self.kms_key_arn is not None and self.api_key_secret_arn is None:
            raise SettingsError(f"kms_key_arn needs api_key_secret_arn, got {self.kms_key_arn!r} alone")

    @property
    def entry(self) -> dict[str, Any]:
        """What the runner is told."""
        values = {"url": self.url, "namespace": self.namespace, "api_key_secret": self.api_key_secret_arn}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def reads(self) -> list[Statement]:
        """The right to read the key, and no other secret."""
        return [
            *([allow("secretsmanager:GetSecretValue", self.api_key_secret_arn)] if self.api_key_secret_arn else []),
            *([allow("kms:Decrypt", self.kms_key_arn)] if self.kms_key_arn else []),
        ]
