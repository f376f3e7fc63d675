"""Fixtures of the runner's tests: an S3 of their own and a small dbt project."""

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from runner.store import Store
from tests.unit.runner.support import BUCKET, make_project


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """The runner sets variables of its process; each test gets back those that it began with."""
    before = dict(os.environ)
    # A shell that is set up for the local cloud must not lead a test there.
    for name in [name for name in os.environ if name.startswith(("AWS_", "DBT_", "RUNNER_"))]:
        del os.environ[name]
    os.environ.update(
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_DEFAULT_REGION="eu-west-1",
        AWS_REGION="eu-west-1",
        DBT_SEND_ANONYMOUS_USAGE_STATS="false",
    )
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def aws() -> Iterator[None]:
    """An AWS in this process, with the bucket of the records."""
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield


@pytest.fixture
def store(aws: None) -> Store:
    """The prefix of the project `shop`."""
    return Store(BUCKET, "shop/")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A dbt project with a seed, three models of which one is ephemeral, tests of all kinds, a source and an exposure."""
    return make_project(tmp_path / "project")
