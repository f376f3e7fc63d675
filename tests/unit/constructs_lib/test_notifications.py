"""Whom Airflow tells how runs end."""

import pytest

from constructs_lib.notifications import SlackChannel, SnsTopic
from constructs_lib.settings_error import SettingsError


@pytest.mark.parametrize("channel", ["data", "# data", "#", "https://hooks.slack.com/services/T0/B0/x"])
def test_rejects_what_is_no_channel(channel: str) -> None:
    """A webhook's address is a secret and has no place in settings."""
    with pytest.raises(SettingsError, match="channel must be a channel's name such as '#data'"):
        SlackChannel(connection_id="team_slack", channel=channel)


def test_rejects_a_token_in_place_of_a_connection() -> None:
    """Tokens are in Airflow's connection and nowhere else."""
    with pytest.raises(SettingsError, match="the token goes into the connection"):
        SlackChannel(connection_id="slack://:xoxb-1@", channel="#data")


@pytest.mark.parametrize("topic_arn", ["alerts", "arn:aws:sqs:eu-west-1:111111111111:alerts", ""])
def test_rejects_what_is_no_topic(topic_arn: str) -> None:
    """A typing error shows before anything is deployed."""
    with pytest.raises(SettingsError, match="topic_arn must be the ARN of an SNS topic"):
        SnsTopic(topic_arn=topic_arn)
