"""JSON inside of a template's strings."""

import json


def json_text(value: object) -> str:
    """
    `value` as JSON, in which strings may hold what CDK fills in.

    That must be names and ARNs: what stands for it now is put between the quotes as it is. Stack.to_json_string() would escape it,
    in a call of CDK's Node process.
    """
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
