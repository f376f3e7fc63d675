"""Pages are hosted for those alone whom the settings name."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from constructs_lib.pages_access import OPEN_TO_EVERYONE, PagesHosting, SignIn
from constructs_lib.pages_hosting import NOT_FOUND_PAGE
from constructs_lib.repository import REPOSITORY
from constructs_lib.settings_error import SettingsError
from stacks.checks import check_when_synthesized
from stacks.names import PAGES_PREFIX
from stacks.platform import DbtPlatform, dbt_app, feature_flags
from stacks.settings import ExistingKey, OwnKey, OwnNetwork
from tests.unit.rights import statements_of
from tests.unit.stacks.settings_of_a_stranger import environment

_SIGN_IN: dict[str, Any] = {
    "issuer": "https://login.example.com",
    "client_id": "pages",
    "client_secret_arn": "arn:aws:secretsmanager:eu-west-1:333333333333:secret:pages-a1B2c3",
    "allowed_groups": ("data-team",),
}
_NAMED: dict[str, Any] = {
    "domain_name": "dbt.example.com",
    "certificate_arn": "arn:aws:acm:us-east-1:333333333333:certificate/0a1b",
}
_WEB_ACL = "arn:aws:wafv2:us-east-1:333333333333:global/webacl/pages/0a1b"
_KEY = "arn:aws:kms:eu-west-1:333333333333:key/01234567-89ab-cdef-0123-456789abcdef"
_EVERYTHING: dict[str, Any] = {
    "sign_in": SignIn(
        **{
            **_SIGN_IN,
            "client_secret_key_arn": _KEY,
            "allowed_email_domains": ("example.com",),
            "extra_scopes": ("groups",),
            "session": timedelta(hours=8),
        }
    ),
    "networks": ("203.0.113.0/24", "2001:db8::/32"),
    "web_acl_arn": _WEB_ACL,
    "price_class": "all",
    **_NAMED,
}
_NETWORKS_ONLY = PagesHosting(networks=("203.0.113.0/24",))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dbt project of one model, for all templates of this file."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "models").mkdir()
    (folder / "dbt_project.yml").write_text("name: tiny\nprofile: tiny\n")
    (folder / "models" / "answers.sql").write_text("select 42 as answer\n")
    return folder


def _template(path: Path, hosting: PagesHosting | None, **changes: object) -> Template:
    settings = environment(path, pages=hosting, **changes)
    app = cdk.App(context=feature_flags(), outdir=str(path.parent / "cdk.out"))
    return Template.from_stack(DbtPlatform(app, settings=settings).environment_stack)


@pytest.fixture(scope="module")
def of_networks(path: Path) -> Template:
    """Pages for networks, under CloudFront's name."""
    return _template(path, _NETWORKS_ONLY, encryption_key=OwnKey(), keeps_data_on_destroy=True)


@pytest.fixture(scope="module")
def of_everything(path: Path) -> Template:
    """Pages with everything that the settings can say."""
    return _template(path, PagesHosting(**_EVERYTHING), encryption_key=ExistingKey(arn=_KEY))


def _only(template: Template, resource_type: str) -> dict[str, Any]:
    (resource,) = template.find_resources(resource_type).values()
    properties: dict[str, Any] = resource["Properties"]
    return properties


@pytest.mark.parametrize(
    "hosting",
    [
        {},
        {"networks": ("0.0.0.0/0",)},
        {"networks": ("::/0",)},
        {"networks": ("203.0.113.0/24", "::/0")},
        {"networks": ("0.0.0.0/1", "128.0.0.0/1")},
        {"networks": ("2000::/3",)},
        {"networks": ("203.0.113.0/24", "64.0.0.0/7")},
    ],
    ids=str,
)
def test_rejects_pages_that_anyone_could_read(hosting: dict[str, Any]) -> None:
    """Neither sign-in nor networks, or networks that are the internet; the error says what to write if that is meant."""
    with pytest.raises(SettingsError, match=re.escape(OPEN_TO_EVERYONE)):
        PagesHosting(**hosting)

    assert PagesHosting(**hosting, open_to_everyone=OPEN_TO_EVERYONE)


