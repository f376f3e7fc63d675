"""Authorization: what is checked, on which resource, and a record of every decision."""

import contextvars
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from local_cloud.emulator.patches.stock import Json, app, ecs, iam, iam_actions, iam_evaluator, replace, responses

_KEY_VALUE_STORE = re.compile(r"/key-value-stores/(arn:[^/]+/[^/]+)")
_LOG_FILE_VARIABLE = "LOCAL_CLOUD_IAM_LOG"
# How the checks that one request needs beyond its first travel from where its body is known to where it is decided.
_FURTHER_CHECKS = "local-cloud:further-checks"
_FurtherCheck = tuple[str, str, Mapping[str, str]]

_log_lock = threading.Lock()


def apply() -> None:
    """Apply the patches of this module."""
    _record_decisions()
    _count_loopback_as_tls()
    _authorize_on_the_right_resources()
    _know_the_condition_keys_of_ecs()
    _let_a_trust_policy_grant_alone()


def role_trusts(role_arn: str, service: str) -> bool:
    """Whether there is such a role and the service of this name (`ecs-tasks.amazonaws.com`) may assume it."""
    account, name = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
    role = iam._roles.get_scoped(account, None, name)
    if role is None:
        return False
    trust = json.loads(role["AssumeRolePolicyDocument"])
    # What ECS says about itself when it assumes the role of a task.
    context = iam_evaluator.EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account=account,
        action="sts:AssumeRole",
        resource_arn=role_arn,
        region=responses.get_region(),
        service_context={
            "aws:sourceaccount": account,
            "aws:sourcearn": f"arn:aws:ecs:{responses.get_region()}:{account}:*",
        },
    )
    return any(
        service in _as_list(statement.get("Principal", {}).get("Service"))
        and iam_evaluator._conditions_met(statement.get("Condition", {}), context)
        for statement in _as_list(trust["Statement"])
        if statement["Effect"] == "Allow" and isinstance(statement.get("Principal"), dict)
    )


def role_allows(
    role_arn: str, action: str, resource: str, *, session: str, context: Mapping[str, str] | None = None
) -> bool:
    """Whether the role's policies and its boundary allow a service to do `action` as that role; the decision is recorded."""
    account, role = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
    principal = f"arn:aws:sts::{account}:assumed-role/{role}/{session}"
    question = iam_evaluator.EvalContext(
        principal_arn=principal,
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=responses.get_region(),
        service_context={key.lower(): value for key, value in (context or {}).items()},
    )
    policies = iam_evaluator._gather_role_policies(role, account)
    limits = iam_evaluator._permissions_boundary(iam._roles, role, account)
    decision = iam_evaluator.evaluate(question, policies, *limits).decision
    record_decision(principal, action, resource, decision)
    return bool(decision == "Allow")


def caller_may(action: str, resource: str, context: Mapping[str, str]) -> bool:
    """Whether the caller of the request that is being served may also do `action`; the decision is recorded."""
    access_key_id = iam_evaluator._verified_key.get()
    if not access_key_id:
        # The account's root user, or the emulator itself on behalf of a service.
        return True
    service = action.partition(":")[0]
    denied = iam_evaluator.enforce(access_key_id, action, service, responses.get_region(), resource, dict(context))
    return denied is None


def caller_access_key_id() -> str:
    """The access key of the request that is being served; empty for the account's root user."""
    return iam_evaluator._verified_key.get() or ""


def key_allows(access_key_id: str, action: str, resource: str) -> bool:
    """Whether who signed with this key before may do `action` now, in a request that is not signed; the decision is recorded."""
    principal = iam_evaluator.resolve_principal(access_key_id, responses.get_account_id())
    if getattr(principal, "policies", None) is None:
        # Nobody that is known, or the account's root user.
        return not hasattr(principal, "code")
    question = iam_evaluator.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=action,
        resource_arn=resource,
        region=responses.get_region(),
        service_context={},
        principal_keys=principal.keys,
    )
    decision = iam_evaluator.evaluate(question, principal.policies, *principal.limits).decision
    record_decision(principal.arn, action, resource, decision)
    return bool(decision == "Allow")


def record_decision(principal: str, action: str, resource: str, decision: str) -> None:
    """Append one decision to the log of this emulator."""
    line = {
        "t": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "principal": principal,
        "action": action,
        "resource": resource,
        "decision": decision,
    }
    with _log_lock, Path(os.environ[_LOG_FILE_VARIABLE]).open("a") as log:
        log.write(json.dumps(line) + "\n")


