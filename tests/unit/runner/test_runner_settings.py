"""The environment variables of the container."""

import json
import re

import pytest

from runner.outcome import SettingsError
from runner.settings import DEFAULT_STOP_TIMEOUT_SECONDS, settings_from

DEPLOYMENT = {
    "format_version": 1,
    "environment": "dev",
    "project": "shop",
    "bucket": "records",
    "schema": "analytics",
    "credentials": {"kind": "glue_connection", "connection_name": "warehouse"},
    "spec": {"threads": 8},
}


def environ(**changes: str) -> dict[str, str]:
    """A complete environment, changed."""
    return {"RUNNER_DEPLOYMENT": json.dumps(DEPLOYMENT), "RUNNER_RUN_ID": "run-1"} | changes


def deployment(**changes: object) -> dict[str, str]:
    """A complete environment whose deployment is changed."""
    return environ(RUNNER_DEPLOYMENT=json.dumps(DEPLOYMENT | changes))


def test_reads_what_the_task_definition_and_the_launcher_say() -> None:
    """All variables arrive typed."""
    settings = settings_from(
        environ(RUNNER_ATTEMPT="3", RUNNER_SPEC='{"select": ["a"]}', RUNNER_LAUNCHED_BY='{"kind": "airflow"}')
    )

    assert (
        settings.deployment.environment,
        settings.deployment.project,
        settings.attempt,
        settings.spec,
        settings.launched_by,
    ) == ("dev", "shop", 3, {"select": ["a"]}, {"kind": "airflow"})


def test_makes_a_run_id_where_the_launcher_gives_none() -> None:
    """A run by hand needs no id."""
    made = settings_from(environ(RUNNER_RUN_ID="")).run_id

    assert re.fullmatch(r"manual-\d{8}T\d{6}Z-[0-9a-f]{4}", made)


def test_takes_the_run_ids_of_airflow() -> None:
    """A run id of Airflow's may hold a time with its offset."""
    run_id = "scheduled__2026-11-22T05:00:00+00:00"

    assert run_id == settings_from(environ(RUNNER_RUN_ID=run_id)).run_id


def test_assumes_the_shortest_stop_timeout_of_ecs() -> None:
    """Where the deployment does not say how long a stop may take, the record is complete within ECS's default."""
    assert settings_from(environ()).deployment.stop_timeout_seconds == DEFAULT_STOP_TIMEOUT_SECONDS


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "RUNNER_DEPLOYMENT is not set"),
        (environ(RUNNER_DEPLOYMENT="{"), "RUNNER_DEPLOYMENT must be JSON"),
        (environ(RUNNER_DEPLOYMENT="[]"), "RUNNER_DEPLOYMENT must be a JSON object"),
        (deployment(format_version=2), "format_version of RUNNER_DEPLOYMENT must be 1, got 2"),
        (deployment(colour="red"), "unknown field 'colour' in RUNNER_DEPLOYMENT, allowed are"),
        (deployment(environment="Dev"), "environment of RUNNER_DEPLOYMENT must match"),
        (deployment(environment="dev-"), "environment of RUNNER_DEPLOYMENT must match"),
        (deployment(project="shop-1"), "project of RUNNER_DEPLOYMENT must match"),
        (deployment(bucket=""), "bucket of RUNNER_DEPLOYMENT must be a text that is not empty, got ''"),
        (deployment(credentials="glue"), "credentials of RUNNER_DEPLOYMENT must be an object, got 'glue'"),
        (deployment(stop_timeout_seconds=121), "stop_timeout_seconds of RUNNER_DEPLOYMENT must be 10..120, got 121"),
        (environ(RUNNER_RUN_ID="a/b"), "RUNNER_RUN_ID must match"),
        (environ(RUNNER_RUN_ID="x" * 201), "RUNNER_RUN_ID must match"),
        (environ(RUNNER_ATTEMPT="0"), "RUNNER_ATTEMPT must be 1..9999, got '0'"),
        (environ(RUNNER_ATTEMPT="two"), "RUNNER_ATTEMPT must be 1..9999, got 'two'"),
        (environ(RUNNER_SPEC="{}", RUNNER_SPEC_URI="s3://a/b"), "RUNNER_SPEC and RUNNER_SPEC_URI are both set"),
        (environ(RUNNER_SPEC="nonsense"), "RUNNER_SPEC must be JSON, got 'nonsense'"),
        (environ(RUNNER_LAUNCHED_BY='{"try": 1}'), "RUNNER_LAUNCHED_BY must hold texts only, got 1 for 'try'"),
    ],
)
def test_rejects_wrong_settings_in_one_sentence(variables: dict[str, str], words: str) -> None:
    """The message names the variable, the value got and what is allowed."""
    with pytest.raises(SettingsError) as raised:
        settings_from(variables)

    message = str(raised.value)
    assert words in message
    assert "\n" not in message
