"""EventBridge and Scheduler start tasks, and tasks tell of their end."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from local_cloud.emulator.patches import fargate
from local_cloud.emulator.patches.iam import role_allows
from local_cloud.emulator.patches.stock import Json, ecs, eventbridge, kms, replace, resource_lock, responses, sns, sqs

_log = logging.getLogger(__name__)

Mark = Callable[[str, Json], bool]


def apply() -> None:
    """Apply the patches of this module."""
    _start_tasks_as_targets()
    _tell_of_task_states()
    _deliver_as_the_schedules_role()
    _publish_as_eventbridge_may()


def _start_tasks_as_targets() -> None:
    """The stock emulator logs "unsupported target type" for a rule or schedule whose target is an ECS cluster."""

    def invoke(stock: Callable[..., None]) -> Callable[..., None]:
        def invoke_target(target: Json, event: Json, rule: Json, view: object = None) -> None:
            parameters = target.get("EcsParameters") or target.get("ecsParameters")
            if parameters and ":ecs:" in target.get("Arn", ""):
                _run_task(target, _in_api_spelling(parameters), rule)
            else:
                stock(target, event, rule, view)

        return invoke_target

    replace(eventbridge, "_invoke_target", "target", "event", "rule", "view", by=invoke)


def _run_task(target: Json, parameters: Json, rule: Json) -> None:
    definition = ecs._task_defs.get(ecs._resolve_td_key(parameters["taskDefinitionArn"]))
    if definition is None:
        _log.error("rule %s: no task definition %s", rule.get("Name"), parameters["taskDefinitionArn"])
        return
    role = target.get("RoleArn", "")
    needed = [("ecs:RunTask", definition["taskDefinitionArn"], {"ecs:cluster": target["Arn"]})]
    passed = filter(None, (definition.get("taskRoleArn"), definition.get("executionRoleArn")))
    needed += [("iam:PassRole", role_arn, {"iam:PassedToService": "ecs-tasks.amazonaws.com"}) for role_arn in passed]
    for action, resource, context in needed:
        if not role or not role_allows(role, action, resource, session="events", context=context):
            _log.error("rule %s: %s may not %s on %s, no task started", rule.get("Name"), role, action, resource)
            return
    request = {
        "cluster": target["Arn"],
        "taskDefinition": parameters["taskDefinitionArn"],
        "launchType": parameters.get("launchType", "FARGATE"),
        "count": parameters.get("taskCount", 1),
        "networkConfiguration": _network_configuration(parameters),
        "startedBy": f"events-rule/{rule.get('Name', '')}"[:36],
        "overrides": json.loads(target.get("Input") or "{}"),
    }
    status, _, body = ecs._run_task(request)
    _log.info("rule %s: RunTask answered %s %s", rule.get("Name"), status, body)


def _network_configuration(parameters: Json) -> Json:
    # AwsVpcConfiguration in a rule, AwsvpcConfiguration in a schedule, awsvpcConfiguration in ECS itself.
    given = parameters.get("networkConfiguration", {})
    spelled = {key.lower(): value for key, value in given.items()}
    return {"awsvpcConfiguration": spelled.get("awsvpcconfiguration")}


def _deliver_as_the_schedules_role() -> None:
    """
    Scheduler fills in what its placeholders stand for, acts as the schedule's role, and keeps what it may not deliver.

    The stock emulator sends the placeholders as they are, asks no role, and knows no dead-letter queue.
    """

    def invoke(stock: Callable[..., None]) -> Callable[..., None]:
        def invoke_target(target: Json, event: Json, rule: Json, view: object = None) -> None:
            action = _SCHEDULER_ACTIONS.get(target.get("Arn", "").split(":")[2] if target.get("Arn") else "")
            if event.get("Source") != "aws.scheduler" or action is None:
                stock(target, event, rule, view)
                return
            filled = {**target, "Input": _filled(target.get("Input") or "{}", event, rule)}
            if role_allows(target["RoleArn"], action, target["Arn"], session="scheduler"):
                stock(filled, event, rule, view)
                return
            _log.error("schedule %s: %s may not %s on %s", rule.get("Name"), target["RoleArn"], action, target["Arn"])
            dead_letters = (target.get("DeadLetterConfig") or {}).get("Arn")
            if dead_letters and role_allows(target["RoleArn"], "sqs:SendMessage", dead_letters, session="scheduler"):
                stock({"Arn": dead_letters, "Input": filled["Input"]}, event, rule, view)

        return invoke_target

    replace(eventbridge, "_invoke_target", "target", "event", "rule", "view", by=invoke)


_SCHEDULER_ACTIONS = {"lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage"}


def _publish_as_eventbridge_may() -> None:
    """
    A rule publishes to a topic if the policy of the topic, and of its key, lets EventBridge without a condition.

    EventBridge says nothing of itself that a condition could hold: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-sns-permissions
    and https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html. What it may not publish goes to the target's dead-letter
    queue, at once and not after a day, if the queue's policy lets it. The stock emulator asks no policy and knows no such queue.
    """

    def invoke(stock: Callable[..., None]) -> Callable[..., None]:
        def invoke_target(target: Json, event: Json, rule: Json, view: object = None) -> None:
            refused = list(_refusals_to_publish(target.get("Arn", "")))
            if not refused:
                stock(target, event, rule, view)
                return
            _log.error("EventBridge may not publish to %s by %s", target["Arn"], " and ".join(refused))
            dead_letters = (target.get("DeadLetterConfig") or {}).get("Arn")
            if dead_letters and sqs.queue_policy_allows(
                dead_letters, "events.amazonaws.com", rule["Arn"], responses.get_account_id()
            ):
                stock({"Arn": dead_letters}, event, rule, view)

        return invoke_target

    replace(eventbridge, "_invoke_target", "target", "event", "rule", "view", by=invoke)


def _refusals_to_publish(arn: str) -> Iterator[str]:
    topic = sns._topics.get(arn)
    if topic is None:
        return
    if not lets_eventbridge(topic["attributes"].get("Policy"), "sns:Publish"):
        yield "the topic's policy"
    if key_id := topic["attributes"].get("KmsMasterKeyId"):
        key = kms._keys.get(key_id.rpartition("/")[2]) or {}
        if not lets_eventbridge(key.get("Policy"), "kms:GenerateDataKey"):
            yield "the policy of the topic's key"


def lets_eventbridge(policy: str | None, action: str) -> bool:
    """Whether a resource's policy lets EventBridge do `action`."""
    statements = json.loads(policy or "{}").get("Statement", [])
    for statement in [statements] if isinstance(statements, dict) else statements:
        principal = statement.get("Principal")
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        actions = statement.get("Action", [])
        if (
            statement["Effect"] == "Allow"
            and not statement.get("Condition")
            and "events.amazonaws.com" in ([services] if isinstance(services, str) else services)
            and any(fnmatchcase(action, pattern) for pattern in ([actions] if isinstance(actions, str) else actions))
        ):
            return True
    return False