def _record_decisions() -> None:
    """Nothing tells what was asked and granted; least privilege can be measured only from a log of every decision."""

    def enforce(stock: Callable[..., Any]) -> Callable[..., Any]:
        def enforce_and_record(  # noqa: PLR0917 -- the emulator's own signature
            access_key_id: str,
            iam_action: str,
            service: str,
            region: str,
            resource_arn: str = "*",
            service_context: Json | None = None,
        ) -> Any:  # noqa: ANN401 -- None, or one of two classes of the emulator
            context = dict(service_context or {})
            further: list[_FurtherCheck] = context.pop(_FURTHER_CHECKS, [])
            caller = iam_evaluator.resolve_principal(access_key_id or "", responses.get_account_id())
            principal = getattr(caller, "arn", "unknown")
            checks = [(iam_action, resource_arn, context), *((a, r, {**context, **c}) for a, r, c in further)]
            for action, resource, keys in checks:
                denied = stock(access_key_id, action, service, region, resource, keys)
                decision = "Allow" if denied is None else str(getattr(denied, "decision", None) or denied.code)
                record_decision(principal, action, resource, decision)
                if denied is not None:
                    return denied
            return None

        return enforce_and_record

    replace(
        iam_evaluator,
        "enforce",
        *("access_key_id", "iam_action", "service", "region", "resource_arn", "service_context"),
        by=enforce,
    )


def _count_loopback_as_tls() -> None:
    """Plain http on loopback counts as TLS for aws:SecureTransport, which every well-kept resource policy demands."""

    def origin(stock: Callable[[str, bool], None]) -> Callable[[str, bool], None]:
        return lambda source_ip, _secure_transport: stock(source_ip, True)

    # What services deliver to each other has no request to take it from.
    iam_evaluator._request_origin = contextvars.ContextVar("local-cloud-request-origin", default=("127.0.0.1", True))
    replace(app, "pin_request_origin", "source_ip", "secure_transport", by=origin)


def _authorize_on_the_right_resources() -> None:
    """
    The stock emulator checks some actions on another resource than AWS does, so that a right policy is refused.

    The resources are those of the Service Authorization Reference, and for log groups those of AWS's own denials.
    """

    def extract(stock: Callable[..., str]) -> Callable[..., str]:
        def extract_resource_arn(  # noqa: PLR0917 -- the emulator's own signature
            service: str,
            method: str,
            path: str,
            headers: dict[str, str],
            body: bytes,
            query_params: Json,
            region: str,
            account_id: str,
        ) -> str:
            if service == "cloudfront-keyvaluestore" and (store := _KEY_VALUE_STORE.match(unquote(path))):
                return store[1]
            action = headers.get("x-amz-target", "").rpartition(".")[2]
            resources = _resources(service, action, _json_body(body), f"arn:aws:{service}:{region}:{account_id}")
            return (
                resources[0]
                if resources
                else stock(service, method, path, headers, body, query_params, region, account_id)
            )

        return extract_resource_arn

    replace(
        iam_actions,
        "extract_resource_arn",
        *("service", "method", "path", "headers", "body", "query_params", "region", "account_id"),
        by=extract,
    )


def _resources(service: str, action: str, data: Json, prefix: str) -> list[str]:
    """The resources that an action is authorized on; empty where the stock emulator knows them itself."""
    if service == "ecs":
        return list(_ecs_resources(action, data, prefix))
    if service == "ecr" and data.get("repositoryNames"):
        return [f"{prefix}:repository/{name}" for name in data["repositoryNames"]]
    if service == "glue" and action in {"GetConnection", "CreateConnection", "UpdateConnection", "DeleteConnection"}:
        name = data.get("Name") or data.get("ConnectionName") or data.get("ConnectionInput", {}).get("Name")
        return [f"{prefix}:catalog", f"{prefix}:connection/{name}"]
    if service == "ssm" and action == "GetParametersByPath" and data.get("Path"):
        return [f"{prefix}:parameter/{data['Path'].strip('/')}"]
    if service == "logs" and data.get("logGroupName") and action not in {"CreateLogGroup", "DeleteLogGroup"}:
        return [f"{prefix}:log-group:{data['logGroupName']}:log-stream:{data.get('logStreamName', '')}"]
    return []