@pytest.mark.parametrize("words", ["yes", "", OPEN_TO_EVERYONE.lower(), f"{OPEN_TO_EVERYONE}.", True])
def test_rejects_other_words_for_everyone(words: object) -> None:
    """Word for word, so that nobody opens pages by a slip."""
    with pytest.raises(SettingsError, match="open_to_everyone must be"):
        PagesHosting(open_to_everyone=words)  # type: ignore[arg-type] # what a user could write


@pytest.mark.parametrize(
    ("hosting", "error"),
    [
        ({"networks": ("203.0.113.1/24",)}, "a network must be a range .* got '203.0.113.1/24'"),
        ({"networks": ("example.com",)}, "a network must be a range"),
        ({"networks": "203.0.113.0/24"}, "networks must be a tuple of texts"),
        ({"networks": ("10.0.0.0/8",)}, "a network must be of public addresses.*'10.0.0.0/8'"),
        ({"networks": ("192.168.3.0/24",)}, "a network must be of public addresses"),
        ({"networks": ("fd00::/8",)}, "a network must be of public addresses"),
        ({"networks": ("203.0.113.0/24",) * 51}, "networks must be at most 50, got 51"),
        ({"sign_in": "https://login.example.com"}, "sign_in must be a SignIn or None"),
        (
            {"networks": ("203.0.113.0/24",), "open_to_everyone": OPEN_TO_EVERYONE},
            "open_to_everyone must be None where",
        ),
        (
            {"networks": ("203.0.113.0/24",), "domain_name": "dbt.example.com"},
            "domain_name and certificate_arn go together",
        ),
        ({"networks": ("203.0.113.0/24",), **_NAMED, "domain_name": "Dbt.Example.com"}, "domain_name must be"),
        (
            {
                "networks": ("203.0.113.0/24",),
                **_NAMED,
                "certificate_arn": "arn:aws:acm:eu-west-1:333333333333:certificate/0a1b",
            },
            "certificate_arn must be .* in us-east-1",
        ),
        (
            {"networks": ("203.0.113.0/24",), "price_class": 100},
            "price_class must be one of '100', '200', 'all', got 100",
        ),
        (
            {"networks": ("203.0.113.0/24",), "web_acl_arn": _WEB_ACL.replace("global", "regional")},
            "web_acl_arn must be",
        ),
    ],
    ids=str,
)
def test_rejects_hosting_that_cannot_be(hosting: dict[str, Any], error: str) -> None:
    """The error names the setting, what was got and what is allowed."""
    with pytest.raises(SettingsError, match=error):
        PagesHosting(**hosting)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"issuer": "http://login.example.com"}, "issuer must be an https address"),
        ({"issuer": "https://login.example.com/?a=b"}, "issuer must be an https address"),
        ({"client_id": ""}, "client_id must be"),
        ({"client_secret_arn": "s3cret"}, "client_secret_arn must be the full ARN"),
        ({"client_secret_key_arn": "alias/pages"}, "client_secret_key_arn must be the ARN of a KMS key"),
        ({"allowed_groups": "data-team"}, "allowed_groups must be a tuple of texts"),
        ({"allowed_groups": ("",)}, "allowed_groups must be a tuple of texts"),
        ({"allowed_groups": ()}, "SignIn takes allowed_groups or allowed_email_domains, or every_user_of_the_provider"),
        ({"every_user_of_the_provider": True}, "SignIn takes allowed_groups or allowed_email_domains, or every_user"),
        ({"allowed_email_domains": ("@example.com",)}, "an allowed email domain must be"),
        ({"allowed_email_domains": ("Example.com",)}, "an allowed email domain must be"),
        ({"session": timedelta(days=1)}, "session must be a timedelta from 5 minutes to 12 hours"),
        ({"session": 3600}, "session must be a timedelta from 5 minutes to 12 hours"),
        ({"extra_scopes": ("a b", 3)}, "extra_scopes must be a tuple of texts"),
        ({"groups_claim": "a b"}, "groups_claim must be"),
        (
            {
                "issuer": "https://accounts.google.com",
                "allowed_groups": (),
                "every_user_of_the_provider": True,
            },
            "every_user_of_the_provider must not be True where anyone can have an account",
        ),
        (
            {
                "issuer": "https://login.microsoftonline.com/common/v2.0",
                "allowed_groups": (),
                "every_user_of_the_provider": True,
            },
            "every_user_of_the_provider must not be True where anyone can have an account",
        ),
    ],
    ids=str,
)
def test_rejects_a_sign_in_that_cannot_be(changes: dict[str, Any], error: str) -> None:
    """The error names the setting, what was got and what is allowed; a secret itself is refused before it is in a template."""
    with pytest.raises(SettingsError, match=error):
        SignIn(**{**_SIGN_IN, **changes})


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"region": "eu-south-1", "zone": "eu-south-1a"}, "pages must be None in region 'eu-south-1'"),
        ({"region": "cn-north-1", "zone": "cn-north-1a"}, "pages must be None in region 'cn-north-1'"),
        (
            {"region": "eu-central-1", "zone": "eu-central-1a"},
            "client_secret_arn must name a secret of region 'eu-central-1'",
        ),
    ],
)
def test_rejects_regions_that_cannot_host(path: Path, changes: dict[str, str], error: str) -> None:
    """Before a deployment fails halfway."""
    network = OwnNetwork(cidr="10.0.0.0/16", availability_zones=(changes["zone"],))
    with pytest.raises(SettingsError, match=error):
        environment(path, region=changes["region"], network=network, pages=PagesHosting(sign_in=SignIn(**_SIGN_IN)))


