"""Why a run failed, in words for someone who does not know AWS."""

import re
from collections.abc import Mapping
from typing import Any

from .containers import Container

# What AWS says (as a pattern, upper and lower case alike), what it means, what to do. The first match counts. The texts are those of
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html and the pages below it.
_STOPPED_REASONS: tuple[tuple[str, str, str], ...] = (
    (
        r"unable to assume the role|proper trust relationship",
        "ECS may not use a role of the task",
        "deploy the project again (`cdk deploy`), which restores the roles, and clear this task",
    ),
    (
        r"retrieve secret|secrets? manager|\bssm\b|GetParameters|json key",
        "a secret that ECS injects could not be read",
        "check that the secret exists, that the execution role may read it, and that the subnets reach Secrets Manager",
    ),
    (
        r"log ?group|log ?stream|logger args|logging driver|awslogs",
        "the log group could not be written",
        "check that the log group of the project exists (`cdk deploy` restores it) and that the subnets reach CloudWatch Logs",
    ),
    (
        r"insufficient ?free ?addresses|not enough free (ip )?addresses",
        "the subnets had no free address",
        "clear this task to try again; if it happens often, give the subnets more addresses",
    ),
    (
        r"network interface|\bENI\b",
        "no network interface could be made in the subnets",
        "clear this task to try again; if it stays so, check the subnets and security groups of the settings: were they deleted?",
    ),
    (
        r"toomanyrequests|pull rate limit|rate exceeded",
        "the registry was asked too often",
        "clear this task to try again in some minutes",
    ),
    (
        r"no space left|EPHEMERAL_STORAGE",
        "the disk of the container was full or could not be made",
        "clear this task to try again; if it happens often, make the image smaller",
    ),
    (
        r"exec format error|descriptor matching platform",
        "the image was built for another CPU architecture than the task runs on",
        "build and deploy with the CPU architecture of the project's settings",
    ),
    (
        r"CannotPull\w*Error.*(AccessDenied|access denied|not authorized|forbidden|\b403\b|role has the permissions)",
        "the container image may not be pulled",
        "check that the execution role of the task may read the registry; `cdk deploy` restores it",
    ),
    (
        r"CannotPull\w*Error.*(not found|does not exist|manifest unknown|no such image|\b404\b)",
        "the container image is not in the registry",
        "deploy the project again (`cdk deploy`), which pushes the image, and clear this task",
    ),
    (
        r"CannotPull\w*Error|registry auth|\bECR\b",
        "the container image could not be pulled, most often because the subnets have no way to the registry",
        "check that the subnets have a NAT gateway or VPC end points for ECR (api, dkr) and S3, and that HTTPS may go out",
    ),
    (
        r"OutOfMemory",
        "the container needed more memory than its task size has",
        "give the project a larger task size in its settings, or fewer threads, and deploy",
    ),
    (
        r"executable file not found|no such file or directory|permission denied|OCI runtime",
        "the program of the container could not be started: the image is broken",
        "deploy the project again with an unchanged Dockerfile; AWS's own words below name the file",
    ),
    (
        r"Cannot(Start|Create)Container|ContainerRuntime|DockerTimeout|DockerState|CannotInspectContainer|CannotDescribeContainer",
        "the container could not be started",
        "clear this task to try again; if it stays so, AWS's own words below name the cause, in the image or in the task definition",
    ),
    (
        r"SpotInterruption|Spot (Task|capacity|instance)",
        "AWS took the Spot capacity back",
        "nothing is broken; the next attempt continues where this one stopped",
    ),
    (
        r"maintenance|retire|TerminationNotice|Host EC2",
        "AWS took the machine of the container away",
        "nothing is broken; the next attempt continues where this one stopped",
    ),
    (
        r"capacity is unavailable|insufficient capacity",
        "AWS had no machine for the container",
        "clear this task later; more availability zones in the settings make this rarer",
    ),
    (
        r"ResourceInitializationError|internal error|InternalError|unexpected EC2 error",
        "AWS could not prepare the machine of the container",
        "clear this task to try again; AWS's own words below name the resource",
    ),
)


def stopped_container(container: Container) -> str:
    """Why a container ended that did not finish its record: one sentence, what to do, and AWS's own words."""
    words = "; ".join(filter(None, (container.stopped_reason, container.container_reason))) or "no reason given"
    meaning, advice = _meaning(container, words)
    return f"{meaning}\nwhat to do: {advice}\nAWS says: {words}"


def _meaning(container: Container, words: str) -> tuple[str, str]:
    # Whoever stops a container may say what he likes; that must not be taken for AWS's words.
    if container.stop_code == "UserInitiated":
        return (
            "someone stopped the container",
            "clear this task to build what was asked for; AWS's words below may say who and why",
        )
    context = f"{container.stop_code} {words}"
    for pattern, meaning, advice in _STOPPED_REASONS:
        if re.search(pattern, context, re.IGNORECASE | re.DOTALL):
            return meaning, advice
    if container.exit_code == 137:
        return (
            "the container was killed, most often because it needed more memory than its task size has",
            "look at the memory graph of the task; give the project a larger task size, or clear this task",
        )
    if container.exit_code is None:
        return "the container never started", "AWS's own words below name the cause; clear this task to retry"
    return (
        f"the container ended with exit code {container.exit_code} before its record was complete",
        "read the log of the container; Airflow's retry goes on where it stopped, and clearing this task builds all again",
    )


def refused_launch(message: str) -> str:
    """Why ECS did not start a container, with what to do."""
    lowered = message.lower()
    if "accessdenied" in lowered:
        advice = "the launch role lacks a permission that AWS names; `cdk deploy` restores the role"
    elif "clusternotfound" in lowered:
        advice = "the cluster is gone; deploy the environment again"
    elif "taskdefinition is inactive" in lowered or "unable to describe task definition" in lowered:
        advice = "this DAG is older than what is deployed; deploy the project again and wait for the new DAG file"
    elif "subnet" in lowered or "security group" in lowered:
        advice = "check the subnets and security groups of the environment's settings"
    elif "capacity" in lowered or "limit on the number" in lowered or "resource:" in lowered:
        advice = "AWS had no room for the task; clear this task later, or ask AWS for a higher Fargate quota"
    else:
        advice = "AWS's words above name the cause"
    return f"the container was not started\nAWS says: {message}\nwhat to do: {advice}"


def failed_nodes(end: Mapping[str, Any], *, at_most: int = 20) -> str:
    """The headline of a finished run and each node that failed, with the database's own words."""
    failed = {
        unique_id: node for unique_id, node in end.get("nodes", {}).items() if node["status"] in {"fail", "error"}
    }
    lines = [end["headline"]]
    for unique_id, node in list(failed.items())[:at_most]:
        lines.append(f"  {unique_id} ({node['status']})")
        lines += [f"    {line}" for line in (node.get("message") or "no message").strip().splitlines()]
    if len(failed) > at_most:
        lines.append(f"  … and {len(failed) - at_most} more; the report names all")
    steps = [step for step in end.get("steps", []) if step["outcome"] in {"failed", "error"} and step.get("message")]
    if not failed:
        lines += [f"  {step['name']}: {step['message']}" for step in steps]
    return "\n".join(lines)
