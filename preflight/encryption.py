"""The KMS key that is there already, where the settings name one."""

import json
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from preflight.findings import Clients, Findings, NotAllowedError, NotThereError, ask, fine, unknown, wrong
from stacks.settings import Environment, ExistingKey

Statement = dict[str, Any]
_PUBLISHES = ("kms:Decrypt", "kms:GenerateDataKey")
_OF_ROLES = ("kms:Decrypt", "kms:GenerateDataKey")


def check_encryption_key(clients: Clients, environment: Environment) -> Findings:
    """Whether the key can be used, and whether its policy lets AWS's services and the account's roles use it."""
    key = environment.encryption_key
    if not isinstance(key, ExistingKey):
        return
    try:
        found = ask(lambda: clients("kms").describe_key(KeyId=key.arn), "NotFoundException")["KeyMetadata"]
    except NotThereError:
        yield wrong(f"encryption_key names {key.arn}, which does not exist: make it, or correct the setting")
        return
    except NotAllowedError as error:
        yield unknown(f"the key {key.arn}: {error}; whoever administers it can tell")
        return
    problem = _problem(found)
    if problem:
        yield wrong(f"key {key.arn} {problem}")
        return
    yield fine(f"the key {key.arn} is enabled and encrypts")
    yield from _check_policy(clients, environment, key)


def _problem(key: dict[str, Any]) -> str | None:
    state, usage = key["KeyState"], key.get("KeyUsage", "ENCRYPT_DECRYPT")
    spec = key.get("KeySpec", "SYMMETRIC_DEFAULT")
    if state != "Enabled":
        return f"is in state {state}, Enabled is needed: enable it, or cancel its deletion"
    if usage != "ENCRYPT_DECRYPT" or spec != "SYMMETRIC_DEFAULT":
        return f"is for {usage} with {spec}: name a symmetric key that encrypts"
    return None


def _check_policy(clients: Clients, environment: Environment, key: ExistingKey) -> Findings:
    owner = key.arn.split(":")[4]
    try:
        answer = ask(lambda: clients("kms").get_key_policy(KeyId=key.arn, PolicyName="default"))
    except NotAllowedError as error:
        yield unknown(
            f"the policy of key {key.arn}: {error}; whoever administers it can compare it with docs/settings.md"
        )
        return
    statements = _allowing(json.loads(answer["Policy"]))
    missing = [
        f"{service} ({', '.join(actions)})"
        for service, actions in _services(environment).items()
        if not _allows(statements, "Service", (service,), actions)
    ]
    if not _allows(statements, "AWS", _names_of_account(environment.account), _OF_ROLES):
        missing.append(f"roles of account {environment.account} ({', '.join(_OF_ROLES)})")
    if missing:
        yield wrong(
            f"the policy of key {key.arn} does not let {' and '.join(missing)} use it: add the statements of docs/settings.md"
        )
    else:
        whose = "" if owner == environment.account else f", the key of account {owner},"
        yield fine(
            f"the policy of the key{whose} names every service that has to use it; its conditions were not looked at"
        )


def _services(environment: Environment) -> dict[str, Sequence[str]]:
    """What docs/settings.md says of the policy, and docs/hosting.md."""
    needed: dict[str, Sequence[str]] = {
        f"logs.{environment.region}.amazonaws.com": ("kms:Encrypt", *_PUBLISHES, "kms:DescribeKey"),
        "cloudwatch.amazonaws.com": _PUBLISHES,
        "events.amazonaws.com": _PUBLISHES,
    }
    if environment.pages is not None:
        needed["cloudfront.amazonaws.com"] = ("kms:Decrypt",)
    return needed


def _allowing(policy: dict[str, Any]) -> list[Statement]:
    return [statement for statement in _list(policy["Statement"]) if statement["Effect"] == "Allow"]


def _allows(statements: Sequence[Statement], kind: str, principals: Sequence[str], actions: Sequence[str]) -> bool:
    """Whether each of `actions` is allowed to one of `principals` by some statement."""
    patterns = [
        pattern
        for statement in statements
        if set(_principals(statement, kind)) & {*principals, "*"}
        for pattern in _list(statement.get("Action", []))
    ]
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html: case does not count.
    return all(any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns) for action in actions)


def _principals(statement: Statement, kind: str) -> Iterator[str]:
    principal = statement.get("Principal", {})
    if principal == "*":
        yield "*"
    elif isinstance(principal, dict):
        yield from _list(principal.get(kind, []))


def _names_of_account(account: str) -> list[str]:
    # https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html#key-policy-default-allow-root-enable-iam
    return [account, *(f"arn:{partition}:iam::{account}:root" for partition in ("aws", "aws-cn", "aws-us-gov"))]


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - IAM's own words have one or several
    return value if isinstance(value, list) else [value]
