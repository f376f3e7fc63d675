"""What the preflight says of an account that is as its settings say, and of one in which one thing is not."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from constructs_lib.warehouse_credentials import GlueConnection, SecretsManagerSecret, SsmParameters
from preflight.__main__ import preflight, report
from preflight.findings import Finding, Verdict
from stacks.settings import (
    AirflowTarget,
    DbtProject,
    Environment,
    ExistingCluster,
    ExistingKey,
    ExistingNetwork,
    OwnNetwork,
)

pytestmark = pytest.mark.slow

# moto's.
ACCOUNT = "123456789012"
REGION = "eu-central-1"
ZONE = f"{REGION}a"
PASSWORD = "canary'\"& password"
# One for all: each would read the descriptions of the services again, half a second for EC2 alone.
SESSION = boto3.Session("x", "x", region_name=REGION)
BOOKSHOP = Path("projects/bookshop")


@dataclasses.dataclass
class Account:
    """An account as moto plays it, and the settings that describe it."""

    environment: Environment
    subnet_id: str
    route_table_id: str

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes the types of its clients at run time
        """A client of this account."""
        return _client(service)

    def say(self, **changes: object) -> None:
        """Change the environment's settings."""
        self.environment = dataclasses.replace(self.environment, **changes)  # type: ignore[arg-type]

    def say_of_project(self, **changes: object) -> None:
        """Change the settings of its only project."""
        project = dataclasses.replace(self.environment.projects[0], **changes)  # type: ignore[arg-type]
        self.say(projects=(project,))

    def say_of_network(self, **changes: object) -> None:
        """Change the settings of its network."""
        self.say(network=dataclasses.replace(self.environment.network, **changes))  # type: ignore[arg-type]

    def findings(self, verdict: Verdict) -> list[str]:
        """The texts of all findings with this verdict."""
        return [finding.text for finding in preflight(self.environment) if finding.verdict is verdict]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """
    An account in which everything is as it should be.

    moto plays AWS: there is no account here, and what counts are the answers of its describing calls.
    """
    with mock_aws():
        # moto has forgotten it.
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", SESSION)
        yield _account()


def _client(service: str) -> Any:  # noqa: ANN401 - boto3 makes the types of its clients at run time
    return SESSION.client(service)  # type: ignore[call-overload]


