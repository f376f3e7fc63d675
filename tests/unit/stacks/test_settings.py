"""Wrong settings stop before anything is deployed, and say what was got and what is allowed."""

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from constructs_lib.pipeline import Step, StepName, StepPolicy
from constructs_lib.settings_error import SettingsError
from stacks.environments import ENVIRONMENTS
from stacks.settings import (
    AirflowTarget,
    DbtProject,
    Environment,
    ExistingCluster,
    ExistingKey,
    ExistingNetwork,
    OwnNetwork,
    WarehouseEgress,
    check_together,
)
from tests.unit.stacks.settings_of_a_stranger import NETWORK, environment, project

_ANALYST = "arn:aws:iam::333333333333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Analyst_0a1b"


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "Book Shop", "got 'Book Shop'"),
        ("name", "shop-eu", "got 'shop-eu'"),
        ("name", "shop__eu", "got 'shop__eu'"),
        ("name", "shop_", "got 'shop_'"),
        ("name", "1shop", "got '1shop'"),
        ("name", "", "got ''"),
        ("name", "s" * 42, "1 to 41"),
        ("path", "projects/bookshop", "path must be a Path, got 'projects/bookshop'"),
        ("path", Path("/nowhere"), "dbt_project.yml, got '/nowhere'"),
        (
            "credentials",
            "warehouse",
            "GlueConnection, SecretsManagerSecret, SsmParameters, RedshiftIam, got 'warehouse'",
        ),
        ("schema", "my schema", "got 'my schema'"),
        ("schedule", "0 5 * * * *", "five numeric fields"),
        ("schedule", "0 5 * *", "five numeric fields"),
        ("schedule", "@daily", "got '@daily'"),
        ("schedule", "0 5 * * MON", "got '0 5 * * MON'"),
        ("schedule", "0 25 * * *", "got '0 25 * * *'"),
        ("schedule", "every day", "got 'every day'"),
        ("schedule", "0 0 31 2 *", "a time that comes, got '0 0 31 2 *'"),
        ("schedule", 5, "got 5"),
        ("time_zone", "Europe/Berlim", "did you mean 'Europe/Berlin'?"),
        ("time_zone", "CEST+1", "got 'CEST+1'"),
        ("cpu_architecture", "amd64", "one of 'x86_64', 'arm64', got 'amd64'"),
        ("scheduler", "cron", "got 'cron'"),
        ("scheduler", "eventbridge", "schedule must be given where scheduler is 'eventbridge', got None"),
        ("render", "models", "one of 'nodes', 'run', got 'models'"),
        ("notify", ("#data",), "SlackChannel or SnsTopic, got '#data'"),
        ("capacity", "spot", "one of 'fargate', 'fargate_spot', got 'spot'"),
        ("steps", (), "at least one step"),
        ("steps", (Step(name="build"), Step(name="build")), "got 'build' more than once"),
        ("threads", 0, "from 1 to 128, got 0"),
        ("threads", "4", "got '4'"),
        ("deadline", 7200, "got 7200"),
        ("deadline", timedelta(seconds=59), "from one minute"),
        ("deadline", timedelta(days=8), "to seven days"),
    ],
)
def test_rejects_wrong_value_of_a_project(tiny_project: Path, field: str, value: object, words: str) -> None:
    """Each wrong value of a project is refused in words that name the value."""
    with pytest.raises(SettingsError) as error:
        project(tiny_project, **{field: value})

    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "Live", "got 'Live'"),
        ("name", "live_eu", "got 'live_eu'"),
        ("name", "live--eu", "got 'live--eu'"),
        ("name", "l" * 22, "1 to 21"),
        ("name", "sandbox", "an analyst's own schema"),
        ("account", "12345678901", "12 digits, got '12345678901'"),
        ("account", 111111111111, "12 digits, got 111111111111"),
        ("account", "1111-1111-1111", "12 digits"),
        ("region", "eu-centrall-1", "did you mean 'eu-central-1'?"),
        ("region", "Frankfurt", "got 'Frankfurt'"),
        ("region", "eu-central-1", "a zone of region 'eu-central-1', got 'eu-west-1a'"),
        ("projects", (), "at least one dbt project"),
        ("airflow", None, "project 'tiny' has scheduler 'airflow', but the environment's airflow is None"),
        ("alert_emails", ("on-call",), "an email address, got 'on-call'"),
        ("alert_emails", ("a@example.com", "a@example.com"), "more than once"),
        ("runbook_url", "https://example.com/#page", "got 'https://example.com/#page'"),
        ("start_within", timedelta(minutes=16), "from 1 to 15 minutes, got"),
        ("start_within", 900, "got 900"),
        ("records_retention_days", 0, "from 1, got 0"),
        (
            "encryption_key",
            ExistingKey(arn="arn:aws:kms:eu-west-2:333333333333:key/01234567-89ab-cdef-0123-456789abcdef"),
            "a key of region 'eu-west-1', got 'arn:aws:kms:eu-west-2:333333333333:key/01234567-89ab-cdef-0123-456789abcdef'",
        ),
        ("encryption_key", "alias/data", "OwnKey, ExistingKey or None, got 'alias/data'"),
        ("images_kept", 0, "at least 1, got 0"),
        ("permissions_boundary_arn", "boundary", "the ARN of an IAM policy, got 'boundary'"),
        ("role_path", "data/", "'/data/', beginning and ending with '/', got 'data/'"),
    ],
)
def test_rejects_wrong_value_of_an_environment(tiny_project: Path, field: str, value: object, words: str) -> None:
    """Each wrong value of an environment is refused in words that name the value."""
    with pytest.raises(SettingsError) as error:
        environment(tiny_project, **{field: value})

    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_error_names_environment_and_project(tiny_project: Path) -> None:
    """With many projects, the error says which one is meant."""
    with pytest.raises(SettingsError, match=r"^project 'tiny': threads must be"):
        project(tiny_project, threads=-1)
    with pytest.raises(SettingsError, match=r"^environment 'try': account must be"):
        environment(tiny_project, account="1")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vpc_id": "my-vpc"}, "got 'my-vpc'"),
        ({"private_subnet_ids": ("subnet-1", "subnet-2")}, "got 'subnet-1'"),
        ({"security_group_ids": ("default",)}, "got 'default'"),
        ({"availability_zones": ()}, "got 2 subnets for 0 availability zones"),
        ({"private_subnet_ids": ()}, "got 0 subnets for 2 availability zones"),
        ({"private_subnet_ids": ("subnet-0123456789abcdef0",)}, "got 1 subnets for 2 availability zones"),
        ({"private_subnet_ids": ("subnet-0123456789abcdef0",) * 2}, "more than once"),
    ],
)
def test_rejects_wrong_existing_network(changes: dict[str, Any], words: str) -> None:
    """Ids of another kind, and subnets that do not match the zones, are refused."""
    with pytest.raises(SettingsError) as error:
        ExistingNetwork(**{**NETWORK, **changes})

    assert words in str(error.value)


