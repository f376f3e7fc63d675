"""The role with which Airflow starts, watches and stops the task of one project."""

from collections.abc import Mapping

from aws_cdk import Stack
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from constructs_lib.encryption import allow_key
from constructs_lib.findings import acknowledge_wildcards


class LaunchRole(Construct):
    """
    Defines what Airflow, and nothing else, may assume: run and stop one task family on one cluster, read its records.

    It reads no credentials. `project_prefix` (ends with "/") is the project's part of `artifacts`; there it may write nothing
    but the specification of a run that is too large for a container override.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        assumed_by_role_arn: str,
        cluster: ecs.ICluster,
        task_definition: ecs.FargateTaskDefinition,
        artifacts: s3.IBucket,
        project_prefix: str,
        encryption_key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)

        self.role = iam.Role(
            self,
            "Resource",
            description=f"Starts, watches and stops the tasks of {task_definition.family}; assumed by Airflow",
            assumed_by=iam.ArnPrincipal(assumed_by_role_arn),
        )
        self._allow_tasks(cluster, task_definition)
        self._allow_records(artifacts, project_prefix)
        allow_key(self.role, encryption_key, service="s3", resource_arn=artifacts.bucket_arn)

    # Statements are written out: TaskDefinition.grant_run() names one revision and knows no cluster, and there is no grant for
    # stopping and describing tasks.
    def _allow_tasks(self, cluster: ecs.ICluster, task_definition: ecs.FargateTaskDefinition) -> None:
        stack = Stack.of(self)
        on_cluster = {"ArnEquals": {"ecs:cluster": cluster.cluster_arn}}
        # A bare family is refused since October 2024 (aws-cdk#30368): the ARN must name revisions.
        revisions = stack.format_arn(
            service="ecs", resource="task-definition", resource_name=f"{task_definition.family}:*"
        )
        self._allow("ecs:RunTask", revisions, conditions=on_cluster)
        tasks = stack.format_arn(service="ecs", resource="task", resource_name=f"{cluster.cluster_name}/*")
        self._allow("ecs:DescribeTasks", tasks)
        self._allow("ecs:StopTask", tasks)
        # ListTasks knows no resource but container instances, which Fargate does not have.
        self._allow("ecs:ListTasks", "*", conditions=on_cluster)
        acknowledge_wildcards(
            self.role,
            {
                "*": "ecs:ListTasks cannot be restricted but by the cluster, which its condition does.",
                revisions: "Every revision of this family, also the one that a run was planned with before a deploy.",
                tasks: "The ids of tasks are made when they start.",
            },
        )
        for role in (task_definition.task_role, task_definition.obtain_execution_role()):
            self._allow(
                "iam:PassRole",
                role.role_arn,
                conditions={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
            )

    def _allow_records(self, artifacts: s3.IBucket, project_prefix: str) -> None:
        records = artifacts.arn_for_objects(f"{project_prefix}*")
        specs = artifacts.arn_for_objects(f"{project_prefix}runs/*/spec.json")
        self._allow("s3:GetObject", records)
        self._allow("s3:PutObject", specs)
        acknowledge_wildcards(
            self.role,
            dict.fromkeys((records, specs), "The project's own part of the bucket; run ids are made at run time."),
        )
        self._allow(
            "s3:ListBucket", artifacts.bucket_arn, conditions={"StringLike": {"s3:prefix": f"{project_prefix}*"}}
        )

    def _allow(self, action: str, resource_arn: str, *, conditions: Mapping[str, object] | None = None) -> None:
        self.role.add_to_policy(iam.PolicyStatement(actions=[action], resources=[resource_arn], conditions=conditions))
