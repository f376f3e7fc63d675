"""Tells people how a run ended: when it is red, when it is green again, and when sources are stale."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import aws, compat, notice, task_ids
from .compat import BaseNotifier, Context
from .deployment import Deployment

# SNS takes 100 characters of printable ASCII.
_SUBJECT_CHARACTERS = 100
_SLACK_TIMEOUT_SECONDS = 10
_TASKS_AT_MOST = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """One notification; all but `subject` and `links` may hold texts of the database."""

    subject: str
    parts: tuple[tuple[str, str], ...]
    links: Mapping[str, str]

    def as_text(self) -> str:
        """Plain text, for SNS: mail, SMS, chat."""
        lines: list[str] = []
        for head, body in self.parts:
            lines += [head, *(f"    {line}" for line in body.splitlines())]
        return "\n".join([*lines, "", *(f"{name}: {address}" for name, address in self.links.items())])

    def as_mrkdwn(self) -> str:
        """Slack's mark-up; what the database says can neither call people nor leave its frame."""
        lines = [f"*{_escaped(self.subject)}*"]
        for head, body in self.parts:
            lines.append(_escaped(head))
            if body:
                lines.append(f"```{_escaped(body)}```")
        return "\n".join([*lines, " · ".join(f"<{address}|{name}>" for name, address in self.links.items())])


def _escaped(text: str) -> str:
    # https://docs.slack.dev/messaging/formatting-message-text: these three are all that Slack asks for; the last ends a frame of code.
    for character, replacement in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("```", "'''")):
        text = text.replace(character, replacement)
    return text


class RunNotifier(BaseNotifier):
    """
    Tells the recipients of a deployment how a DAG run ended; a DAG's callback, so Airflow's DAG processor runs it and no worker does.

    A run that is red is always told. A green one is told if a red one was told before it, which an Airflow variable
    `<DAG id>.failed` remembers until then, or if sources are stale.
    """

    def __init__(self, *, deployment: Deployment, is_green: bool) -> None:
        super().__init__()
        self._deployment = deployment
        self._is_green = is_green

    def notify(self, context: Context) -> None:
        """Send what there is to tell; a recipient that cannot be reached does not keep it from the others."""
        run_id = context["run_id"]
        told = compat.xcom(dag_id=self._deployment.dag_id, run_id=run_id, task_id=task_ids.RUN, key=notice.XCOM_KEY)
        # What a trigger leaves comes back from Airflow 3.3 as JSON text, what a worker leaves as it was.
        left = json.loads(told) if isinstance(told, str) else told
        found: dict[str, Any] = left if isinstance(left, dict) else notice.of_failure("", {})
        memory = f"{self._deployment.dag_id}.failed"
        failed_run = compat.variable(memory)
        if not self._is_green:
            compat.set_variable(memory, run_id)
            state = "run failed"
        elif failed_run is not None:
            compat.delete_variable(memory)
            state = "green again"
        elif found["stale"]:
            state = "sources are stale"
        else:
            return
        message = self._message(state, run_id, found)
        for recipient in self._deployment.notify:
            try:
                _SENDERS[recipient["kind"]](message, recipient, self._deployment)
            except Exception:  # noqa: BLE001 -- whatever it was, the others shall hear
                _log.exception("could not tell %s that %s", recipient, message.subject)

    def _message(self, state: str, run_id: str, found: Mapping[str, Any]) -> Message:
        deployment = self._deployment
        default = "all that was asked for is built" if self._is_green else "see the tasks of the run in Airflow"
        parts = [(found["headline"] or default, found.get("details", ""))]
        if not (self._is_green or found["failed"] or found.get("details")):
            parts.append((self._failed_tasks(run_id), ""))
        parts += _entries("", found["failed"])
        if found["more_failed"]:
            parts.append((f"… and {found['more_failed']} more; the report names all", ""))
        parts += _entries("stale source: ", found["stale"])
        run_url = compat.run_url(deployment.dag_id, run_id)
        links = ({"Airflow run": run_url} if run_url else {}) | found["links"]
        subject = f"dbt {deployment.project} ({deployment.environment}): {state}"
        return Message(subject, tuple(parts), links)

    def _failed_tasks(self, run_id: str) -> str:
        states = compat.task_states(dag_id=self._deployment.dag_id, run_id=run_id)
        failed = sorted(task_id for task_id, state in states.items() if state == "failed")
        return f"failed in Airflow: {', '.join(failed[:_TASKS_AT_MOST]) or 'no task; the run timed out or was set by hand'}"


def _entries(prefix: str, entries: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    return [(f"{prefix}{entry['unique_id']} ({entry['status']})", entry["message"]) for entry in entries]


def _send_to_slack(message: Message, recipient: Mapping[str, str], deployment: Deployment) -> None:  # noqa: ARG001 -- as all senders
    try:
        from airflow.providers.slack.notifications.slack import SlackNotifier  # noqa: PLC0415 -- not every Airflow has it
    except ImportError as error:
        raise RuntimeError("install apache-airflow-providers-slack where Airflow's DAG processor runs") from error
    notifier = SlackNotifier(
        slack_conn_id=recipient["connection_id"],
        channel=recipient["channel"],
        text=message.as_mrkdwn(),
        username="dbt",
        timeout=_SLACK_TIMEOUT_SECONDS,
        unfurl_links=False,
        unfurl_media=False,
    )
    # Not as a callback: that would take the database's words for a template.
    notifier.notify({})  # type: ignore[no-untyped-call]  # the provider's


def _send_to_sns(message: Message, recipient: Mapping[str, str], deployment: Deployment) -> None:
    topic_arn = recipient["topic_arn"]
    client = aws.client("sns", deployment.launch_role_arn, topic_arn.split(":")[3])
    subject = message.subject[:_SUBJECT_CHARACTERS]
    client.publish(TopicArn=topic_arn, Subject=subject, Message=message.as_text())


_SENDERS: Mapping[str, Callable[[Message, Mapping[str, str], Deployment], None]] = {
    "slack": _send_to_slack,
    "sns": _send_to_sns,
}