@pytest.mark.parametrize(
    ("cidr", "zones", "words"),
    [
        ("10.0.0.0", ("eu-west-1a",), "got '10.0.0.0'"),
        ("10.0.0.1/16", ("eu-west-1a",), "got '10.0.0.1/16'"),
        ("10.0.0.0/8", ("eu-west-1a",), "from /16 to /24"),
        ("ten", ("eu-west-1a",), "got 'ten'"),
        ("10.0.0.0/16", (), "at least one zone"),
    ],
)
def test_rejects_wrong_own_network(cidr: str, zones: tuple[str, ...], words: str) -> None:
    """A range that cannot be a VPC's is refused."""
    with pytest.raises(SettingsError) as error:
        OwnNetwork(cidr=cidr, availability_zones=zones)

    assert words in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [{"dags_bucket": "My_Bucket"}, {"dags_prefix": "/dags"}, {"dags_prefix": "dags/"}, {"role_arn": "airflow"}],
    ids=str,
)
def test_rejects_wrong_airflow_target(changes: dict[str, str]) -> None:
    """A bucket, folder or role that cannot exist is refused."""
    values = {"dags_bucket": "airflow", "dags_prefix": "dags", "role_arn": "arn:aws:iam::111111111111:role/airflow"}

    with pytest.raises(SettingsError, match=next(iter(changes))):
        AirflowTarget(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"analyst_role_arns": ("ana",)}, "an analyst's role must be the ARN of an IAM role, got 'ana'"),
        ({"analyst_role_arns": (_ANALYST, _ANALYST)}, "analyst_role_arns must differ"),
        ({"analyst_role_arns": (_ANALYST,), "airflow": None}, "analyst_role_arns needs an airflow"),
    ],
    ids=["no role", "twice", "no Airflow"],
)
def test_rejects_analysts_who_could_not_start_a_run(tiny_project: Path, changes: dict[str, object], words: str) -> None:
    """A role that IAM cannot know, or an environment without launch roles, is refused before a deployment."""
    with pytest.raises(SettingsError, match=words):
        environment(tiny_project, projects=(project(tiny_project, scheduler="none"),), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"port": 0},
        {"port": 65536},
        {"cidr": "10.0.0.0/33"},
        {"security_group_id": "warehouse"},
        {"cidr": "10.0.0.0/8", "security_group_id": "sg-01234567"},
    ],
    ids=str,
)
def test_rejects_wrong_warehouse_egress(changes: dict[str, Any]) -> None:
    """A port, a range or a group that cannot be, or two peers at once, are refused."""
    with pytest.raises(SettingsError):
        WarehouseEgress(**changes)


