"""The Airflow that the DAGs are deployed to."""

from preflight.findings import Clients, Findings, NotAllowedError, NotThereError, ask, fine, unknown, wrong
from stacks.settings import AirflowTarget, Environment


def check_airflow(clients: Clients, environment: Environment) -> Findings:
    """Whether the bucket of DAG files can be reached, and whether the role that Airflow runs as exists."""
    if environment.airflow is None:
        return
    yield from _check_bucket(clients, environment, environment.airflow)
    yield from _check_role(clients, environment, environment.airflow)


def _check_bucket(clients: Clients, environment: Environment, airflow: AirflowTarget) -> Findings:
    bucket = airflow.dags_bucket
    try:
        found = ask(lambda: clients("s3").head_bucket(Bucket=bucket), "404", "NoSuchBucket")
    except NotThereError:
        yield wrong(f"dags_bucket names {bucket}, which does not exist: make it, or correct the setting")
    except NotAllowedError as error:
        yield unknown(f"the bucket {bucket}: {error}; it may be another account's")
    else:
        region = found.get("BucketRegion") or environment.region
        if region != environment.region:
            yield wrong(
                f"bucket {bucket} is in {region}, not in {environment.region}: Airflow's bucket and the tasks must share one"
            )
        else:
            yield fine(f"the bucket of DAG files {bucket} can be reached")


def _check_role(clients: Clients, environment: Environment, airflow: AirflowTarget) -> Findings:
    account, name = airflow.role_arn.split(":")[4], airflow.role_arn.rpartition("/")[2]
    if account != environment.account:
        yield unknown(
            f"Airflow's role {airflow.role_arn} is in another account: it needs sts:AssumeRole on the launch roles, by a policy there"
        )
        return
    try:
        found = ask(lambda: clients("iam").get_role(RoleName=name), "NoSuchEntity")["Role"]["Arn"]
    except NotThereError:
        yield wrong(
            f"role_arn names {airflow.role_arn}, which does not exist: name the role that Airflow's workers run as"
        )
    except NotAllowedError as error:
        yield unknown(f"Airflow's role {airflow.role_arn}: {error}")
    else:
        if found == airflow.role_arn:
            yield fine(f"Airflow's role {airflow.role_arn} exists")
        else:
            yield wrong(f"role_arn is {airflow.role_arn}, the role's ARN is {found}: give it with its path")
