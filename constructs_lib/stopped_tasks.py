"""What EventBridge hears of the tasks of one family when they stop."""

from typing import Any

from constructs_lib.place import Place


def stopped_tasks(place: Place, *, family: str, cluster_arn: str) -> dict[str, Any]:
    """
    The part of a pattern that the events of this family's stopped tasks match, and those of no other family.

    A task's `group` says its family only unless who starts it gives another one, as RunTask lets anyone do: by that, a project
    could have another one's launcher go on with a task of its own, with what it was told. Its revision is said by ECS alone.
    """
    revisions = place.arn("ecs", "task-definition", name=f"{family}:")
    return {"clusterArn": [cluster_arn], "taskDefinitionArn": [{"prefix": revisions}], "lastStatus": ["STOPPED"]}