def test_rejects_wrong_cluster_name() -> None:
    """An ARN is no cluster's name."""
    with pytest.raises(SettingsError, match="a cluster's name"):
        ExistingCluster(name="arn:aws:ecs:eu-west-1:111111111111:cluster/shared")


def test_rejects_what_is_no_key() -> None:
    """S3 would look for an alias in the account of whoever writes."""
    with pytest.raises(SettingsError, match="a key's arn must be the ARN of a KMS key"):
        ExistingKey(arn="arn:aws:kms:eu-west-1:333333333333:alias/data")


@pytest.mark.parametrize(("name", "policy"), [("deploy", "must_pass"), ("build", "optional")])
def test_rejects_unknown_steps_and_policies(name: StepName, policy: StepPolicy) -> None:
    """A step that the runner does not know would fail at night."""
    with pytest.raises(SettingsError, match="must be one of"):
        Step(name=name, policy=policy)


def test_rejects_two_projects_of_one_name(tiny_project: Path) -> None:
    """Two projects of one name would be one stack."""
    with pytest.raises(SettingsError, match="the names of projects must differ, got 'tiny' more than once"):
        environment(tiny_project, projects=(project(tiny_project), project(tiny_project)))


def test_rejects_two_environments_of_one_name(tiny_project: Path) -> None:
    """Two environments of one name would be one stage."""
    with pytest.raises(SettingsError, match="the names of environments must differ, got 'try' more than once"):
        check_together((environment(tiny_project), environment(tiny_project)))


def test_rejects_environments_whose_stacks_would_have_one_name(tiny_project: Path) -> None:
    """`a` with project `b_dbt_c` and `a-dbt-b` with project `c` would both deploy stack `a-dbt-b-dbt-c`."""
    first = environment(tiny_project, name="a", projects=(project(tiny_project, name="b_dbt_c"),))
    second = environment(tiny_project, name="a-dbt-b", projects=(project(tiny_project, name="c"),))

    with pytest.raises(SettingsError, match="the names of stacks must differ, got 'a-dbt-b-dbt-c'"):
        check_together((first, second))


def test_rejects_environments_whose_dags_would_have_one_id(tiny_project: Path) -> None:
    """Two environments may share an Airflow; `dbt_dev_a_b` can be only one of `dev` `a_b` and `dev-a` `b`."""
    first = environment(tiny_project, name="dev", projects=(project(tiny_project, name="a_b"),))
    second = environment(tiny_project, name="dev-a", projects=(project(tiny_project, name="b"),))

    with pytest.raises(SettingsError, match="the ids of DAGs must differ, got 'dbt_dev_a_b'"):
        check_together((first, second))


@pytest.mark.parametrize("schedule", ["0 5 * * *", "*/15 6-20 * * 1-5", "0 0 29 2 *", "5,35 * 1 */3 0", None])
def test_accepts_schedules_that_all_schedulers_read_alike(tiny_project: Path, schedule: str | None) -> None:
    """Five numeric fields, or none."""
    assert schedule == project(tiny_project, schedule=schedule).schedule


def test_path_may_be_outside_of_the_repository(tiny_project: Path) -> None:
    """A project may live anywhere; a relative path counts from the repository."""
    assert tiny_project.resolve() == project(tiny_project).folder
    assert Path(__file__).resolve().parents[3] / "projects" / "bookshop" == project(Path("projects/bookshop")).folder


def test_settings_cannot_be_changed_once_checked(tiny_project: Path) -> None:
    """What was checked is what is deployed."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        project(tiny_project).name = "other"  # type: ignore[misc]


def test_examples_go_together() -> None:
    """The environments that ship are valid side by side."""
    check_together(ENVIRONMENTS)

    assert [settings.name for settings in ENVIRONMENTS] == ["dev", "live", "local"]


def test_publishing_role_is_found_below_the_role_path(tiny_project: Path) -> None:
    """The CDK CLI must be told the role's whole ARN, with the path that an account demands."""
    settings = environment(tiny_project, role_path="/data/dbt/")

    assert settings.role_arn("x") == "arn:aws:iam::333333333333:role/data/dbt/x"


@pytest.mark.parametrize("settings", [Environment, DbtProject], ids=lambda settings: settings.__name__)
def test_every_setting_is_explained(settings: type[Environment | DbtProject]) -> None:
    """docs/settings.md has a line for each field."""
    text = (Path(__file__).resolve().parents[3] / "docs" / "settings.md").read_text()

    assert [field.name for field in dataclasses.fields(settings) if f"`{field.name}`" not in text] == []
