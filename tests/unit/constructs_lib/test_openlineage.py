"""Where lineage may be sent, and what the task may read for it."""

from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from constructs_lib.openlineage import OpenLineage
from constructs_lib.settings_error import SettingsError
from runner.lineage import Lineage
from stacks.platform import DbtPlatform
from tests.unit.rights import statements_of
from tests.unit.stacks.settings_of_a_stranger import environment, project

_URL = "https://marquez.example.com"
_SECRET = "arn:aws:secretsmanager:eu-west-1:333333333333:secret:lineage-a1B2c3"
_KEY = "arn:aws:kms:eu-west-1:333333333333:key/01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"url": "http://marquez.example.com"}, "must be https:// with a host, without user or query, got 'http://"),
        ({"url": "https://"}, "got 'https://'"),
        ({"url": "https://user:word@example.com"}, "without user or query"),
        ({"url": None}, "got None"),
        ({"url": _URL, "namespace": "two words"}, "1 to 100 characters without spaces, got 'two words'"),
        ({"url": _URL, "api_key_secret_arn": "lineage"}, "the full ARN of a secret"),
        ({"url": _URL, "kms_key_arn": _KEY}, "kms_key_arn needs api_key_secret_arn"),
        ({"url": _URL, "api_key_secret_arn": _SECRET, "kms_key_arn": "alias/x"}, "must be the ARN of a KMS key"),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_allowed(values: dict[str, Any], words: str) -> None:
    """In one sentence, before anything is synthesized."""
    with pytest.raises(SettingsError, match=words):
        OpenLineage(**values)


def test_the_runner_takes_what_it_is_told() -> None:
    """The two sides agree on the names of the fields."""
    entry = OpenLineage(url=_URL, namespace="warehouse", api_key_secret_arn=_SECRET).entry

    assert entry == {"url": _URL, "namespace": "warehouse", "api_key_secret": _SECRET}
    Lineage(entry, environment="dev", project="shop")


def _synthesized(app: cdk.App, path: Path, lineage: OpenLineage | None) -> Template:
    settings = environment(path, projects=(project(path, lineage=lineage),))
    return Template.from_stack(DbtPlatform(app, settings=settings).project_stacks["tiny"])


def test_the_task_may_read_the_key_and_no_other_secret(app: cdk.App, tiny_project: Path) -> None:
    """And decrypt it, if it has a key of one's own."""
    lineage = OpenLineage(url=_URL, api_key_secret_arn=_SECRET, kms_key_arn=_KEY)
    resources = _synthesized(app, tiny_project, lineage).to_json()["Resources"]
    granted = [(statement["Action"], statement["Resource"]) for statement in statements_of(resources)]

    assert ("secretsmanager:GetSecretValue", _SECRET) in granted
    assert ("kms:Decrypt", _KEY) in granted


def test_without_lineage_nothing_of_it_is_deployed(app: cdk.App, tiny_project: Path) -> None:
    """Neither in the task's settings nor in its role."""
    template = _synthesized(app, tiny_project, None).to_json()

    assert "lineage" not in str(template)
    assert "secretsmanager" not in str(template)
