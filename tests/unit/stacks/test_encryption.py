"""What an environment stores is encrypted with the key that its settings name, and only those use it who must."""

import json
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from constructs_lib.notifications import SnsTopic
from stacks.checks import check_when_synthesized
from stacks.platform import DbtPlatform, dbt_app
from stacks.settings import Environment, ExistingKey, OwnKey, OwnNetwork
from tests.unit.rights import statements_by_role
from tests.unit.stacks.settings_of_a_stranger import environment, project

_GIVEN = "arn:aws:kms:eu-west-1:999999999999:key/01234567-89ab-cdef-0123-456789abcdef"
_KEY_PROPERTIES = {
    "AWS::ECR::Repository": ("EncryptionConfiguration", "KmsKey"),
    "AWS::Logs::LogGroup": ("KmsKeyId",),
    "AWS::SNS::Topic": ("KmsMasterKeyId",),
    "AWS::SQS::Queue": ("KmsMasterKeyId",),
}


def _settings(path: Path, **changes: object) -> Environment:
    """An environment with all that stores something: an own network, one project with Airflow and one without."""
    values: dict[str, Any] = {
        "network": OwnNetwork(cidr="10.0.0.0/16", availability_zones=("eu-west-1a",)),
        "projects": (
            project(path, notify=(SnsTopic(),)),
            project(path, name="night", scheduler="eventbridge", schedule="0 5 * * *"),
        ),
        "encryption_key": OwnKey(),
    }
    return environment(path, **{**values, **changes})


def _templates(app: cdk.App, settings: Environment) -> dict[str, Template]:
    platform = DbtPlatform(app, settings=settings)
    stacks = {"environment": platform.environment_stack, **platform.project_stacks}
    return {name: Template.from_stack(stack) for name, stack in stacks.items()}


def _key_of(value: Any) -> str:  # noqa: ANN401 - any value of a template
    """The key that a value of a template names: by its resource, by the environment stack's output, or by its ARN."""
    match value:
        case {"Fn::GetAtt": [str(name), "Arn"]} if name.startswith("EncryptionKey"):
            return "own"
        case {"Fn::Join": ["", [str(begin), {"Fn::GetStackOutput": {"OutputName": "EncryptionKeyId"}}]]}:
            return "own" if begin == "arn:aws:kms:eu-west-1:333333333333:key/" else begin
        case str():
            return value
    return f"no key: {value!r}"


def _stored(templates: dict[str, Template]) -> dict[str, set[str]]:
    """The keys of what stores something, by its type."""
    found: dict[str, set[str]] = {}
    for template in templates.values():
        for resource_type, path in _KEY_PROPERTIES.items():
            for resource in template.find_resources(resource_type).values():
                value = resource["Properties"]
                for part in path:
                    value = value.get(part, {})
                found.setdefault(resource_type, set()).add(_key_of(value))
        for name, bucket in template.find_resources("AWS::S3::Bucket").items():
            (rule,) = bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
            kind = "access logs" if "AccessLogs" in name else "artifacts"
            found[kind] = {_key_of(rule["ServerSideEncryptionByDefault"].get("KMSMasterKeyID"))}
            if kind == "artifacts":
                assert rule["BucketKeyEnabled"] is True
    return found


@pytest.mark.parametrize(
    ("setting", "key"), [(OwnKey(), "own"), (ExistingKey(arn=_GIVEN), _GIVEN)], ids=["own", "given"]
)
def test_one_key_encrypts_all_that_is_stored(
    app: cdk.App, tiny_project: Path, setting: OwnKey | ExistingKey, key: str
) -> None:
    """In all stacks; but S3 delivers its access logs to buckets with S3's own keys alone."""
    templates = _templates(app, _settings(tiny_project, encryption_key=setting))

    stored = _stored(templates)

    assert stored.pop("access logs") == {"no key: None"}
    assert stored == {kind: {key} for kind in (*_KEY_PROPERTIES, "artifacts")}
    templates["environment"].resource_count_is("AWS::KMS::Key", 1 if key == "own" else 0)


def test_registries_that_are_deployed_already_keep_their_encryption(app: cdk.App, tiny_project: Path) -> None:
    """A registry's key cannot be changed, and one with a fixed name not be replaced: the setting leaves it as it is."""
    templates = _templates(app, _settings(tiny_project, encryption_key=OwnKey(encrypts_images=False)))

    templates["environment"].all_resources_properties(
        "AWS::ECR::Repository", {"EncryptionConfiguration": Match.absent()}
    )


def test_without_a_key_no_role_is_allowed_one(app: cdk.App, tiny_project: Path) -> None:
    """The default costs nothing and grants nothing."""
    for template in _templates(app, _settings(tiny_project, encryption_key=None)).values():
        assert "kms:" not in str(template.to_json())