def test_hosts_nothing_by_default(path: Path) -> None:
    """No distribution, function or key of CloudFront."""
    assert "CloudFront" not in json.dumps(_template(path, None).to_json())


def test_everything_goes_over_the_gate_and_tls(of_everything: Template) -> None:
    """No behaviour of the distribution is without CloudFront's function, takes plain HTTP or writes."""
    config = _only(of_everything, "AWS::CloudFront::Distribution")["DistributionConfig"]

    behaviors = [config["DefaultCacheBehavior"], *config["CacheBehaviors"]]
    assert {behavior.get("PathPattern") for behavior in behaviors} == {
        None,
        "/*/docs/*",
        "/*/runs/*/report.html",
        "/auth/*",
    }
    for behavior in behaviors:
        (gate,) = behavior["FunctionAssociations"]
        assert gate["EventType"] == "viewer-request"
        assert behavior["ViewerProtocolPolicy"] == "https-only"
        assert behavior["AllowedMethods"] == ["GET", "HEAD"]
        assert "ResponseHeadersPolicyId" in behavior
    assert config["ViewerCertificate"] == {
        "AcmCertificateArn": _NAMED["certificate_arn"],
        "MinimumProtocolVersion": "TLSv1.2_2021",
        "SslSupportMethod": "sni-only",
    }
    assert config["Aliases"] == ["dbt.example.com"]
    assert config["WebACLId"] == _WEB_ACL
    assert config["PriceClass"] == "PriceClass_All"
    assert config["Logging"]["IncludeCookies"] is False


def test_what_is_missing_is_a_page_of_ours(of_everything: Template) -> None:
    """With 404 and kept by no cache; it is one of the files that are deployed beside the portal."""
    config = _only(of_everything, "AWS::CloudFront::Distribution")["DistributionConfig"]

    assert config["CustomErrorResponses"] == [
        {
            "ErrorCode": status,
            "ErrorCachingMinTTL": 0,
            "ResponseCode": 404,
            "ResponsePagePath": NOT_FOUND_PAGE,
        }
        for status in (403, 404)
    ]
    assert (REPOSITORY / "pages/dist" / Path(NOT_FOUND_PAGE).name).is_file()
    assert f"/{PAGES_PREFIX}" == f"{Path(NOT_FOUND_PAGE).parent}/"


def test_caches_only_what_objects_allow(of_networks: Template) -> None:
    """And stores compressed and plain answers apart; cookies and queries do not reach the bucket."""
    policy = _only(of_networks, "AWS::CloudFront::CachePolicy")["CachePolicyConfig"]

    assert (policy["MinTTL"], policy["DefaultTTL"]) == (0, 0)
    assert policy["ParametersInCacheKeyAndForwardedToOrigin"] == {
        "CookiesConfig": {"CookieBehavior": "none"},
        "EnableAcceptEncodingBrotli": True,
        "EnableAcceptEncodingGzip": True,
        "HeadersConfig": {"HeaderBehavior": "none"},
        "QueryStringsConfig": {"QueryStringBehavior": "none"},
    }


