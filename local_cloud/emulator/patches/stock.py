"""The parts of the stock emulator that the patches reach into, and the one way in which they do."""

import inspect
from collections.abc import Callable
from typing import Any

from docker import errors as docker_errors  # type: ignore[import-untyped]
from docker import from_env as docker_client
from ministack import app  # type: ignore[import-not-found]
from ministack.core import iam_actions, iam_evaluator, responses  # type: ignore[import-not-found]
from ministack.core.concurrency import resource_lock, spawn_background  # type: ignore[import-not-found]
from ministack.services import (  # type: ignore[import-not-found]
    cloudwatch,
    cloudwatch_logs,
    ecr,
    ecs,
    ecs_metadata,
    eventbridge,
    iam,
    imds,
    kms,
    lambda_svc,
    scheduler,
    secretsmanager,
    sns,
    sqs,
    sts,
)
from ministack.services.cloudformation import provisioners, stacks  # type: ignore[import-not-found]

__all__ = [
    "Json",
    "Response",
    "StockEmulatorChangedError",
    "app",
    "cloudwatch",
    "cloudwatch_logs",
    "docker_client",
    "docker_errors",
    "ecr",
    "ecs",
    "ecs_metadata",
    "eventbridge",
    "iam",
    "iam_actions",
    "iam_evaluator",
    "imds",
    "kms",
    "lambda_svc",
    "provisioners",
    "refusal",
    "replace",
    "resource_lock",
    "responses",
    "scheduler",
    "secretsmanager",
    "sns",
    "spawn_background",
    "sqs",
    "stacks",
    "sts",
]

Json = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]


class StockEmulatorChangedError(RuntimeError):
    """The emulator no longer has what a patch replaces: look whether the patch is still needed, and adapt it."""


def replace(owner: Any, name: str, *parameters: str, by: Callable[[Any], Any]) -> None:  # noqa: ANN401 -- modules and dicts of a package without types
    """
    Put `by(the stock function)` in the place of the function `name` of the module (or the dict) `owner`.

    Raises StockEmulatorChangedError unless the stock function is there and takes exactly `parameters`.
    """
    in_dict = isinstance(owner, dict)
    stock = owner.get(name) if in_dict else getattr(owner, name, None)
    where = name if in_dict else f"{owner.__name__}.{name}"
    if stock is None:
        raise StockEmulatorChangedError(f"the emulator has no {where} any more")
    found = tuple(inspect.signature(stock).parameters)
    if found != parameters:
        raise StockEmulatorChangedError(f"{where} takes {found} now, this patch was written for {parameters}")
    if in_dict:
        owner[name] = by(stock)
    else:
        setattr(owner, name, by(stock))


def refusal(code: str, message: str) -> Response:
    """The answer of a service of JSON that will not do what it was asked for."""
    answer: Response = responses.error_response_json(code, message, 400)
    return answer
