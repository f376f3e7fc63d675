"""What people are told, and through what; a real DAG processor sends it in test_real_airflow."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3  # type: ignore[import-untyped]  # no stubs beside Airflow
import pytest
from conftest import MART, REPOSITORY_ROOT, slack_connection
from deployed import DEPLOYMENT
from fake_aws import FakeAws

from dbt_on_fargate import aws, compat, notice
from dbt_on_fargate.deployment import Deployment
from dbt_on_fargate.notify import Message, RunNotifier
from local_cloud.container_engine import ContainerEngine
from local_cloud.emulator import Emulator

LINKS = {"Run report": "https://s3.example/report?a=1&b=2"}
STALE = {"status": "fail", "message": "max loaded at 2026-01-01, two days ago"}


def end(**nodes: dict[str, str]) -> dict[str, Any]:
    """`end.json`, as far as a notice needs it."""
    return {"headline": "1 of 2 nodes failed", "nodes": nodes}


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, own_aws: FakeAws) -> dict[str, str]:
    """Airflow's variables; the other things that a notifier asks Airflow for are there, too."""
    variables: dict[str, str] = {}
    monkeypatch.setenv("AIRFLOW_CONN_TEAM_SLACK", slack_connection(own_aws))
    monkeypatch.setattr(compat, "variable", variables.get)
    monkeypatch.setattr(compat, "set_variable", variables.__setitem__)
    monkeypatch.setattr(compat, "delete_variable", variables.pop)
    monkeypatch.setattr(compat, "task_states", lambda **_: {"run_dbt": "success", "marts.fct_orders": "failed"})
    return variables


def tell(monkeypatch: pytest.MonkeyPatch, told: object, *, is_green: bool, **values: object) -> None:
    """Let the notifier tell what the run task left."""
    monkeypatch.setattr(compat, "xcom", lambda **_: told)
    deployment = Deployment.from_mapping(DEPLOYMENT | values)
    RunNotifier(deployment=deployment, is_green=is_green).notify({"run_id": "run-1"})