def _ecs_resources(action: str, data: Json, prefix: str) -> Iterator[str]:
    cluster = _cluster_name(data)
    if action == "RunTask":
        reference = data.get("taskDefinition", "")
        known = ecs._task_defs.get(ecs._resolve_td_key(reference)) or {}
        yield known.get("taskDefinitionArn") or (
            reference if reference.startswith("arn:") else f"{prefix}:task-definition/{reference}"
        )
    elif action in {"StopTask", "DescribeTasks", "ExecuteCommand"}:
        for task in [data["task"]] if "task" in data else data.get("tasks", []):
            yield task if task.startswith("arn:") else f"{prefix}:task/{cluster}/{task}"
    elif action == "ListTasks":
        yield f"{prefix}:container-instance/{cluster}/*"
    elif action in {"TagResource", "UntagResource", "ListTagsForResource"}:
        yield data.get("resourceArn", "*")
    elif action.endswith(("TaskDefinition", "TaskDefinitions", "TaskDefinitionFamilies")):
        # None of them has resource-level permissions.
        yield "*"


def _know_the_condition_keys_of_ecs() -> None:
    """
    `ecs:cluster` is what keeps a launch role to its own cluster, and tags at RunTask need ecs:TagResource on top. A task's own tags
    say who may stop it.

    One request may also name several resources, which all must be allowed.
    """

    def context(stock: Callable[..., Json]) -> Callable[..., Json]:
        def request_context(service: str, iam_action: str, body: bytes, params: Json) -> Json:
            keys = dict(stock(service, iam_action, body, params))
            if service not in {"ecs", "ecr", "glue"}:
                return keys
            data, action = _json_body(body), iam_action.partition(":")[2]
            prefix = f"arn:aws:{service}:{responses.get_region()}:{responses.get_account_id()}"
            further: list[_FurtherCheck] = [
                (iam_action, resource, {}) for resource in _resources(service, action, data, prefix)[1:]
            ]
            if service == "ecs":
                keys["ecs:cluster"] = f"{prefix}:cluster/{_cluster_name(data)}"
                if action == "StopTask":
                    (task,) = _ecs_resources(action, data, prefix)
                    keys |= {f"aws:ResourceTag/{tag['key']}".lower(): tag["value"] for tag in ecs._tags.get(task, [])}
                if action == "RunTask" and data.get("tags"):
                    tagged = f"{prefix}:task/{_cluster_name(data)}/*"
                    further.append(("ecs:TagResource", tagged, {"ecs:CreateAction": "RunTask"}))
            return {**keys, _FURTHER_CHECKS: further} if further else keys

        return request_context

    replace(iam_actions, "request_tag_context", "service", "iam_action", "body", "params", by=context)


def _let_a_trust_policy_grant_alone() -> None:
    """
    Within one account a trust policy that names the caller is enough to assume a role, as for any resource-based policy.

    The stock emulator wants a policy of the caller for it in any case.
    """

    def resource_policy(stock: Callable[[str, str], Any]) -> Callable[[str, str], Any]:
        def policy_and_owner(service: str, resource_arn: str) -> Any:  # noqa: ANN401 -- None, or a pair
            if service != "sts" or ":role/" not in resource_arn:
                return stock(service, resource_arn)
            account, name = resource_arn.split(":")[4], resource_arn.rsplit("/", 1)[-1]
            role = iam._roles.get_scoped(account, None, name)
            if role is None:
                return None
            trust = json.loads(role["AssumeRolePolicyDocument"])
            # A trust policy leaves out the resource, which is the role that it belongs to.
            statements = [{**statement, "Resource": resource_arn} for statement in _as_list(trust["Statement"])]
            return {**trust, "Statement": statements}, account

        return policy_and_owner

    replace(iam_evaluator, "_resource_policy", "service", "resource_arn", by=resource_policy)


def _as_list(value: Any) -> list[Any]:  # noqa: ANN401 -- policies write one value with or without a list
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _cluster_name(data: Json) -> str:
    return str(data.get("cluster") or "default").rpartition("/")[2]


def _json_body(body: bytes) -> Json:
    try:
        data = json.loads(body or b"{}")
    except ValueError:
        # Not a service of the JSON protocol.
        return {}
    return data if isinstance(data, dict) else {}
