"""The types of the settings: what can be said about an environment and its dbt projects, and what is refused."""

import difflib
import functools
import ipaddress
import re
import zoneinfo
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from aws_cdk import RemovalPolicy, region_info
from aws_cdk import aws_logs as logs
from croniter import CroniterBadDateError, CroniterError, croniter

from constructs_lib.ci_access import Pipeline
from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.dbt_requirements import DbtRequirements
from constructs_lib.notifications import Recipient
from constructs_lib.openlineage import OpenLineage
from constructs_lib.pages_access import PagesHosting
from constructs_lib.pipeline import DEFAULT_STEPS, Step
from constructs_lib.repository import REPOSITORY
from constructs_lib.settings_error import SettingsError, check_one_of
from constructs_lib.task_size import CpuArchitecture, TaskSize
from constructs_lib.warehouse_credentials import KEY_ARN, WarehouseCredentials
from stacks import names

Scheduler = Literal["airflow", "eventbridge", "none"]
Render = Literal["nodes", "run"]
Capacity = Literal["fargate", "fargate_spot"]

_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_KEY_PREFIX = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*|")
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/([\w+=,.@-]+/)*[\w+=,.@-]{1,64}", re.ASCII)
_POLICY_ARN = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/([\w+=,.@-]+/)*[\w+=,.@-]{1,128}", re.ASCII)
_ROLE_PATH = re.compile(r"/([\w+=,.@-]+/)+", re.ASCII)
_LONGEST_ROLE_NAME = 64
_AWS_ID = "{}-[0-9a-f]{{8}}([0-9a-f]{{9}})?"