def test_red_run_is_told_with_the_databases_words(
    own_aws: FakeAws, memory: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which model, what the database said, and where to look, on Slack and on SNS."""
    told = notice.of_end(end(**{MART: {"status": "error", "message": "Database Error\n  no such column"}}), LINKS)
    tell(monkeypatch, told, is_green=False)

    (slack,) = own_aws.slack_messages
    assert slack["channel"] == "#data"
    (sns,) = own_aws.published
    assert sns["Subject"] == "dbt bookshop (dev): run failed"
    for text in (slack["text"], sns["Message"]):
        assert MART in text
        assert "no such column" in text
        assert "s3.example/report" in text
    assert "AssumeRole arn:aws:iam::111111111111:role/launch" in own_aws.calls


def test_green_run_is_told_once_after_a_red_one(
    own_aws: FakeAws, memory: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who heard of the failure hears of its end; green after green says nothing."""
    told = notice.of_end(end(**{MART: {"status": "success"}}), LINKS)
    for is_green in (True, False, True, True):
        tell(monkeypatch, told, is_green=is_green)

    assert [message["Subject"] for message in own_aws.published] == [
        "dbt bookshop (dev): run failed",
        "dbt bookshop (dev): green again",
    ]
    assert memory == {}


@pytest.mark.parametrize("as_airflow_returns_it", [dict, json.dumps], ids=["from a worker", "from a trigger"])
def test_stale_sources_of_a_green_run_are_told(
    own_aws: FakeAws,
    memory: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    as_airflow_returns_it: Callable[[dict[str, Any]], object],
) -> None:
    """Data that did not arrive turns no run red where freshness only reports, and is told all the same."""
    told = notice.of_end(end(**{"source.shop.raw.orders": STALE}), LINKS)
    tell(monkeypatch, as_airflow_returns_it(told), is_green=True)

    (sns,) = own_aws.published
    assert sns["Subject"] == "dbt bookshop (dev): sources are stale"
    assert "stale source: source.shop.raw.orders (fail)\n    max loaded at 2026-01-01" in sns["Message"]


def test_run_that_left_no_notice_is_told_with_its_tasks(
    own_aws: FakeAws, memory: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that timed out, or that someone set by hand, is red, too."""
    tell(monkeypatch, None, is_green=False)

    assert "failed in Airflow: marts.fct_orders" in own_aws.published[0]["Message"]


def test_recipient_that_cannot_be_reached_keeps_it_from_nobody(
    own_aws: FakeAws, memory: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection to Slack is missing; SNS is told, and the log names the recipient."""
    monkeypatch.delenv("AIRFLOW_CONN_TEAM_SLACK")
    monkeypatch.setattr("airflow.providers.slack.hooks.slack.SlackHook.call", _refuse)
    tell(monkeypatch, notice.of_failure("the container never started\nwhat to do: deploy", {}), is_green=False)

    assert "the container never started\n    what to do: deploy" in own_aws.published[0]["Message"]
    assert "could not tell" in caplog.text


def _refuse(*_: object, **__: object) -> None:
    raise RuntimeError("no such connection")


def test_databases_words_cannot_call_people_or_be_a_template(
    own_aws: FakeAws, memory: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values of rows end up in messages of databases; in Slack they are text and nothing else."""
    words = "bad value <!channel> ``` {{ 7 * 6 }} <https://evil.example|click> & more"
    tell(monkeypatch, notice.of_end(end(**{MART: {"status": "error", "message": words}}), {}), is_green=False)

    text = own_aws.slack_messages[0]["text"]
    assert "bad value &lt;!channel&gt; ''' {{ 7 * 6 }} &lt;https://evil.example|click&gt; &amp; more" in text
    assert text.count("```") == 2


def test_long_messages_are_cut(own_aws: FakeAws) -> None:
    """A thousand failed tests are one readable message, though ids of tests are as long as all their arguments."""
    name = f"test.shop.accepted_values_{'x' * 4000}"
    nodes = {f"{name}.{number}": {"status": "error", "message": "line\n" * 50} for number in range(1000)}
    told = notice.of_end(end(**nodes), {})

    assert len(told["failed"]) == 10
    assert told["more_failed"] == 990
    assert told["failed"][0]["unique_id"].startswith("test.shop.accepted_values_xx")
    assert len(json.dumps(told)) < 8000


def test_message_reads_well_as_plain_text() -> None:
    """A mail has no mark-up."""
    message = Message("dbt shop (dev): run failed", (("1 of 2 nodes failed", ""), ("m (error)", "words")), LINKS)

    assert (
        message.as_text()
        == "1 of 2 nodes failed\nm (error)\n    words\n\nRun report: https://s3.example/report?a=1&b=2"
    )


@pytest.fixture
def emulated_aws(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The emulator, which enforces IAM, in place of the stand-in; this process has an administrator's credentials."""
    folder = tmp_path_factory.mktemp("emulator")
    engine = ContainerEngine.detect(folder / "engine")
    emulator = Emulator(
        folder / "state",
        python=REPOSITORY_ROOT / ".local-cloud/venvs/emulator/bin/python",
        engine=engine,
        account=DEPLOYMENT["account"],
        region=DEPLOYMENT["region"],
        task_environment={},
        task_mounts={},
    )
    try:
        emulator.start()
        for name, value in emulator.client_environment(folder / "home").items():
            if name.startswith("AWS_"):
                monkeypatch.setenv(name, value)
        # An earlier test's session has other credentials.
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        aws.client.cache_clear()
        yield
    finally:
        aws.client.cache_clear()
        emulator.stop()
        engine.remove_all()


def test_sns_delivers_to_who_subscribed(
    memory: dict[str, str], emulated_aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue on the topic gets the whole message, published under a launch role that may do nothing else."""
    topic_arn = boto3.client("sns").create_topic(Name="data")["TopicArn"]
    sqs = boto3.client("sqs")
    queue_url = sqs.create_queue(QueueName="on-call")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    deliver = {"Effect": "Allow", "Action": "sqs:SendMessage", "Principal": {"Service": "sns.amazonaws.com"}}
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"Policy": _policy(deliver | {"Resource": queue_arn})})
    boto3.client("sns").subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn)
    iam = boto3.client("iam")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "111111111111"}}
    publish = {"Effect": "Allow", "Action": "sns:Publish", "Resource": topic_arn}
    iam.create_role(RoleName="launch", AssumeRolePolicyDocument=_policy(trust))
    iam.put_role_policy(RoleName="launch", PolicyName="notify", PolicyDocument=_policy(publish))
    words = "Database Error\n  no such column: größe"
    told = notice.of_end(end(**{MART: {"status": "error", "message": words}}), LINKS)
    tell(monkeypatch, told, is_green=False, notify=[{"kind": "sns", "topic_arn": topic_arn}])

    (message,) = sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=10)["Messages"]
    delivered = json.loads(message["Body"])
    assert delivered["Subject"] == "dbt bookshop (dev): run failed"
    assert "no such column: größe" in delivered["Message"]
    assert LINKS["Run report"] in delivered["Message"]


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
