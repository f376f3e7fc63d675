"""What an AWS account has before the first deploy: Airflow with its role and bucket, and a way to the warehouse."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

_AIRFLOW_USER = "airflow-machine"


@dataclass(frozen=True, kw_only=True, slots=True)
class Warehouse:
    """Where the warehouse is and who dbt is there."""

    host: str
    port: int
    database: str
    user: str
    password: str


class LocalAccount:
    """The account of the `local` environment, reached with the emulator's root credentials."""

    def __init__(self, *, endpoint_url: str, region: str, access_key_id: str, secret_access_key: str) -> None:
        self._endpoint_url = endpoint_url
        self._region = region
        self._session = boto3.Session(
            aws_access_key_id=access_key_id, aws_secret_access_key=secret_access_key, region_name=region
        )

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes the types of its clients at run time
        """A boto3 client of this account."""
        return self._session.client(service, endpoint_url=self._endpoint_url)  # type: ignore[call-overload]

    def make_bucket(self, name: str) -> None:
        """Make the bucket that Airflow reads its DAG files from."""
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": self._region})

    def make_airflow_role(self, role_arn: str, *, dags_bucket: str, config_folder: Path) -> dict[str, str]:
        """
        Make the role that Airflow runs as and return the environment that gives Airflow its credentials.

        The role may read its bucket of DAG files; launch roles trust it by its name, and other roles it cannot assume. On AWS the machine that Airflow runs on
        hands out its role's credentials; here the AWS SDKs' own configuration file does, and renews them in the same way.
        """
        iam = self.client("iam")
        role_name = role_arn.rpartition("/")[2]
        user_arn = iam.create_user(UserName=_AIRFLOW_USER)["User"]["Arn"]
        iam.create_role(
            RoleName=role_name,
            AssumeRolePolicyDocument=json.dumps(_policy("sts:AssumeRole", principal={"AWS": user_arn})),
        )
        iam.put_role_policy(
            RoleName=role_name,
            PolicyName="airflow",
            PolicyDocument=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Action": ["s3:GetObject", "s3:ListBucket"],
                            "Resource": [f"arn:aws:s3:::{dags_bucket}", f"arn:aws:s3:::{dags_bucket}/*"],
                        }
                    ],
                }
            ),
        )
        iam.put_user_policy(
            UserName=_AIRFLOW_USER,
            PolicyName="assume",
            PolicyDocument=json.dumps(_policy("sts:AssumeRole", resource=role_arn)),
        )
        key = iam.create_access_key(UserName=_AIRFLOW_USER)["AccessKey"]
        config_folder.mkdir(parents=True, exist_ok=True)
        credentials_file = config_folder / "credentials"
        credentials_file.touch(mode=0o600)
        credentials_file.write_text(
            f"[machine]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n"
        )
        config_file = config_folder / "config"
        config_file.write_text(f"[default]\nrole_arn = {role_arn}\nsource_profile = machine\nregion = {self._region}\n")
        return {
            "AWS_CONFIG_FILE": str(config_file),
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials_file),
            "AWS_ENDPOINT_URL": self._endpoint_url,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def make_glue_connection(self, name: str, warehouse: Warehouse) -> None:
        """Make the Glue connection that a project's settings name."""
        connection = {
            "Name": name,
            "ConnectionType": "JDBC",
            "ConnectionProperties": {
                "JDBC_CONNECTION_URL": f"jdbc:redshift://{warehouse.host}:{warehouse.port}/{warehouse.database}",
                "JDBC_ENFORCE_SSL": "true",
                "USERNAME": warehouse.user,
                "PASSWORD": warehouse.password,
            },
        }
        self.client("glue").create_connection(ConnectionInput=connection)


def _policy(action: str, *, resource: str | None = None, principal: dict[str, str] | None = None) -> dict[str, object]:
    statement: dict[str, object] = {"Effect": "Allow", "Action": action}
    if resource is not None:
        statement["Resource"] = resource
    if principal is not None:
        statement["Principal"] = principal
    return {"Version": "2012-10-17", "Statement": [statement]}