def _check(setting: str, value: object, pattern: str | re.Pattern[str], expected: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise SettingsError(f"{setting} must be {expected}, got {value!r}")


def _check_unique(setting: str, values: Sequence[str]) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise SettingsError(f"{setting} must differ, got {', '.join(map(repr, repeated))} more than once")


def _check_cidr(setting: str, value: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(value)
    except ValueError as error:
        raise SettingsError(
            f"{setting} must be an IPv4 range such as '10.0.0.0/16', got {value!r} ({error})"
        ) from error


def _check_days(setting: str, value: object, *, minimum: int) -> None:
    if not isinstance(value, int) or value < minimum:
        raise SettingsError(f"{setting} must be a number of days from {minimum}, got {value!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExistingNetwork:
    """
    A VPC that is there already.

    `private_subnet_ids`: as many for each availability zone; they need a way to the AWS services that a task calls (endpoints
    or NAT) and to the warehouse. `security_group_ids`: what the tasks get. Default: one of our own per project, which lets out
    what the task needs and lets nothing in.
    """

    vpc_id: str
    availability_zones: tuple[str, ...]
    private_subnet_ids: tuple[str, ...]
    security_group_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse ids of another kind and subnets that do not match the zones."""
        _check("vpc_id", self.vpc_id, _AWS_ID.format("vpc"), "the id of a VPC, 'vpc-' and 8 or 17 hexadecimal digits")
        for subnet_id in self.private_subnet_ids:
            _check("a subnet id", subnet_id, _AWS_ID.format("subnet"), "'subnet-' and 8 or 17 hexadecimal digits")
        for group_id in self.security_group_ids:
            _check("a security group id", group_id, _AWS_ID.format("sg"), "'sg-' and 8 or 17 hexadecimal digits")
        _check_unique("private_subnet_ids", self.private_subnet_ids)
        zones, subnets = len(self.availability_zones), len(self.private_subnet_ids)
        if not zones or not subnets or subnets % zones:
            raise SettingsError(
                "private_subnet_ids must name as many subnets for each of the availability_zones, "
                f"got {subnets} subnets for {zones} availability zones"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnNetwork:
    """
    A VPC of our own: private subnets without a way to the internet, and the endpoints that the tasks need.

    The warehouse must be reachable from inside it, for example by a Redshift-managed endpoint or by peering.
    `flow_log_retention`: how long the VPC's flow logs are kept; None records none. Default: three months.
    """

    cidr: str
    availability_zones: tuple[str, ...]
    flow_log_retention: logs.RetentionDays | None = logs.RetentionDays.THREE_MONTHS

    def __post_init__(self) -> None:
        """Refuse a range that is too large for a VPC or too small for its subnets."""
        network = _check_cidr("cidr", self.cidr)
        if not 16 <= network.prefixlen <= 24:
            raise SettingsError(f"cidr must be a range from /16 to /24, got {self.cidr!r}")
        if not self.availability_zones:
            raise SettingsError("availability_zones must name at least one zone, got none")


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnKey:
    """
    A KMS key of our own for what an environment stores.

    `encrypts_images`: also the registries. False where they are deployed already: a registry's key cannot be changed.
    """

    encrypts_images: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ExistingKey:
    """
    A KMS key that is there already, in the environment's region; its policy must let AWS's services use it (docs/settings.md).

    `encrypts_images`: also the registries. False where they are deployed already: a registry's key cannot be changed.
    """

    arn: str
    encrypts_images: bool = True

    def __post_init__(self) -> None:
        """Refuse what is no key's ARN; S3 would take an alias for one of the caller's account."""
        _check(
            "a key's arn", self.arn, KEY_ARN, "the ARN of a KMS key such as 'arn:aws:kms:eu-west-1:111111111111:key/…'"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ExistingCluster:
    """An ECS cluster that is there already, in the environment's account and region; it must offer Fargate."""

    name: str

    def __post_init__(self) -> None:
        """Refuse what cannot name a cluster."""
        _check("a cluster's name", self.name, r"[A-Za-z0-9_-]{1,255}", "1 to 255 letters, digits, '-' or '_'")


@dataclass(frozen=True, kw_only=True, slots=True)
class AirflowTarget:
    """
    Where Airflow gets its DAG files from, and who Airflow is.

    `dags_prefix`: the folder in the bucket that Airflow reads as its dags folder; '' for the bucket's root.
    `role_arn`: what Airflow's workers and triggerer run as (Amazon MWAA: the execution role). Only it may assume launch roles.
    """

    dags_bucket: str
    dags_prefix: str
    role_arn: str

    def __post_init__(self) -> None:
        """Refuse what cannot name a bucket, a folder in it or a role."""
        _check("dags_bucket", self.dags_bucket, _BUCKET_NAME, "the name of an S3 bucket")
        _check("dags_prefix", self.dags_prefix, _KEY_PREFIX, "a path without '/' at its ends, or ''")
        _check("role_arn", self.role_arn, _ROLE_ARN, "the ARN of an IAM role")

    def key(self, folder: str) -> str:
        """The key of `folder` in Airflow's dags folder."""
        return f"{self.dags_prefix}/{folder}" if self.dags_prefix else folder


@dataclass(frozen=True, kw_only=True, slots=True)
class WarehouseEgress:
    """
    Where the tasks' security group lets them reach the warehouse: a port of an address range or of a security group.

    Default: Redshift's port, any address that the network has a route to.
    """

    port: int = 5439
    cidr: str | None = None
    security_group_id: str | None = None

    def __post_init__(self) -> None:
        """Refuse a port or a peer that cannot be."""
        if not isinstance(self.port, int) or not 1 <= self.port <= 65535:
            raise SettingsError(f"a warehouse port must be from 1 to 65535, got {self.port!r}")
        if self.cidr is not None and self.security_group_id is not None:
            raise SettingsError(
                f"WarehouseEgress takes either cidr or security_group_id, got {self.cidr!r} and {self.security_group_id!r}"
            )
        if self.cidr is not None:
            _check_cidr("a warehouse cidr", self.cidr)
        if self.security_group_id is not None:
            _check(
                "security_group_id",
                self.security_group_id,
                _AWS_ID.format("sg"),
                "'sg-' and 8 or 17 hexadecimal digits",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class DbtProject:
    """
    One dbt project and how it runs in one environment.

    `path`: the folder with its dbt_project.yml, absolute or relative to this repository.
    `schema`: the schema that dbt builds in (`target.schema`).
    `schedule`: a cron expression of five numeric fields in `time_zone`, or None for runs by hand only.
    `deadline`: how long a run may take before the container ends it, from one minute to a week.
    `scheduler`: "airflow" deploys a DAG into the environment's Airflow; "eventbridge" starts runs without one; "none" deploys the
    task only.
    `render`: what the DAG shows, one task for each model ("nodes") or one for the run ("run").
    `updates_assets`: whether Airflow's assets are updated with what is built, so that other DAGs can be scheduled on it.
    `notify`: whom Airflow tells of runs that are red, of the first green one after, and of stale sources.
    `capacity`: "fargate_spot" costs about a third, and a run may be interrupted; it then resumes.
    `has_dashboard`: whether CloudWatch gets a page of this project.
    `lineage`: the OpenLineage server that hears of its runs.
    `requirements`: the project's own versions of dbt and the adapter, a file with all packages of its image and their hashes,
    absolute or relative to this repository. Default: container/requirements.txt, and the image's layers are shared.
    """

    name: str
    path: Path
    credentials: WarehouseCredentials
    schema: str
    schedule: str | None = None
    time_zone: str = "UTC"
    size: TaskSize = field(default_factory=lambda: TaskSize(cpu_units=1024, memory_mib=2048))
    cpu_architecture: CpuArchitecture = "x86_64"
    steps: tuple[Step, ...] = DEFAULT_STEPS
    threads: int = 4
    deadline: timedelta = timedelta(hours=2)
    scheduler: Scheduler = "airflow"
    render: Render = "nodes"
    updates_assets: bool = True
    notify: tuple[Recipient, ...] = ()
    capacity: Capacity = "fargate"
    has_dashboard: bool = True
    lineage: OpenLineage | None = None
    warehouse_egress: WarehouseEgress = field(default_factory=WarehouseEgress)
    requirements: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be deployed; the error names the project."""
        _check(
            "a project's name",
            self.name,
            r"(?=.{1,41}$)[a-z][a-z0-9]*(_[a-z0-9]+)*",
            "1 to 41 lower-case letters, digits or single '_' between them, beginning with a letter",
        )
        try:
            self._check_values()
        except SettingsError as error:
            raise SettingsError(f"project {self.name!r}: {error}") from error

    def _check_values(self) -> None:
        if not isinstance(self.path, Path):
            raise SettingsError(f"path must be a Path, got {self.path!r}")
        if not isinstance(self.credentials, WarehouseCredentials):
            raise SettingsError(
                "credentials must be one of "
                f"{', '.join(kind.__name__ for kind in get_args(WarehouseCredentials))}, got {self.credentials!r}"
            )
        DbtProjectFiles(self.folder)
        self._check_requirements()
        _check(
            "schema",
            self.schema,
            r"[A-Za-z_][A-Za-z0-9_$]{0,126}",
            "a schema's name of letters, digits, '_' or '$', at most 127",
        )
        _check_schedule(self.schedule)
        _check_time_zone(self.time_zone)
        check_one_of("cpu_architecture", self.cpu_architecture, get_args(CpuArchitecture))
        check_one_of("scheduler", self.scheduler, get_args(Scheduler))
        if self.scheduler == "eventbridge" and self.schedule is None:
            raise SettingsError("schedule must be given where scheduler is 'eventbridge', got None")
        check_one_of("render", self.render, get_args(Render))
        self._check_those_who_are_told()
        check_one_of("capacity", self.capacity, get_args(Capacity))
        if not self.steps:
            raise SettingsError("steps must name at least one step, got none")
        _check_unique("the names of steps", [step.name for step in self.steps])
        if not isinstance(self.threads, int) or not 1 <= self.threads <= 128:
            raise SettingsError(f"threads must be from 1 to 128, got {self.threads!r}")
        if not isinstance(self.deadline, timedelta) or not timedelta(minutes=1) <= self.deadline <= timedelta(days=7):
            raise SettingsError(f"deadline must be a timedelta from one minute to seven days, got {self.deadline!r}")

    def _check_those_who_are_told(self) -> None:
        for recipient in self.notify:
            if not isinstance(recipient, Recipient):
                raise SettingsError(f"notify must hold SlackChannel or SnsTopic, got {recipient!r}")
        if self.notify and self.scheduler != "airflow":
            raise SettingsError(
                f"notify needs scheduler 'airflow', got {self.scheduler!r}; the environment's alerts tell of failures without Airflow"
            )
        if self.lineage is not None and not isinstance(self.lineage, OpenLineage):
            raise SettingsError(f"lineage must be OpenLineage or None, got {self.lineage!r}")

    def _check_requirements(self) -> None:
        if self.requirements is not None and not isinstance(self.requirements, Path):
            raise SettingsError(f"requirements must be a Path or None, got {self.requirements!r}")
        locked = self.locked_requirements
        if locked is not None and self.lineage is not None:
            locked.check_lineage()

    @property
    def locked_requirements(self) -> DbtRequirements | None:
        """The packages of its image, if it pins its own."""
        return DbtRequirements((REPOSITORY / self.requirements).resolve()) if self.requirements is not None else None

    @property
    def folder(self) -> Path:
        """The project's folder as an absolute path."""
        return (REPOSITORY / self.path).resolve()


def _check_schedule(schedule: str | None) -> None:
    if schedule is None:
        return
    # EventBridge, croniter and Airflow disagree about names, '?', 'L', '#' and a sixth field: what all read alike is allowed.
    _check(
        "schedule",
        schedule,
        r"[0-9*/,-]+( [0-9*/,-]+){4}",
        "a cron expression of five numeric fields such as '0 5 * * 1-5', or None",
    )
    try:
        croniter(schedule, datetime(2026, 1, 1, tzinfo=UTC)).get_next()
    except CroniterBadDateError as error:
        raise SettingsError(f"schedule must be a time that comes, got {schedule!r}") from error
    except CroniterError as error:
        raise SettingsError(f"schedule must be a cron expression of five fields, got {schedule!r} ({error})") from error


def _check_time_zone(time_zone: str) -> None:
    known = _time_zones()
    if time_zone not in known:
        raise SettingsError(
            f"time_zone must be a name of the IANA time zone database such as 'Europe/Berlin', got {time_zone!r}"
            + _suggestion(time_zone, known)
        )


@functools.cache
def _time_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


@functools.cache
def _region_names() -> frozenset[str]:
    return frozenset(region.name for region in region_info.RegionInfo.regions)


def _suggestion(value: object, known: Collection[str]) -> str:
    close = difflib.get_close_matches(str(value), sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """
    One account, or one of several environments in an account, and the dbt projects that run there.

    `encryption_key`: what encrypts records, logs, alerts, queues and images. Default: keys of AWS, which cost nothing.
    `airflow`: None where there is no Airflow; all projects then need another scheduler.
    `analyst_role_arns`: the roles of people, or of CI, that may start, watch and stop runs as Airflow does (`make run`).
    `alert_emails`: who hears of failures; each address has to confirm the subscription once.
    `runbook_url`: where the texts of alarms link to. Default: the path of the runbook in this repository.
    `start_within`: how long after its time a run's container may be started before someone hears, up to 15 minutes, the longest
    that a message of SQS can be delayed. Default: 15 minutes.
    `records_retention_days`: how long run records and docs are kept. Default: 400 days.
    `log_retention`: how long containers' logs are kept. Default: three months.
    `images_kept`: how many images of each project are kept; rolling back needs them. Default: 20.
    `keeps_data_on_destroy`: whether bucket, registry and logs outlive `cdk destroy`.
    `permissions_boundary_arn`, `role_path`: for accounts that demand them of every role.
    `pages`: who may read reports, docs and portal in a browser, over CloudFront. Default: nobody; `make docs` shows them.
    `ci`: the pipeline that deploys the environment, without a key. Default: none; who deploys has credentials of their own.
    """

    name: str
    account: str
    region: str
    network: ExistingNetwork | OwnNetwork
    projects: tuple[DbtProject, ...]
    keeps_data_on_destroy: bool
    cluster: ExistingCluster | None = None
    encryption_key: OwnKey | ExistingKey | None = None
    airflow: AirflowTarget | None = None
    analyst_role_arns: tuple[str, ...] = ()
    alert_emails: tuple[str, ...] = ()
    runbook_url: str = "docs/runbook.md"
    start_within: timedelta = timedelta(minutes=15)
    records_retention_days: int = 400
    log_retention: logs.RetentionDays = logs.RetentionDays.THREE_MONTHS
    images_kept: int = 20
    permissions_boundary_arn: str | None = None
    role_path: str | None = None
    pages: PagesHosting | None = None
    ci: Pipeline | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be deployed; the error names the environment."""
        _check(
            "an environment's name",
            self.name,
            r"(?=.{1,21}$)[a-z][a-z0-9]*(-[a-z0-9]+)*",
            "1 to 21 lower-case letters, digits or single '-' between them, beginning with a letter",
        )
        if self.name == "sandbox":
            raise SettingsError(
                "an environment's name must not be 'sandbox': dbt projects know it as an analyst's own schema"
            )
        try:
            self._check_values()
        except SettingsError as error:
            raise SettingsError(f"environment {self.name!r}: {error}") from error

    def _check_values(self) -> None:
        _check("account", self.account, r"\d{12}", "an AWS account id, a string of 12 digits")
        if self.region not in _region_names():
            raise SettingsError(
                f"region must be the name of an AWS region such as 'eu-central-1', got {self.region!r}"
                + _suggestion(self.region, _region_names())
            )
        for zone in self.network.availability_zones:
            _check("an availability zone", zone, rf"{self.region}[a-z]", f"a zone of region {self.region!r}")
        _check_unique("availability_zones", self.network.availability_zones)
        if not self.projects:
            raise SettingsError("projects must name at least one dbt project, got none")
        _check_unique("the names of projects", [project.name for project in self.projects])
        for project in self.projects:
            if project.scheduler == "airflow" and self.airflow is None:
                raise SettingsError(
                    f"project {project.name!r} has scheduler 'airflow', but the environment's airflow is None; "
                    "give an AirflowTarget or another scheduler"
                )
        self._check_encryption_key()
        self._check_pages()
        self._check_analysts()
        self._check_alerts()
        self._check_ci()
        _check_days("records_retention_days", self.records_retention_days, minimum=1)
        if not isinstance(self.images_kept, int) or self.images_kept < 1:
            raise SettingsError(f"images_kept must be at least 1, got {self.images_kept!r}")
        if self.permissions_boundary_arn is not None:
            _check("permissions_boundary_arn", self.permissions_boundary_arn, _POLICY_ARN, "the ARN of an IAM policy")
        if self.role_path is not None:
            _check("role_path", self.role_path, _ROLE_PATH, "a path such as '/data/', beginning and ending with '/'")

    def _check_encryption_key(self) -> None:
        key = self.encryption_key
        if key is not None and not isinstance(key, OwnKey | ExistingKey):
            raise SettingsError(f"encryption_key must be OwnKey, ExistingKey or None, got {key!r}")
        if isinstance(key, ExistingKey) and key.arn.split(":")[3] != self.region:
            raise SettingsError(f"encryption_key must be a key of region {self.region!r}, got {key.arn!r}")

    def _check_pages(self) -> None:
        pages = self.pages
        if pages is None:
            return
        if not isinstance(pages, PagesHosting):
            raise SettingsError(f"pages must be PagesHosting or None, got {pages!r}")
        region = region_info.RegionInfo.get(self.region)
        if region.partition != "aws" or region.is_opt_in_region:
            # https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logging-legacy-s3.html
            raise SettingsError(
                f"pages must be None in region {self.region!r}: CloudFront delivers its access logs to no bucket of a region that an "
                "account has to opt in to, and is another service in other partitions"
            )
        secret = pages.sign_in.client_secret_arn if pages.sign_in is not None else None
        if secret is not None and secret.split(":")[3] != self.region:
            raise SettingsError(f"client_secret_arn must name a secret of region {self.region!r}, got {secret!r}")

    def _check_analysts(self) -> None:
        for role_arn in self.analyst_role_arns:
            _check("an analyst's role", role_arn, _ROLE_ARN, "the ARN of an IAM role")
        _check_unique("analyst_role_arns", self.analyst_role_arns)
        if self.analyst_role_arns and self.airflow is None:
            raise SettingsError("analyst_role_arns needs an airflow, whose launch roles they share; got None")

    def _check_ci(self) -> None:
        ci = self.ci
        if ci is None:
            return
        if not isinstance(ci, Pipeline):
            raise SettingsError(f"ci must be GitHub, GitLab or None, got {ci!r}")
        if ci.provider_arn is not None and ci.provider_arn.split(":")[4] != self.account:
            raise SettingsError(f"provider_arn must be of account {self.account!r}, got {ci.provider_arn!r}")
        if not ci.tries_pull_requests:
            return
        if self.airflow is None:
            raise SettingsError(
                "tries_pull_requests needs an airflow, whose launch roles pull requests share; got None"
            )
        for project in self.projects:
            role_name = names.slim_ci_role(self.name, project.name)
            if len(role_name) > _LONGEST_ROLE_NAME:
                raise SettingsError(
                    f"tries_pull_requests needs names of which IAM can make a role's, of at most {_LONGEST_ROLE_NAME} characters; "
                    f"got {role_name!r}"
                )

    @property
    def tried_projects(self) -> tuple[DbtProject, ...]:
        """The projects whose pull requests are tried here."""
        if self.ci is None or not self.ci.tries_pull_requests:
            return ()
        return tuple(project for project in self.projects if project.scheduler == "airflow")

    def _check_alerts(self) -> None:
        for email in self.alert_emails:
            _check("an alert email", email, r"[^@\s]+@[^@\s]+\.[^@\s]+", "an email address")
        _check_unique("alert_emails", self.alert_emails)
        _check("runbook_url", self.runbook_url, r"[^\s#\"<>]+", "an address or a path without '#'")
        if not isinstance(self.start_within, timedelta) or not (
            timedelta(minutes=1) <= self.start_within <= timedelta(minutes=15)
        ):
            raise SettingsError(f"start_within must be a timedelta from 1 to 15 minutes, got {self.start_within!r}")

    @property
    def removal_policy(self) -> RemovalPolicy:
        """What becomes of logs when their stack is destroyed."""
        return RemovalPolicy.RETAIN if self.keeps_data_on_destroy else RemovalPolicy.DESTROY

    def role_arn(self, role_name: str) -> str:
        """The ARN of a role of this environment whose name is known before it is deployed."""
        return f"arn:{_partition(self.region)}:iam::{self.account}:role{self.role_path or '/'}{role_name}"


@functools.cache
def _partition(region: str) -> str:
    return region_info.RegionInfo.get(region).partition or "aws"


def check_together(environments: Sequence[Environment]) -> None:
    """Raise `SettingsError` if two environments, or what is deployed for them, would have one name, or try one pull request."""
    _check_unique("the names of environments", [environment.name for environment in environments])
    projects = [(environment, project) for environment in environments for project in environment.projects]
    _check_unique(
        "the names of stacks",
        [
            *(names.environment_stack(environment.name) for environment in environments),
            *(names.project_stack(environment.name, project.name) for environment, project in projects),
            *(names.ci_stack(environment.name) for environment in environments if environment.ci is not None),
        ],
    )
    _check_identity_providers(environments)
    _check_trials(environments)
    # Several environments may deploy into one Airflow.
    _check_unique(
        "the ids of DAGs", [names.dag_id(environment.name, project.name) for environment, project in projects]
    )


def _check_identity_providers(environments: Sequence[Environment]) -> None:
    made = [
        (environment.account, environment.ci.url)
        for environment in environments
        if environment.ci is not None and environment.ci.provider_arn is None
    ]
    for (account, url), count in Counter(made).items():
        if count > 1:
            raise SettingsError(
                f"an account can have one identity provider for {url!r}, but {count} environments of account {account} make one; "
                "give all but the first its provider_arn"
            )


def _check_trials(environments: Sequence[Environment]) -> None:
    tried: dict[str, list[str]] = {}
    for environment in environments:
        for project in environment.tried_projects:
            tried.setdefault(project.name, []).append(environment.name)
    for project_name, names_of_environments in tried.items():
        if len(names_of_environments) > 1:
            raise SettingsError(
                f"the pull requests of project {project_name!r} must be tried in one environment, got {', '.join(names_of_environments)}"
            )
