"""A rule that turns an event of AWS into a sentence to people."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns
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
    what_to_do: str,
    topic: sns.ITopic,
) -> events.Rule:
    """
    Define a rule that publishes `message` to `topic` for each event that the other values describe.

    `what_to_do`: the address of a section of the runbook, with which the text ends. The topic's own policy must let EventBridge
    publish.
    """
    text = f"{message} What to do: {what_to_do}"
    return events.Rule(
        scope,
        rule_id,
        description=description,
        event_pattern=events.EventPattern(source=list(source), detail_type=list(detail_type), detail=detail),
        targets=[targets.SnsTopic(topic, message=events.RuleTargetInput.from_text(text))],
    )
