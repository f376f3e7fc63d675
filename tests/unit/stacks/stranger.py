"""
The settings file of a stranger: five environments with odd names, in three accounts and three partitions' regions.

It takes the place of stacks/environments.py; nothing else is changed for it. `python -m tests.unit.stacks.stranger FOLDER [FILE]`
synthesizes it, with all checks, for the dbt project in FOLDER, of which one environment builds with the packages of FILE.
"""

import sys
from datetime import timedelta
from pathlib import Path

from constructs_lib.ci_access import GitHub, GitLab
from constructs_lib.pipeline import Step
from constructs_lib.task_size import TaskSize
from constructs_lib.warehouse_credentials import GlueConnection, RedshiftIam, SecretsManagerSecret, SsmParameters
from stacks.checks import check_when_synthesized
from stacks.platform import dbt_app
from stacks.settings import (
    AirflowTarget,
    DbtProject,
    Environment,
    ExistingCluster,
    ExistingKey,
    ExistingNetwork,
    OwnKey,
    OwnNetwork,
    WarehouseEgress,
)

_ACCOUNT = "123456789012"
_BOUNDARY = "arn:aws:iam::{account}:policy/teams/data/Boundary+data=1"
_SECRET = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:team/dbt@red.shift-AbCdEf"


def environments(path: Path, requirements: Path | None = None) -> tuple[Environment, ...]:
    """What the stranger wrote, with the dbt project at `path`, one of them with a dbt of its own if there are `requirements`."""
    return (
        Environment(
            name="x",
            account=_ACCOUNT,
            region="eu-west-3",
            network=ExistingNetwork(
                vpc_id="vpc-1a2b3c4d",
                availability_zones=("eu-west-3a",),
                private_subnet_ids=("subnet-1a2b3c4d", "subnet-2a2b3c4d"),
                security_group_ids=("sg-1a2b3c4d",),
            ),
            cluster=ExistingCluster(name="Shared_Cluster-1"),
            airflow=AirflowTarget(
                dags_bucket="stranger.airflow-1", dags_prefix="", role_arn=f"arn:aws:iam::{_ACCOUNT}:role/mwaa/Exec@1"
            ),
            encryption_key=ExistingKey(
                arn=f"arn:aws:kms:eu-west-3:{_ACCOUNT}:key/mrk-0123456789abcdef0123456789abcdef"
            ),
            permissions_boundary_arn=_BOUNDARY.format(account=_ACCOUNT),
            role_path="/teams/data/",
            keeps_data_on_destroy=True,
            projects=(
                DbtProject(name="a", path=path, credentials=SecretsManagerSecret(secret_arn=_SECRET), schema="A$1"),
                DbtProject(
                    name="a_1",
                    path=path,
                    credentials=SsmParameters(path="/dbt/A.b-c/"),
                    schema="_x",
                    render="run",
                    requirements=requirements,
                ),
            ),
        ),
        Environment(
            name="x-1",
            account=_ACCOUNT,
            region="ap-southeast-2",
            network=OwnNetwork(cidr="10.255.0.0/24", availability_zones=("ap-southeast-2a", "ap-southeast-2c")),
            ci=GitLab(project="Group.1/sub-group/dbt_2", branch="release/1.0", url="https://git.example.co.uk/lab"),
            encryption_key=OwnKey(),
            permissions_boundary_arn=_BOUNDARY.format(account=_ACCOUNT),
            role_path="/teams/data/",
            keeps_data_on_destroy=False,
            projects=(
                DbtProject(
                    name="z9",
                    path=path,
                    credentials=GlueConnection("The warehouse. v2"),
                    schema="s",
                    scheduler="eventbridge",
                    schedule="7,37 */3 1,15 * 1-5",
                    time_zone="Australia/Lord_Howe",
                    capacity="fargate_spot",
                    size=TaskSize(cpu_units=16384, memory_mib=122880),
                ),
            ),
        ),
        Environment(
            name="a1234567890123456789z",
            account="999999999999",
            region="us-east-1",
            network=OwnNetwork(cidr="192.168.0.0/16", availability_zones=("us-east-1f",), flow_log_retention=None),
            airflow=AirflowTarget(
                dags_bucket="b-1", dags_prefix="a/b.c", role_arn="arn:aws:iam::123456789012:role/other-account"
            ),
            keeps_data_on_destroy=False,
            records_retention_days=1,
            images_kept=1,
            projects=(
                DbtProject(
                    name="a1234567890123456789012345678901234567890",
                    path=path,
                    credentials=RedshiftIam(
                        host="wg.1.us-east-1.redshift-serverless.amazonaws.com",
                        database="dev",
                        workgroup_name="wg-1",
                        workgroup_id="01234567-89ab-cdef-0123-456789abcdef",
                    ),
                    schema="s",
                    steps=(Step(name="build"),),
                    deadline=timedelta(minutes=1),
                    cpu_architecture="arm64",
                    has_dashboard=False,
                ),
            ),
        ),
        Environment(
            name="no-airflow",
            account="111122223333",
            region="us-gov-west-1",
            ci=GitHub(
                repository="Owner-1@12/dbt.repo@345",
                environment="live / eu",
                provider_arn="arn:aws-us-gov:iam::111122223333:oidc-provider/token.actions.githubusercontent.com",
            ),
            network=ExistingNetwork(
                vpc_id="vpc-0123456789abcdef0",
                availability_zones=("us-gov-west-1a", "us-gov-west-1b"),
                private_subnet_ids=("subnet-0123456789abcdef0", "subnet-0123456789abcdef1"),
            ),
            permissions_boundary_arn="arn:aws-us-gov:iam::111122223333:policy/Boundary",
            role_path="/x/",
            keeps_data_on_destroy=True,
            projects=(
                DbtProject(
                    name="shop",
                    path=path,
                    credentials=RedshiftIam(host="c.example.com", database="d", cluster_identifier="c", user="u"),
                    schema="s",
                    scheduler="none",
                    schedule="0 0 * * 0",
                    warehouse_egress=WarehouseEgress(security_group_id="sg-0123456789abcdef0"),
                ),
            ),
        ),
        Environment(
            name="cn",
            account="444455556666",
            region="cn-north-1",
            network=ExistingNetwork(
                vpc_id="vpc-0123456789abcdef0",
                availability_zones=("cn-north-1a",),
                private_subnet_ids=("subnet-0123456789abcdef0",),
            ),
            alert_emails=("on.call+dbt@example.co.uk",),
            keeps_data_on_destroy=False,
            projects=(
                DbtProject(
                    name="shop",
                    path=path,
                    credentials=GlueConnection("w"),
                    schema="s",
                    scheduler="eventbridge",
                    schedule="0 5 * * *",
                    time_zone="Asia/Shanghai",
                ),
            ),
        ),
    )


if __name__ == "__main__":
    app = dbt_app(environments(*map(Path, sys.argv[1:])))
    check_when_synthesized(app)
    app.synth()
