"""The stack of one dbt project in one environment."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_s3_deployment as s3_deployment

from constructs_lib.aws_cron import scheduler_expressions
from constructs_lib.bucket_folder import BucketFolder
from constructs_lib.dbt_graph import dbt_graph
from constructs_lib.dbt_image import dbt_image
from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.dbt_task import CONTAINER_NAME, LOG_STREAM_PREFIX, STOP_TIMEOUT_SECONDS, DbtTask
from constructs_lib.encryption import use_of_key
from constructs_lib.grants import Statement, allow
from constructs_lib.launch_role import FAMILY_TAG, LaunchRole
from constructs_lib.launcher import Launcher
from constructs_lib.notifications import SnsTopic, dag_entry
from constructs_lib.place import deployed_in
from constructs_lib.project_schedules import ProjectSchedules
from constructs_lib.repository import REPOSITORY
from constructs_lib.run_alarms import RunAlarms
from constructs_lib.run_alerts import RunAlerts
from constructs_lib.run_dashboard import RunDashboard
from constructs_lib.slim_ci_role import SlimCiRole
from constructs_lib.task_security_group import TaskSecurityGroup
from constructs_lib.warehouse_credentials import runner_entry
from stacks import names
from stacks.environment_stack import SharedResources
from stacks.settings import AirflowTarget, DbtProject, Environment, ExistingNetwork

_FORMAT_VERSION = 1
_MOST_ATTEMPTS_WITHOUT_AIRFLOW = 3


class ProjectStack(cdk.Stack):
    """Defines the image, the task, the roles, the alarms, the dashboard and the DAG or the schedule of one dbt project."""

    def __init__(
        self,
        scope: cdk.Stage,
        construct_id: str,
        *,
        settings: Environment,
        project: DbtProject,
        shared: SharedResources,
    ) -> None:
        self._stage = scope
        self._repository_name = names.repository(settings.name, project.name)
        synthesizer = cdk.DefaultStackSynthesizer(
            image_assets_repository_name=self._repository_name,
            image_asset_publishing_role_arn=settings.role_arn(names.publishing_role(settings.name)),
        )
        super().__init__(
            scope,
            construct_id,
            stack_name=names.project_stack(settings.name, project.name),
            description=f"dbt project {project.name} in environment {settings.name}",
            # The CLI pushes this stack's images after the environment stack is deployed, which holds registry and role.
            synthesizer=synthesizer,
        )
        # CDK has bound a copy of it to this stack, which the original shares its list of images with, and which jsii cannot name.
        synthesizer.bind(self)
        self._image_synthesizer = synthesizer
        deployed_in(shared.place, self)
        self._settings = settings
        self._project = project
        self._shared = shared
        self._family = names.task_family(settings.name, project.name)
        self._files = DbtProjectFiles(project.folder)
        # Also where there is no DAG: a project that does not parse must not be deployed.
        self._graph = self._read_graph()

        self.task = self._define_task()
        self._run_name = f"dbt project {project.name} in {settings.name}"
        self._placement = self._define_placement()
        self._define_alarms()
        self._define_schedules()
        if project.scheduler == "airflow" and settings.airflow is not None:
            self._define_dag(settings.airflow)
        cdk.Tags.of(self).add("dbt-project", project.name)

    def _read_graph(self) -> dict[str, Any]:
        return dbt_graph(
            self._files,
            project_name=self._project.name,
            environment_name=self._settings.name,
            schema=self._project.schema,
            cache_folder=REPOSITORY / ".cache" / "dbt-graph",
            requirements=self._project.locked_requirements,
        )

    def _define_task(self) -> DbtTask:
        project = self._project
        return DbtTask(
            self,
            "Task",
            family=self._family,
            image=dbt_image(
                self._stage,
                repository_name=self._repository_name,
                synthesizer=self._image_synthesizer,
                project=self._files,
                project_name=project.name,
                cpu_architecture=project.cpu_architecture,
                sends_lineage=project.lineage is not None,
                requirements=project.locked_requirements,
            ),
            size=project.size,
            cpu_architecture=project.cpu_architecture,
            deployment=self._runner_deployment(),
            credentials=project.credentials,
            lineage=project.lineage,
            bucket_arn=self._shared.bucket_arn,
            project_prefix=names.project_prefix(project.name),
            log_retention=self._settings.log_retention,
            log_removal_policy=self._settings.removal_policy,
            keeps_replaced_revisions=self._settings.keeps_data_on_destroy,
            encryption_key=self._shared.encryption_key,
        )

    def _runner_deployment(self) -> dict[str, Any]:
        project = self._project
        return {
            "format_version": _FORMAT_VERSION,
            "environment": self._settings.name,
            "project": project.name,
            "bucket": self._shared.bucket_name,
            "schema": project.schema,
            "credentials": runner_entry(project.credentials),
            "stop_timeout_seconds": STOP_TIMEOUT_SECONDS,
            "spec": {
                "steps": [{"name": step.name, "policy": step.policy} for step in project.steps],
                "threads": project.threads,
                "deadline_seconds": int(project.deadline.total_seconds()),
            },
            **({"lineage": project.lineage.entry} if project.lineage else {}),
        }

    def _define_placement(self) -> dict[str, Any]:
        """With what, and where, a task of this project is started."""
        return {
            "cluster_arn": self._shared.cluster.arn,
            "task_definition_arn": self.task.task_definition.ref,
            "container_name": CONTAINER_NAME,
            "subnet_ids": self._shared.subnet_ids,
            "security_group_ids": self._security_group_ids(),
            "capacity": self._project.capacity,
            "task_tags": [{"key": FAMILY_TAG, "value": self._family}],
        }

    def _define_alarms(self) -> None:
        settings, project = self._settings, self._project
        dimensions = {"environment": settings.name, "project": project.name}
        alerts = RunAlerts(
            self,
            "Alerts",
            run_name=self._run_name,
            family=self._family,
            cluster_arn=self._shared.cluster.arn,
            log_group_name=self.task.log_group_name,
            topic_arn=self._shared.alert_topic_arn,
            dead_letters_arn=self._shared.dead_letters_arn,
            runbook_url=settings.runbook_url,
        )
        alarms = RunAlarms(
            self,
            "Alarms",
            run_name=self._run_name,
            dimensions=dimensions,
            has_schedule=project.schedule is not None,
            start_within=settings.start_within,
            deadline=project.deadline,
            topic_arn=self._shared.alert_topic_arn,
            runbook_url=settings.runbook_url,
        )
        if project.has_dashboard:
            RunDashboard(
                self,
                "Dashboard",
                name=names.dashboard(settings.name, project.name),
                run_name=self._run_name,
                dimensions=dimensions,
                memory_mib=project.size.memory_mib,
                alarm_arns=alarms.alarm_arns,
                alerts=alerts.rules,
                runbook_url=settings.runbook_url,
            )

    def _define_schedules(self) -> None:
        settings, project, shared = self._settings, self._project, self._shared
        launcher = None
        if project.scheduler == "eventbridge":
            launcher = Launcher(
                self,
                "Launcher",
                run_name=self._run_name,
                cluster=shared.cluster,
                family=self._family,
                passed_role_arns=self.task.role_arns,
                launch={
                    **self._placement,
                    "family": self._family,
                    "most_attempts": _MOST_ATTEMPTS_WITHOUT_AIRFLOW,
                },
                dead_letters_arn=shared.dead_letters_arn,
                encryption_key=shared.encryption_key,
            ).function
            cdk.CfnOutput(self, "LauncherFunctionName", value=launcher.function_name)
        ProjectSchedules(
            self,
            "Schedules",
            guard_arn=shared.guard_arn,
            due_runs_arn=shared.due_runs_arn,
            dead_letters_arn=shared.dead_letters_arn,
            guarded={
                "environment": settings.name,
                "project": project.name,
                "cluster_arn": shared.cluster.arn,
                "family": self._family,
                "container_name": CONTAINER_NAME,
                "deadline_seconds": int(project.deadline.total_seconds()),
                "stop_timeout_seconds": STOP_TIMEOUT_SECONDS,
            },
            expressions=scheduler_expressions(project.schedule) if project.schedule else [],
            time_zone=project.time_zone,
            launcher=launcher,
            encryption_key=shared.encryption_key,
        )

    def _define_dag(self, airflow: AirflowTarget) -> None:
        shared = self._shared
        slim_ci = self._define_slim_ci_role()
        launch_role = LaunchRole(
            self,
            "LaunchRole",
            assumed_by_role_arns=[
                airflow.role_arn,
                *self._settings.analyst_role_arns,
                *([slim_ci.role.role_arn] if slim_ci else []),
            ],
            cluster=shared.cluster,
            family=self._family,
            passed_role_arns=self.task.role_arns,
            bucket_arn=shared.bucket_arn,
            project_prefix=names.project_prefix(self._project.name),
            encryption_key=shared.encryption_key,
            notifies=self._notifies(),
        ).role
        folder = airflow.key(names.dag_folder(self._settings.name, self._project.name))
        if slim_ci is not None:
            slim_ci.let_try(
                launch_role_arn=launch_role.arn,
                deployment_file_arn=f"arn:{shared.place.partition}:s3:::{airflow.dags_bucket}/{folder}/deployment.json",
                bucket_arn=shared.bucket_arn,
                project_prefix=names.project_prefix(self._project.name),
                encryption_key=shared.encryption_key,
            )
        deployment = self._dag_deployment(launch_role_arn=launch_role.arn)
        # One folder in place of a source for each file: CDK makes, hashes, copies and deletes one for each.
        with tempfile.TemporaryDirectory() as known_at_synth:
            shutil.copyfile(REPOSITORY / "dags" / "dag.py", Path(known_at_synth, "dag.py"))
            Path(known_at_synth, "graph.json").write_text(json.dumps(self._graph), encoding="utf-8")
            BucketFolder(
                self,
                "AirflowFiles",
                bucket_name=airflow.dags_bucket,
                folder=folder,
                description=f"Copies DAG files to {folder}/ of Airflow's bucket",
                sources=[
                    s3_deployment.Source.asset(known_at_synth),
                    s3_deployment.Source.json_data("deployment.json", deployment),
                ],
                encryption_key=shared.encryption_key,
            )
        cdk.CfnOutput(self, "LaunchRoleArn", value=launch_role.arn)

    def _define_slim_ci_role(self) -> SlimCiRole | None:
        settings, project = self._settings, self._project
        if settings.ci is None or project not in settings.tried_projects:
            return None
        return SlimCiRole(
            self, "SlimCiRole", role_name=names.slim_ci_role(settings.name, project.name), pipeline=settings.ci
        )

    def _notifies(self) -> list[Statement]:
        alert_topic_arn = self._shared.alert_topic_arn
        named = [recipient.topic_arn for recipient in self._project.notify if isinstance(recipient, SnsTopic)]
        statements = [allow("sns:Publish", *(topic_arn or alert_topic_arn for topic_arn in named))] if named else []
        if None in named:
            statements += use_of_key(self, self._shared.encryption_key, service="sns", resource_arn=alert_topic_arn)
        return statements

    def _dag_deployment(self, *, launch_role_arn: str) -> dict[str, Any]:
        settings, project, shared = self._settings, self._project, self._shared
        return {
            "format_version": _FORMAT_VERSION,
            "environment": settings.name,
            "project": project.name,
            "dag_id": names.dag_id(settings.name, project.name),
            "account": settings.account,
            "region": settings.region,
            "schedule": project.schedule,
            "time_zone": project.time_zone,
            "package": names.dag_package(settings.name),
            **self._placement,
            "task_definition_family": self._family,
            "assign_public_ip": False,
            "launch_role_arn": launch_role_arn,
            "log_group_name": self.task.log_group_name,
            "log_stream_prefix": LOG_STREAM_PREFIX,
            "bucket_name": shared.bucket_name,
            "project_prefix": names.project_prefix(project.name),
            "deadline_seconds": int(project.deadline.total_seconds()),
            "stop_timeout_seconds": STOP_TIMEOUT_SECONDS,
            "render": project.render,
            "updates_assets": project.updates_assets,
            "notify": [dag_entry(recipient, alert_topic_arn=shared.alert_topic_arn) for recipient in project.notify],
        }

    def _security_group_ids(self) -> list[str]:
        network = self._settings.network
        if isinstance(network, ExistingNetwork) and network.security_group_ids:
            return list(network.security_group_ids)
        egress = self._project.warehouse_egress
        return [
            TaskSecurityGroup(
                self,
                "SecurityGroup",
                vpc_id=self._shared.vpc_id,
                warehouse_port=egress.port,
                warehouse_security_group_id=egress.security_group_id,
                warehouse_cidr=egress.cidr,
            ).security_group_id
        ]
