"""
The settings of every environment: the one file to edit.

`dev` and `live` are examples to replace with accounts of your own; `local` is what `make demo` deploys on this machine.
Every field is explained in docs/settings.md.
"""

from pathlib import Path

from aws_cdk import aws_logs as logs

from constructs_lib.ci_access import GitHub
from constructs_lib.pages_access import PagesHosting, SignIn
from constructs_lib.task_size import TaskSize
from constructs_lib.warehouse_credentials import GlueConnection, SecretsManagerSecret
from stacks.settings import AirflowTarget, DbtProject, Environment, ExistingNetwork, OwnKey, OwnNetwork, WarehouseEgress

BOOKSHOP = Path("projects/bookshop")

DEV = Environment(
    name="dev",
    account="111111111111",
    region="eu-central-1",
    network=ExistingNetwork(
        vpc_id="vpc-0a1b2c3d4e5f60718",
        availability_zones=("eu-central-1a", "eu-central-1b"),
        private_subnet_ids=("subnet-0a1b2c3d4e5f60718", "subnet-0b1c2d3e4f5061728"),
    ),
    airflow=AirflowTarget(
        dags_bucket="example-dev-airflow",
        dags_prefix="dags",
        role_arn="arn:aws:iam::111111111111:role/example-dev-airflow",
    ),
    alert_emails=("data-platform-dev@example.com",),
    records_retention_days=90,
    log_retention=logs.RetentionDays.ONE_MONTH,
    ci=GitHub(repository="example/data-platform", environment="dev", tries_pull_requests=True),
    keeps_data_on_destroy=False,
    projects=(
        DbtProject(
            name="bookshop",
            path=BOOKSHOP,
            credentials=GlueConnection("warehouse"),
            schema="analytics",
            warehouse_egress=WarehouseEgress(cidr="10.10.0.0/16"),
            # No schedule: runs in dev are started by hand.
        ),
    ),
)

LIVE = Environment(
    name="live",
    account="222222222222",
    region="eu-central-1",
    network=ExistingNetwork(
        vpc_id="vpc-0c1d2e3f405162738",
        availability_zones=("eu-central-1a", "eu-central-1b", "eu-central-1c"),
        private_subnet_ids=("subnet-0c1d2e3f405162738", "subnet-0d1e2f30415263748", "subnet-0e1f2031425364758"),
    ),
    airflow=AirflowTarget(
        dags_bucket="example-live-airflow",
        dags_prefix="dags",
        role_arn="arn:aws:iam::222222222222:role/example-live-airflow",
    ),
    alert_emails=("data-platform@example.com", "on-call@example.com"),
    encryption_key=OwnKey(),
    pages=PagesHosting(
        sign_in=SignIn(
            issuer="https://login.example.com",
            client_id="dbt-pages",
            client_secret_arn="arn:aws:secretsmanager:eu-central-1:222222222222:secret:dbt-pages-a1B2c3",  # noqa: S106 - a name
            allowed_groups=("data-team",),
        ),
        domain_name="dbt.example.com",
        certificate_arn="arn:aws:acm:us-east-1:222222222222:certificate/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
    ),
    ci=GitHub(repository="example/data-platform", environment="live"),
    keeps_data_on_destroy=True,
    projects=(
        DbtProject(
            name="bookshop",
            path=BOOKSHOP,
            credentials=SecretsManagerSecret(
                secret_arn="arn:aws:secretsmanager:eu-central-1:222222222222:secret:warehouse/dbt-a1B2c3",  # noqa: S106 - a name
            ),
            schema="analytics",
            schedule="0 5 * * *",
            time_zone="Europe/Berlin",
            size=TaskSize(cpu_units=2048, memory_mib=4096),
            threads=8,
            warehouse_egress=WarehouseEgress(cidr="10.20.0.0/16"),
        ),
    ),
)

LOCAL = Environment(
    name="local",
    account="000000000000",
    region="eu-central-1",
    network=OwnNetwork(
        cidr="10.0.0.0/16",
        availability_zones=("eu-central-1a", "eu-central-1b"),
        # There is no traffic to record.
        flow_log_retention=None,
    ),
    airflow=AirflowTarget(
        dags_bucket="local-airflow", dags_prefix="dags", role_arn="arn:aws:iam::000000000000:role/airflow"
    ),
    analyst_role_arns=("arn:aws:iam::000000000000:role/analyst",),
    keeps_data_on_destroy=False,
    projects=(
        DbtProject(
            name="bookshop",
            path=BOOKSHOP,
            credentials=GlueConnection("warehouse"),
            schema="analytics",
            size=TaskSize(cpu_units=1024, memory_mib=2048),
        ),
    ),
)

ENVIRONMENTS = (DEV, LIVE, LOCAL)
