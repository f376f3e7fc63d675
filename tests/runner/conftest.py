"""One warehouse, one S3 and one process that has imported dbt, for all tests of the runner as a process."""

from collections.abc import Iterator

import boto3
import pytest

from local_cloud.venvs import install_venv
from tests.faults.machine import REPOSITORY, AwsEndpoint, Machine


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """What runs of any project run on; each test uses run ids of its own."""
    folder = tmp_path_factory.mktemp("runner")
    python = install_venv(
        REPOSITORY / ".local-cloud/venvs/emulator", REPOSITORY / "local_cloud/emulator-requirements.txt"
    )
    with pytest.MonkeyPatch.context() as patch, AwsEndpoint(folder / "aws", python=python) as aws:
        # The tests read the record with the runner's own client.
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{aws.port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        # A session that another test has made keeps that one's credentials.
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        with Machine(folder / "lane", aws=aws) as machine:
            machine.set_pace(0.0)
            yield machine


@pytest.fixture
def schema(machine: Machine) -> Iterator[None]:
    """An empty warehouse, and the project of the fault suite again, whatever the test has put in its place."""
    project = machine.project
    machine.empty_warehouse()
    machine.stand_in.run_sql("truncate public.fault_builds")
    yield
    machine.project = project
    machine.set_pace(0.0)
    machine.heal()
