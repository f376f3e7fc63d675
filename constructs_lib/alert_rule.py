"""A rule that turns an event of AWS into a sentence to people."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import aws_events as events
from constructs import Construct


def alert_rule(
    scope: Construct,
    rule_id: str,
    *,
    description: str,
    source: Sequence[str],
    detail_type: Sequence[str],
    detail: Mapping[str, Any],
    message: str,
    values: Mapping[str, str],
    what_to_do: str,
    topic_arn: str,
    dead_letters_arn: str,
) -> events.CfnRule:
    """
    Define a rule that publishes `message` to a topic for each event that the other values describe.

    `<name>` in the message stands for what lies in the event at the JSON path that `values` gives for the name.
    `what_to_do`: the address of a section of the runbook, with which the text ends. The topic's own policy must let EventBridge
    publish. What cannot be published within a day is kept in the queue `dead_letters_arn`, whose policy must let EventBridge send.
    """
    # The L2 construct takes eight calls of CDK's Node process to say the same, and would write into the policy of a topic.
    text = json.dumps(f"{message} What to do: {what_to_do}", ensure_ascii=False)
    return events.CfnRule(
        scope,
        rule_id,
        description=description,
        event_pattern={"source": list(source), "detail-type": list(detail_type), "detail": detail},
        state="ENABLED",
        targets=[
            events.CfnRule.TargetProperty(
                id="Topic",
                arn=topic_arn,
                input_transformer=events.CfnRule.InputTransformerProperty(
                    input_paths_map=dict(values), input_template=text
                ),
                dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=dead_letters_arn),
            )
        ],
    )