def _uses(templates: dict[str, Template]) -> set[tuple[str, str, str, bool]]:
    """Who may use the key: stack and role, through which service, for which resource, and whether to encrypt."""
    found = set()
    for stack, template in templates.items():
        for role, statements in statements_by_role(template.to_json()["Resources"]).items():
            for statement in statements:
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                if not any(action.startswith("kms:") for action in actions):
                    continue
                assert set(actions) <= {"kms:Decrypt", "kms:GenerateDataKey"}
                assert _key_of(statement["Resource"]) == "own"
                ((operator, conditions),) = statement["Condition"].items()
                service = conditions.pop("kms:ViaService")
                ((context, resource),) = conditions.items()
                assert operator == "StringEquals"
                where = f"{context.removeprefix('kms:EncryptionContext:')} {_name(resource)}"
                found.add((f"{stack} {role[:-8]}", service.partition(".")[0], where, "kms:GenerateDataKey" in actions))
    return found


def _name(value: Any) -> str:  # noqa: ANN401 - any value of a template
    match value:
        case {"Fn::GetAtt": [str(name), "Arn"]}:
            return name[:-8]
        case {"Fn::Join": ["", [*_, {"Fn::GetStackOutput": {"OutputName": str(name)}}]]}:
            return name
        case {"Fn::Join": ["", [*_, {"Ref": str(name)}]]}:
            return name[:-8]
    raise ValueError(f"no resource: {value!r}")


def test_every_role_uses_the_key_for_what_it_reads_and_writes_alone(app: cdk.App, tiny_project: Path) -> None:
    """Through one service, and for one bucket, queue or topic: the key opens nothing else that it encrypts."""
    records = "aws:s3:arn ArtifactsBucketName"
    dead_letters = "aws:sqs:arn DeadLettersQueueName"
    due_runs = "aws:sqs:arn DueRunsQueueName"

    assert _uses(_templates(app, _settings(tiny_project))) == {
        ("environment GuardFunctionRole", "sqs", "aws:sqs:arn GuardDueRuns", False),
        ("environment PageFilesRole", "s3", "aws:s3:arn Artifacts", True),
        ("tiny TaskTaskRole", "s3", records, True),
        ("tiny LaunchRole", "s3", records, True),
        ("tiny LaunchRole", "sns", "aws:sns:topicArn AlertTopicName", True),
        ("tiny SchedulesRole", "sqs", dead_letters, True),
        ("night TaskTaskRole", "s3", records, True),
        ("night LauncherFunctionRole", "sqs", dead_letters, True),
        ("night SchedulesRole", "sqs", dead_letters, True),
        ("night SchedulesRole", "sqs", due_runs, True),
    }


@pytest.mark.parametrize(("keeps_data", "policy"), [(True, "Retain"), (False, "Delete")])
def test_key_is_renewed_and_outlives_the_stack_where_its_data_does(
    app: cdk.App, tiny_project: Path, keeps_data: bool, policy: str
) -> None:
    """Data without its key is lost."""
    template = _templates(app, _settings(tiny_project, keeps_data_on_destroy=keeps_data))["environment"]

    template.has_resource(
        "AWS::KMS::Key",
        {
            "Properties": {"EnableKeyRotation": True},
            "DeletionPolicy": policy,
            "UpdateReplacePolicy": policy,
        },
    )


def test_services_of_aws_use_the_key_for_what_they_must(app: cdk.App, tiny_project: Path) -> None:
    """Logs for log groups, alarms of this account, and rules, for which SNS's guide knows no condition that holds."""
    template = _templates(app, _settings(tiny_project))["environment"]

    (key,) = template.find_resources("AWS::KMS::Key").values()
    _, *services = key["Properties"]["KeyPolicy"]["Statement"]
    assert {(str(statement["Principal"]["Service"]), str(statement.get("Condition"))) for statement in services} == {
        (
            "logs.eu-west-1.amazonaws.com",
            "{'ArnLike': {'kms:EncryptionContext:aws:logs:arn': 'arn:aws:logs:eu-west-1:333333333333:log-group:*'}}",
        ),
        ("cloudwatch.amazonaws.com", "{'StringEquals': {'aws:SourceAccount': '333333333333'}}"),
        ("events.amazonaws.com", "None"),
    }


@pytest.mark.parametrize("setting", [None, OwnKey(), ExistingKey(arn=_GIVEN)], ids=["none", "own", "given"])
def test_checkers_find_nothing_whatever_the_key(tiny_project: Path, setting: OwnKey | ExistingKey | None) -> None:
    """With everything that settings can ask for; synth raises if one of the packs of cdk-nag does."""
    app = dbt_app([_settings(tiny_project, encryption_key=setting)])
    check_when_synthesized(app)
    assembly = app.synth()

    report = json.loads((Path(assembly.directory) / "validation-report.json").read_text())
    conclusions = {plugin["pluginName"]: plugin["conclusion"] for plugin in report["pluginReports"]}
    assert set(conclusions.values()) == {"success"}
    assert {"AwsSolutions", "Serverless", "NIST.800.53.R4", "NIST.800.53.R5", "HIPAA.Security", "PCI.DSS.321"} <= set(
        conclusions
    )