def _filled(text: str, event: Json, schedule: Json) -> str:
    """https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html"""
    scheduled_at = datetime.fromtimestamp(event["Time"], tz=UTC)
    if schedule.get("ScheduleExpression", "").startswith("cron("):
        scheduled_at = scheduled_at.replace(second=0)
    values = {
        "schedule-arn": schedule.get("Arn", ""),
        "scheduled-time": f"{scheduled_at:%Y-%m-%dT%H:%M:%SZ}",
        "execution-id": event["EventId"],
        "attempt-number": "1",
    }
    for name, value in values.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


def _tell_of_task_states() -> None:
    """ECS sends an event on every change of a task's state; the stock emulator sends none."""

    def mark(stock: Mark) -> Mark:
        def mark_and_tell(task_arn: str, task: Json) -> bool:
            marked = stock(task_arn, task)
            if marked:
                _tell(task)
            return marked

        return mark_and_tell

    for name in ("_mark_task_pending", "_mark_task_running"):
        replace(ecs, name, "task_arn", "task", by=mark)
    fargate.stopped_listeners.append(_tell)


def _tell(task: Json) -> None:
    with resource_lock("ecs-task", task["taskArn"]):
        detail = json.dumps(ecs._sanitize(task), default=str)
    tell("aws.ecs", "ECS Task State Change", detail, task["taskArn"])


def tell(source: str, detail_type: str, detail: str, resource_arn: str) -> None:
    """Put an event of one of AWS's services on the default bus; `detail` is JSON."""
    eventbridge._dispatch_event(
        {
            "EventId": responses.new_uuid(),
            "Source": source,
            "DetailType": detail_type,
            "Detail": detail,
            "Time": time.time(),
            "Resources": [resource_arn],
            "Account": responses.get_account_id(),
            "Region": responses.get_region(),
            "EventBusName": "default",
        }
    )


def _in_api_spelling(value: Any) -> Any:  # noqa: ANN401 -- any value of a rule's target
    if isinstance(value, list):
        return [_in_api_spelling(item) for item in value]
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: _in_api_spelling(item) for key, item in value.items()}
    return value
