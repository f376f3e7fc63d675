"""The role with which Airflow, and people, start, watch and stop the task of one project."""

from collections.abc import Sequence

from aws_cdk import aws_kms as kms
from constructs import Construct

from constructs_lib.cluster import Cluster
from constructs_lib.encryption import use_of_key
from constructs_lib.findings import acknowledge_wildcards
from constructs_lib.grants import Statement, allow
from constructs_lib.place import place_of
from constructs_lib.role import Role

FAMILY_TAG = "dbt-task-family"
"""The tag by which a task says its family to IAM; whoever starts one has to set it."""


class LaunchRole(Construct):
    """
    Defines what `assumed_by_role_arns`, and nothing else, may assume: run and stop one task family on one cluster, read its records.

    It reads no credentials. `project_prefix` (ends with "/") is the project's part of the bucket of run records; there it may write nothing
    but the specification of a run that is too large for a container override. `assumed_by_role_arns` are Airflow's role and those
    of people who start runs, `passed_role_arns` the roles of the task, `notifies` the rights that Airflow's notifications need.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        assumed_by_role_arns: Sequence[str],
        cluster: Cluster,
        family: str,
        passed_role_arns: Sequence[str],
        bucket_arn: str,
        project_prefix: str,
        encryption_key: kms.IKey | None,
        notifies: Sequence[Statement],
    ) -> None:
        super().__init__(scope, construct_id)

        place = place_of(scope)
        # A bare family is refused since October 2024 (aws-cdk#30368): the ARN must name revisions.
        revisions = place.arn("ecs", "task-definition", name=f"{family}:*")
        tasks = place.arn("ecs", "task", name=f"{cluster.name}/*")
        records = f"{bucket_arn}/{project_prefix}*"
        specs = f"{bucket_arn}/{project_prefix}runs/*/spec.json"
        self.role = Role(
            self,
            "Resource",
            description=f"Starts, watches and stops the tasks of {family}; assumed by Airflow",
            principal={"AWS": list(assumed_by_role_arns)},
            may=[
                *care_for_tasks(
                    family=family,
                    revisions=revisions,
                    cluster_arn=cluster.arn,
                    tasks=tasks,
                    passed_role_arns=passed_role_arns,
                ),
                allow("s3:GetObject", records),
                allow("s3:PutObject", specs),
                allow("s3:ListBucket", bucket_arn, conditions={"StringLike": {"s3:prefix": f"{project_prefix}*"}}),
                *use_of_key(self, encryption_key, service="s3", resource_arn=bucket_arn),
                *notifies,
            ],
        )
        acknowledge_wildcards(
            self.role,
            {
                "*": "ecs:ListTasks cannot be restricted but by the cluster, which its condition does.",
                revisions: "Every revision of this family, also the one that a run was planned with before a deploy.",
                tasks: "The ids of tasks are made when they start; a tag says whose they are.",
                **dict.fromkeys(
                    (records, specs), "The project's own part of the bucket; run ids are made at run time."
                ),
            },
        )


# Statements are written out: TaskDefinition.grant_run() names one revision and knows no cluster, and there is no grant for
# stopping and describing tasks.
def care_for_tasks(
    *, family: str, revisions: str, cluster_arn: str, tasks: str, passed_role_arns: Sequence[str]
) -> list[Statement]:
    """
    The rights to start these revisions of a family on a cluster with their roles, to find its tasks and to stop the family's own.

    The ARN of a task names its cluster and not its family, so whoever starts one has to say the family by FAMILY_TAG, which
    decides who may stop it. Nobody may tag a task later.
    """
    on_cluster = {"ArnEquals": {"ecs:cluster": cluster_arn}}
    to_tasks = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html
    as_its_own = {"StringEquals": {"ecs:CreateAction": "RunTask", f"aws:RequestTag/{FAMILY_TAG}": family}}
    return [
        allow("ecs:RunTask", revisions, conditions=on_cluster),
        allow("ecs:TagResource", tasks, conditions=as_its_own),
        # ListTasks knows no resource but container instances, which Fargate does not have.
        allow("ecs:ListTasks", "*", conditions=on_cluster),
        allow("ecs:DescribeTasks", tasks),
        allow("ecs:StopTask", tasks, conditions={"StringEquals": {f"aws:ResourceTag/{FAMILY_TAG}": family}}),
        allow("iam:PassRole", *passed_role_arns, conditions=to_tasks),
    ]
