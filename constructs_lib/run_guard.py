"""The guard of an environment: one function for all projects, the queue of runs that were due, and what tells when it fails."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as cloudwatch_actions
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from constructs_lib.encryption import acknowledge_keys_of_aws, use_of_key
from constructs_lib.findings import acknowledge, acknowledge_wildcards
from constructs_lib.grants import allow
from constructs_lib.place import place_of
from constructs_lib.run_guard_function import RunGuardFunction

GUARD_INTERVAL_MINUTES = 5
"""How often the containers of a project are looked at."""


class RunGuard(Construct):
    """
    Defines the function that looks after the containers of all projects on `cluster`, and its queues.

    Schedules of the projects invoke it, and send into `due_runs` what becomes readable `start_within` later (SQS knows up to
    15 minutes). What can be delivered nowhere, of any schedule or of EventBridge's rules whose names match `rule_names`, is kept in
    `dead_letters` for two weeks, and an alarm tells.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment_name: str,
        rule_names: str,
        cluster: ecs.ICluster,
        start_within: Duration,
        topic: sns.ITopic,
        runbook_url: str,
        encryption_key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)
        encryption = sqs.QueueEncryption.KMS if encryption_key else sqs.QueueEncryption.SQS_MANAGED
        self._topic = topic
        self._environment_name = environment_name

        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            encryption=encryption,
            encryption_master_key=encryption_key,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        self._let_rules_send(rule_names)
        dead_letters_end = "This queue is where dead letters go."
        acknowledge(
            self.dead_letters,
            {"AwsSolutions-SQS3": dead_letters_end, "Serverless-SQSRedrivePolicy": dead_letters_end},
        )
        acknowledge_keys_of_aws(self.dead_letters, encryption_key, "CKV_AWS_27")
        self.due_runs = sqs.Queue(
            self,
            "DueRuns",
            encryption=encryption,
            encryption_master_key=encryption_key,
            enforce_ssl=True,
            delivery_delay=start_within,
            # Six times the function's time-out, as AWS advises for a queue that a function reads.
            visibility_timeout=Duration.minutes(6),
            # ECS remembers a stopped task for an hour: an answer that comes later would be wrong.
            retention_period=Duration.minutes(40),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=3),
        )
        acknowledge_keys_of_aws(self.due_runs, encryption_key, "CKV_AWS_27")
        # ListTasks knows no resource but container instances, which Fargate does not have.
        on_cluster = {"ArnEquals": {"ecs:cluster": cluster.cluster_arn}}
        tasks = place_of(self).arn("ecs", "task", name=f"{cluster.cluster_name}/*")
        due_runs_arn = self.due_runs.queue_arn
        reads = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
        guard = RunGuardFunction(
            self,
            "Function",
            handler="guard",
            description=f"Looks after the dbt runs of {environment_name}",
            failed_calls="An alarm tells of each; it looks again in five minutes, and the queue of due runs has dead letters.",
            encryption_key=encryption_key,
            may=[
                allow("ecs:ListTasks", "*", conditions=on_cluster),
                allow(["ecs:DescribeTasks", "ecs:StopTask"], tasks),
                allow("cloudwatch:GetMetricStatistics", "*"),
                allow(reads, due_runs_arn),
                *use_of_key(self, encryption_key, service="sqs", resource_arn=due_runs_arn, actions=("kms:Decrypt",)),
            ],
            rarely={
                "cloudwatch:GetMetricStatistics": "Asked only while a container runs.",
                "ecs:StopTask": "Only a container that outlived its deadline is stopped.",
                **dict.fromkeys(reads, "Lambda reads the queue with it."),
                **({"kms:Decrypt": "SQS asks for it when Lambda reads the queue."} if encryption_key else {}),
            },
        )
        acknowledge_wildcards(
            guard.role,
            {
                "*": "ecs:ListTasks can be restricted to the cluster only, which its condition does, "
                "and cloudwatch:GetMetricStatistics, which reads numbers, not at all.",
                tasks: "The ids of tasks are made when they start.",
            },
        )
        self.function = guard.function
        reads_due_runs = lambda_.CfnEventSourceMapping(
            self,
            "ReadsDueRuns",
            function_name=self.function.function_name,
            event_source_arn=due_runs_arn,
            batch_size=1,
        )
        # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html: destinations of failures are for streams.
        acknowledge(
            reads_due_runs,
            {"Serverless-LambdaEventSourceMappingDestination": "It reads a queue, which has dead letters of its own."},
        )
        self._define_alarms(runbook_url)

    def _let_rules_send(self, rule_names: str) -> None:
        self.dead_letters.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sqs:SendMessage"],
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                resources=[self.dead_letters.queue_arn],
                conditions={"ArnLike": {"aws:SourceArn": place_of(self).arn("events", "rule", name=rule_names)}},
            )
        )

    def _define_alarms(self, runbook_url: str) -> None:
        name = self._environment_name
        what_to_do = f"What to do: {runbook_url}#the-guard-does-not-work"
        self._define_alarm(
            "Failing",
            self.function.metric_errors(period=Duration.minutes(15), statistic="Sum"),
            description=(
                f"The guard of the dbt runs of {name} ends with an error. While it does, nobody hears of runs that do not start "
                f"or do not end. {what_to_do}"
            ),
        )
        self._define_alarm(
            "Silent",
            self.function.metric_invocations(period=Duration.minutes(15), statistic="Sum"),
            description=(
                f"The guard of the dbt runs of {name} has not been called for a quarter of an hour: its schedules are gone, "
                f"disabled, or may not call it. While it is so, nobody hears of runs that do not start or do not end. {what_to_do}"
            ),
            is_silence=True,
        )
        self._define_alarm(
            "Undelivered",
            self.dead_letters.metric_approximate_number_of_messages_visible(
                period=Duration.minutes(5), statistic="Maximum"
            ),
            description=(
                f"AWS could not deliver what a schedule or an alert of the dbt runs of {name} sent: a run may not have been started, "
                f"or a failure not been told. The messages in the dead-letter queue say which. What to do: {runbook_url}#a-schedule-could-not-be-delivered"
            ),
        )

    def _define_alarm(
        self,
        alarm_id: str,
        metric: cloudwatch.IMetric,
        *,
        description: str,
        is_silence: bool = False,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            alarm_id,
            metric=metric,
            alarm_description=description,
            evaluation_periods=1,
            threshold=0,
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_OR_EQUAL_TO_THRESHOLD
            if is_silence
            else cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.BREACHING
            if is_silence
            else cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(cloudwatch_actions.SnsAction(self._topic))
