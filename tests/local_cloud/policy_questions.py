"""
Answers questions to IAM by the emulator's own evaluation of policies; run by the interpreter of the emulator's environment.

Standard input is JSON: the `policies` of callers by name, and `questions`, each with `caller`, `action`, `resource` and the
`context` that conditions are compared with. Standard output is the list of decisions.
"""

import json
import sys
from typing import Any

from ministack.core import iam_evaluator  # type: ignore[import-not-found]

from tests.local_cloud.emulators import ACCOUNT, REGION


def _decision(question: dict[str, Any], policies: list[Any]) -> str:
    context = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{question['caller']}/session",
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=question["action"],
        resource_arn=question["resource"],
        region=REGION,
        service_context={key.lower(): value for key, value in question["context"].items()},
    )
    return str(iam_evaluator.evaluate(context, policies).decision)


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    parsed = {
        caller: [iam_evaluator.parse_policy_document(policy) for policy in policies]
        for caller, policies in asked["policies"].items()
    }
    json.dump([_decision(question, parsed[question["caller"]]) for question in asked["questions"]], sys.stdout)
