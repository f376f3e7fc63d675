"""Whom Airflow tells how the runs of a project end."""

import re
from dataclasses import dataclass

from constructs_lib.settings_error import SettingsError

_TOPIC_ARN = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SlackChannel:
    """
    A channel of Slack, such as "#data", that a bot's token may write to.

    The token is in the Airflow connection `connection_id` (type Slack API), never in settings or files; Airflow needs the package
    apache-airflow-providers-slack.
    """

    connection_id: str
    channel: str

    def __post_init__(self) -> None:
        """Refuse what cannot name a connection or a channel."""
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", self.connection_id):
            raise SettingsError(
                f"connection_id must be the id of an Airflow connection, got {self.connection_id!r}; the token goes into the connection"
            )
        if not re.fullmatch(r"#[^\s#]{1,80}|[CG][A-Z0-9]{8,20}", self.channel):
            raise SettingsError(f"channel must be a channel's name such as '#data', or its id, got {self.channel!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SnsTopic:
    """
    A topic of SNS; Airflow publishes under the project's launch role, which gets the permission.

    `topic_arn`: a topic of another account must allow the launch role. Default: the environment's own alert topic.
    """

    topic_arn: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no topic's ARN."""
        if self.topic_arn is not None and not _TOPIC_ARN.fullmatch(self.topic_arn):
            raise SettingsError(
                "topic_arn must be the ARN of an SNS topic such as 'arn:aws:sns:eu-west-1:111111111111:alerts', "
                f"got {self.topic_arn!r}"
            )


Recipient = SlackChannel | SnsTopic


def dag_entry(recipient: Recipient, *, alert_topic_arn: str) -> dict[str, str]:
    """The recipient as the DAG's deployment file names it."""
    match recipient:
        case SlackChannel():
            return {"kind": "slack", "connection_id": recipient.connection_id, "channel": recipient.channel}
        case SnsTopic():
            return {"kind": "sns", "topic_arn": recipient.topic_arn or alert_topic_arn}