def _policies(template: Template) -> dict[str, str]:
    """The content security policy of each kind of page."""
    return {
        config["Comment"].split()[0]: config["SecurityHeadersConfig"]["ContentSecurityPolicy"]["ContentSecurityPolicy"]
        for resource in template.find_resources("AWS::CloudFront::ResponseHeadersPolicy").values()
        if (config := resource["Properties"]["ResponseHeadersPolicyConfig"])
    }


def test_nothing_comes_from_other_hosts(of_networks: Template) -> None:
    """What can load something is closed, or named; only dbt's own page may run what stands in it."""
    policies = _policies(of_networks)

    assert set(policies) == {"Pages", "Docs", "Reports"}
    for kind, policy in policies.items():
        assert ("'unsafe-inline'" in policy) is (kind == "Docs")
        assert "unsafe-eval" not in policy
        assert not re.search(r"https?:|\*|wss?:", policy)
        for directive in ("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"):
            assert directive in policy
    assert policies["Pages"].startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")


def test_what_a_project_writes_is_shut_in(of_networks: Template) -> None:
    """A report or a docs page has an origin of its own: it cannot read another project's, whatever is in it."""
    policies = _policies(of_networks)

    for kind in ("Docs", "Reports"):
        sandbox = policies[kind].partition(";")[0]
        assert sandbox.startswith("sandbox allow-scripts")
        assert "allow-same-origin" not in sandbox
        assert "connect-src 'none'" in policies[kind]


def test_bucket_lets_one_distribution_read_pages_alone(of_networks: Template) -> None:
    """Not the rest of the record: specs, events, compiled SQL and failed rows; and nothing can be listed."""
    template = of_networks

    (distribution,) = template.find_resources("AWS::CloudFront::Distribution")
    policy = next(
        resource["Properties"]["PolicyDocument"]["Statement"]
        for name, resource in template.find_resources("AWS::S3::BucketPolicy").items()
        if name.startswith("ArtifactsPolicy")
    )
    (statement,) = [each for each in policy if each["Principal"] == {"Service": "cloudfront.amazonaws.com"}]
    assert statement["Action"] == "s3:GetObject"
    assert statement["Condition"] == {
        "StringEquals": {
            "aws:SourceArn": {
                "Fn::Join": ["", ["arn:aws:cloudfront::333333333333:distribution/", {"Ref": distribution}]]
            }
        }
    }
    assert {resource["Fn::Join"][1][1] for resource in statement["Resource"]} == {
        "/_pages/*",
        "/*/history/*.json",
        "/*/docs/*",
        "/*/runs/*/report.html",
        "/*/runs/*/end.json",
    }


def test_own_key_lets_cloudfront_decrypt(of_networks: Template) -> None:
    """For distributions of this account; to encrypt is not needed to read."""
    template = of_networks

    statements = _only(template, "AWS::KMS::Key")["KeyPolicy"]["Statement"]
    (statement,) = [each for each in statements if each["Principal"] == {"Service": "cloudfront.amazonaws.com"}]
    assert statement["Action"] == "kms:Decrypt"
    assert statement["Condition"] == {"ArnLike": {"aws:SourceArn": "arn:aws:cloudfront::333333333333:distribution/*"}}


def test_sign_in_is_called_by_this_distribution_alone(of_everything: Template) -> None:
    """Its address answers to nobody without CloudFront's signature."""
    template = of_everything

    assert _only(template, "AWS::Lambda::Url")["AuthType"] == "AWS_IAM"
    called = [
        resource["Properties"]
        for resource in template.find_resources("AWS::Lambda::Permission").values()
        if resource["Properties"]["Principal"] == "cloudfront.amazonaws.com"
    ]
    assert {permission["Action"] for permission in called} == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}
    for permission in called:
        assert "Ref" in permission["SourceArn"]["Fn::Join"][1][-1]
        assert permission["Action"] == "lambda:InvokeFunctionUrl" or permission["InvokedViaFunctionUrl"] is True


def test_session_key_is_in_no_template_and_made_anew(of_everything: Template) -> None:
    """A rotation makes it, at the deployment and each month."""
    template = of_everything

    assert _only(template, "AWS::SecretsManager::Secret")["GenerateSecretString"] == {}
    template.has_resource_properties(
        "AWS::SecretsManager::RotationSchedule",
        {"RotateImmediatelyOnUpdate": True, "RotationRules": {"ScheduleExpression": "rate(30 days)"}},
    )
    assert "ImportSource" not in _only(template, "AWS::CloudFront::KeyValueStore")