def _account() -> Account:
    client = _client
    ec2 = client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.0/24", AvailabilityZone=ZONE)["Subnet"]
    table_id = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table_id, SubnetId=subnet["SubnetId"])
    for service in ("ecr.api", "ecr.dkr", "logs", "glue"):
        ec2.create_vpc_endpoint(
            VpcId=vpc_id,
            ServiceName=f"com.amazonaws.{REGION}.{service}",
            VpcEndpointType="Interface",
            SubnetIds=[subnet["SubnetId"]],
            PrivateDnsEnabled=True,
        )
    ec2.create_vpc_endpoint(
        VpcId=vpc_id,
        ServiceName=f"com.amazonaws.{REGION}.s3",
        VpcEndpointType="Gateway",
        RouteTableIds=[table_id],
    )
    group_id = ec2.create_security_group(GroupName="dbt", Description="dbt", VpcId=vpc_id)["GroupId"]
    client("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="21", Type="String")
    client("ecs").create_cluster(clusterName="shared", capacityProviders=["FARGATE"])
    client("s3").create_bucket(Bucket="airflow", CreateBucketConfiguration={"LocationConstraint": REGION})
    role = client("iam").create_role(RoleName="airflow", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    boundary = client("iam").create_policy(PolicyName="boundary", PolicyDocument=_policy())["Policy"]["Arn"]
    client("glue").create_connection(ConnectionInput=_connection(USERNAME="dbt", PASSWORD=PASSWORD))
    environment = Environment(
        name="dev",
        account=ACCOUNT,
        region=REGION,
        network=ExistingNetwork(
            vpc_id=vpc_id,
            availability_zones=(ZONE,),
            private_subnet_ids=(subnet["SubnetId"],),
            security_group_ids=(group_id,),
        ),
        cluster=ExistingCluster(name="shared"),
        airflow=AirflowTarget(dags_bucket="airflow", dags_prefix="dags", role_arn=role),
        permissions_boundary_arn=boundary,
        keeps_data_on_destroy=False,
        projects=(
            DbtProject(name="bookshop", path=BOOKSHOP, credentials=GlueConnection("warehouse"), schema="analytics"),
        ),
    )
    return Account(environment, subnet["SubnetId"], table_id)


def _policy() -> str:
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _connection(**properties: str) -> dict[str, Any]:
    url = "jdbc:redshift://warehouse.example.com:5439/analytics"
    return {
        "Name": "warehouse",
        "ConnectionType": "JDBC",
        "ConnectionProperties": {"JDBC_CONNECTION_URL": url, **properties},
    }


def _delete_endpoint(account: Account, service: str) -> None:
    ec2 = account.client("ec2")
    (found,) = (
        endpoint["VpcEndpointId"]
        for endpoint in ec2.describe_vpc_endpoints()["VpcEndpoints"]
        if endpoint["ServiceName"].endswith(f".{service}")
    )
    ec2.delete_vpc_endpoints(VpcEndpointIds=[found])


def _route(account: Account, **target: str) -> None:
    account.client("ec2").create_route(RouteTableId=account.route_table_id, DestinationCidrBlock="0.0.0.0/0", **target)


def _lead_to_the_internet(account: Account) -> None:
    gateway = account.client("ec2").create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    _route(account, GatewayId=gateway)


def _use_connection(account: Account, **properties: str) -> None:
    # moto cannot change the one that is there.
    account.client("glue").create_connection(ConnectionInput={**_connection(**properties), "Name": "another"})
    account.say_of_project(credentials=GlueConnection("another"))


def _use_secret(account: Account, **fields: str) -> None:
    arn = account.client("secretsmanager").create_secret(Name="dbt", SecretString=json.dumps(fields))["ARN"]
    # moto's endpoints are those of Glue alone.
    _lead_out_by_nat(account)
    account.say_of_project(credentials=SecretsManagerSecret(secret_arn=arn))


def _lead_out_by_nat(account: Account) -> None:
    ec2 = account.client("ec2")
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    gateway = ec2.create_nat_gateway(SubnetId=account.subnet_id, AllocationId=address)["NatGateway"]["NatGatewayId"]
    _route(account, NatGatewayId=gateway)


_OF_SERVICES: dict[str, list[str]] = {
    f"logs.{REGION}.amazonaws.com": [
        "kms:Encrypt",
        "kms:Decrypt",
        "kms:ReEncrypt*",
        "kms:GenerateDataKey*",
        "kms:Describe*",
    ],
    "cloudwatch.amazonaws.com": ["kms:Decrypt", "kms:GenerateDataKey*"],
    "events.amazonaws.com": ["kms:*"],
}


def _use_key(account: Account, without: str = "", *, of_roles: bool = True, **key: Any) -> str:  # noqa: ANN401 - boto3's
    """Encrypt with a key that is there already, whose policy leaves out the service `without`; returns its ARN."""
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": actions, "Resource": "*"}
        for service, actions in _OF_SERVICES.items()
        if not without or not service.startswith(without)
    ]
    if of_roles:
        root = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        statements.append({"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"})
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    arn = str(account.client("kms").create_key(Policy=policy, **key)["KeyMetadata"]["Arn"])
    account.say(encryption_key=ExistingKey(arn=arn))
    return arn


def test_finds_a_key_that_everyone_may_use_who_has_to(account: Account) -> None:
    """Both lines: that it is there and enabled, and that its policy names the services and the account."""
    arn = _use_key(account)

    assert account.findings(Verdict.WRONG) == []
    assert f"the key {arn} is enabled and encrypts" in account.findings(Verdict.FINE)
    assert "the policy of the key names every service that has to use it; its conditions were not looked at" in (
        account.findings(Verdict.FINE)
    )


def test_finds_nothing_wrong_with_an_account_that_is_as_its_settings_say(account: Account) -> None:
    """Every check has its line, and none is about something wrong or unknown."""
    assert account.findings(Verdict.WRONG) == []
    assert account.findings(Verdict.UNKNOWN) == []
    assert len(account.findings(Verdict.FINE)) == 11


WRONG: dict[str, tuple[Callable[[Account], object], str]] = {
    "not bootstrapped": (
        lambda account: account.client("ssm").delete_parameter(Name="/cdk-bootstrap/hnb659fds/version"),
        "the CDK is not bootstrapped here: run `make bootstrap ENV=dev`",
    ),
    "old bootstrap": (
        lambda account: account.client("ssm").put_parameter(
            Name="/cdk-bootstrap/hnb659fds/version", Value="5", Overwrite=True
        ),
        "has version 5, 6 is needed",
    ),
    "no boundary": (
        lambda account: account.say(permissions_boundary_arn=f"arn:aws:iam::{ACCOUNT}:policy/none"),
        "permissions_boundary_arn names arn:aws:iam::123456789012:policy/none, which does not exist",
    ),
    "no key": (
        lambda account: account.say(
            encryption_key=ExistingKey(arn=f"arn:aws:kms:{REGION}:{ACCOUNT}:key/01234567-89ab-cdef-0123-456789abcdef")
        ),
        "key/01234567-89ab-cdef-0123-456789abcdef, which does not exist",
    ),
    "disabled key": (
        lambda account: account.client("kms").disable_key(KeyId=_use_key(account).rpartition("/")[2]),
        "is in state Disabled, Enabled is needed",
    ),
    "key that goes": (
        lambda account: account.client("kms").schedule_key_deletion(KeyId=_use_key(account).rpartition("/")[2]),
        "is in state PendingDeletion, Enabled is needed",
    ),
    "key that signs": (
        lambda account: _use_key(account, KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048"),
        "is for SIGN_VERIFY with RSA_2048: name a symmetric key that encrypts",
    ),
    "key without logs": (
        lambda account: _use_key(account, "logs"),
        f"does not let logs.{REGION}.amazonaws.com (kms:Encrypt, kms:Decrypt, kms:GenerateDataKey, kms:DescribeKey) use it",
    ),
    "key without events": (
        lambda account: _use_key(account, "events"),
        "does not let events.amazonaws.com (kms:Decrypt",
    ),
    "key without roles": (
        lambda account: _use_key(account, of_roles=False),
        f"does not let roles of account {ACCOUNT} (kms:Decrypt, kms:GenerateDataKey) use it",
    ),
    "no VPC": (
        lambda account: account.say_of_network(vpc_id="vpc-00000000"),
        "vpc_id names vpc-00000000, which is not in eu-central-1 of this account",
    ),
    "no subnet": (
        lambda account: account.say_of_network(private_subnet_ids=("subnet-00000000",)),
        "private_subnet_ids names subnet-00000000",
    ),
    "another zone": (
        lambda account: account.say_of_network(availability_zones=(f"{REGION}b",)),
        "is in eu-central-1a, which availability_zones does not name",
    ),
    "no zone": (
        lambda account: account.say(network=OwnNetwork(cidr="10.0.0.0/16", availability_zones=(f"{REGION}z",))),
        "availability_zones names eu-central-1z, which this account does not have in eu-central-1: choose of eu-central-1a",
    ),
    "no endpoint": (
        lambda account: _delete_endpoint(account, "glue"),
        "no endpoint com.amazonaws.eu-central-1.glue: add an interface endpoint with private DNS, or a NAT gateway",
    ),
    "no S3 endpoint": (
        lambda account: _delete_endpoint(account, "s3"),
        "no endpoint com.amazonaws.eu-central-1.s3: add a gateway endpoint with route table rtb-",
    ),
    "public subnet": (_lead_to_the_internet, "leads to the internet by igw-"),
    "no security group": (
        lambda account: account.say_of_network(security_group_ids=("sg-00000000",)),
        "security_group_ids names sg-00000000",
    ),
    "no cluster": (
        lambda account: account.say(cluster=ExistingCluster(name="none")),
        "cluster none is not there or not active",
    ),
    "no Spot": (
        lambda account: account.say_of_project(capacity="fargate_spot"),
        "cluster shared does not offer FARGATE_SPOT",
    ),
    "no connection": (
        lambda account: account.say_of_project(credentials=GlueConnection("none")),
        "glue:GetConnection on Glue connection 'none'",
    ),
    "connection without a password": (
        lambda account: _use_connection(account, USERNAME="dbt"),
        "project 'bookshop': Glue connection 'another' has no password",
    ),
    "secret without a field": (
        lambda account: _use_secret(account, username="dbt", host="h", dbname="d"),
        "'password'",
    ),
    "no bucket": (
        lambda account: account.client("s3").delete_bucket(Bucket="airflow"),
        "dags_bucket names airflow, which does not exist",
    ),
    "no Airflow role": (
        lambda account: account.client("iam").delete_role(RoleName="airflow"),
        "role_arn names arn:aws:iam::123456789012:role/airflow, which does not exist",
    ),
}


@pytest.mark.parametrize(("harm", "expected"), WRONG.values(), ids=WRONG)
def test_says_what_is_wrong_and_what_to_do(account: Account, harm: Callable[[Account], object], expected: str) -> None:
    """One thing that is wrong is one sentence that names it."""
    harm(account)

    (found,) = account.findings(Verdict.WRONG)
    assert expected in found


def test_says_that_a_connection_needs_a_grant_that_the_settings_lack(account: Account) -> None:
    """A secret that a Glue connection refers to must be in the settings, or the task may not read it."""
    fields = json.dumps({"username": "dbt", "password": PASSWORD})
    arn = account.client("secretsmanager").create_secret(Name="warehouse/dbt", SecretString=fields)["ARN"]
    _use_connection(account, SECRET_ID="warehouse/dbt")

    (found,) = account.findings(Verdict.WRONG)
    account.say_of_project(credentials=GlueConnection("warehouse", secret_arn=arn))
    _lead_out_by_nat(account)

    assert "refers to the secret 'warehouse/dbt', which its role may not read" in found
    assert account.findings(Verdict.WRONG) == []


def test_looks_at_nothing_else_with_credentials_of_another_account(account: Account) -> None:
    """The first thing that can be wrong is the account, and then nothing else means anything."""
    account.say(account="999999999999")

    (finding,) = preflight(account.environment)
    assert finding.verdict is Verdict.WRONG
    assert "of account 123456789012; environment 'dev' is account 999999999999" in finding.text


@pytest.mark.parametrize("credentials", ["glue", "secret", "ssm"])
def test_never_shows_a_password(account: Account, credentials: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The credentials are read as the container reads them, and only the warehouse's address is told."""
    if credentials == "secret":
        _use_secret(account, username="dbt", password=PASSWORD, host="warehouse.example.com", dbname="analytics")
    if credentials == "ssm":
        _lead_out_by_nat(account)
        values = {"host": "warehouse.example.com", "database": "analytics", "user": "dbt", "password": PASSWORD}
        for name, value in values.items():
            account.client("ssm").put_parameter(Name=f"/dbt/{name}", Value=value, Type="SecureString")
        account.say_of_project(credentials=SsmParameters(path="/dbt/"))

    assert report(preflight(account.environment)) == 0
    told = capsys.readouterr().out
    assert "credentials for warehouse.example.com:5439/analytics are complete" in told
    assert PASSWORD not in told


def test_a_refusal_is_unknown_and_not_wrong(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not look at something is told so; it may be all right."""

    def refuse(_self: object, operation: str, _arguments: object) -> None:
        if operation == "GetRole":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not for you"}}, operation)
        raise AssertionError(f"{operation} was not expected")

    monkeypatch.setattr("preflight.__main__._CHECKS", _only_the_role())
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", _with_identity(refuse))

    assert account.findings(Verdict.WRONG) == []
    assert account.findings(Verdict.UNKNOWN) == [f"Airflow's role arn:aws:iam::{ACCOUNT}:role/airflow: not for you"]


def _only_the_role() -> tuple[Callable[..., Iterator[Finding]], ...]:
    from preflight.airflow import _check_role  # noqa: PLC0415 - private, for this test alone

    return (lambda clients, environment: _check_role(clients, environment, environment.airflow),)


def _with_identity(otherwise: Callable[[object, str, object], None]) -> Callable[[object, str, object], object]:
    identity = {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/engineer"}
    return lambda self, operation, arguments: (
        identity if operation == "GetCallerIdentity" else otherwise(self, operation, arguments)
    )


def test_exit_code_says_whether_anything_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """CI can stop on it; what is unknown does not stop it."""
    fine, unknown, wrong = (Finding(verdict, "x") for verdict in (Verdict.FINE, Verdict.UNKNOWN, Verdict.WRONG))

    assert [report([fine, unknown]), report([fine, wrong])] == [0, 1]
    assert "1 ok, 1 wrong" in capsys.readouterr().out