def test_a_key_that_is_not_made_anew_rings(of_everything: Template) -> None:
    """The function's errors alarm the environment's topic, and the text links to the runbook."""
    (keeper,) = of_everything.find_resources(
        "AWS::Lambda::Function", {"Properties": {"Handler": "session_key.handler"}}
    )
    (alarm,) = of_everything.find_resources(
        "AWS::CloudWatch::Alarm",
        {
            "Properties": {
                "MetricName": "Errors",
                "Dimensions": [{"Name": "FunctionName", "Value": {"Ref": keeper}}],
                "Threshold": 0,
                "ComparisonOperator": "GreaterThanThreshold",
            }
        },
    ).values()
    (topic,) = of_everything.find_resources("AWS::SNS::Topic")

    assert alarm["Properties"]["AlarmActions"] == [{"Ref": topic}]
    assert alarm["Properties"]["AlarmDescription"].endswith("#the-session-key-is-not-made-anew")


def test_sign_in_reads_its_two_secrets_alone(of_everything: Template) -> None:
    """And uses the keys through Secrets Manager, for these two."""
    template = of_everything

    policy = statements_of(template.to_json()["Resources"], "PagesSignInFunctionRole")
    (session_key,) = template.find_resources("AWS::SecretsManager::Secret")
    reads = next(each for each in policy if each["Action"] == "secretsmanager:GetSecretValue")
    assert reads["Resource"] == [{"Ref": session_key}, _SIGN_IN["client_secret_arn"]]
    decrypts = [each for each in policy if each["Action"] == "kms:Decrypt"]
    assert [each["Condition"]["StringEquals"]["kms:EncryptionContext:SecretARN"] for each in decrypts] == [
        {"Ref": session_key},
        _SIGN_IN["client_secret_arn"],
    ]
    assert {each["Condition"]["StringEquals"]["kms:ViaService"] for each in decrypts} == {
        "secretsmanager.eu-west-1.amazonaws.com"
    }


def test_sign_in_is_told_no_secret(of_everything: Template) -> None:
    """Its environment holds names; what they name is read at run time."""
    template = of_everything

    template.has_resource_properties(
        "AWS::Lambda::Function",
        {
            "Handler": "sign_in.handler",
            "Environment": {
                "Variables": {
                    "ISSUER": "https://login.example.com",
                    "CLIENT_ID": "pages",
                    "CLIENT_SECRET_ARN": _SIGN_IN["client_secret_arn"],
                    "SESSION_KEY_ARN": Match.any_value(),
                    "SCOPE": "openid profile email groups",
                    "GROUPS_CLAIM": "groups",
                    "ALLOWED_GROUPS": '["data-team"]',
                    "ALLOWED_EMAIL_DOMAINS": '["example.com"]',
                    "SESSION_SECONDS": "28800",
                }
            },
        },
    )


def test_access_logs_are_kept_as_the_records_are(of_networks: Template, of_everything: Template) -> None:
    """Closed to the public, and delivered by the one way that CloudFront has from outside us-east-1."""
    for template, policy in ((of_networks, "Retain"), (of_everything, "Delete")):
        (bucket,) = [
            resource
            for name, resource in template.find_resources("AWS::S3::Bucket").items()
            if name.startswith("PagesAccessLogs")
        ]
        assert bucket["DeletionPolicy"] == policy
        assert bucket["Properties"]["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
        assert all(bucket["Properties"]["PublicAccessBlockConfiguration"].values())


def test_checkers_find_nothing_where_the_settings_say_little(path: Path) -> None:
    """
    Synth raises if one of the packs of cdk-nag finds what has no reason beside its resource.

    Without a key, a name and a web ACL of one's own most has to be said; the example `live` has a key and a name.
    """
    app = dbt_app([environment(path, pages=PagesHosting(sign_in=SignIn(**_SIGN_IN)))])
    check_when_synthesized(app)

    report = json.loads((Path(app.synth().directory) / "validation-report.json").read_text())

    conclusions = {plugin["pluginName"]: plugin["conclusion"] for plugin in report["pluginReports"]}
    assert set(conclusions.values()) == {"success"}
    assert {"AwsSolutions", "NIST.800.53.R5"} <= set(conclusions)
