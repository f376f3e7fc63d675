"""
One local cloud for all end-to-end tests: emulator, warehouse, Airflow, and the sample project deployed by the real CDK CLI.

The tests run in the order of their files and lines: each goes on where the one before stopped, as a day in production does.
"""

import contextlib
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import psycopg2
import pytest

from local_cloud.cdk_cli import REPOSITORY_ROOT
from local_cloud.cloud import LocalCloud
from local_cloud.demo import Choice, DeployedProject, deploy, start_and_deploy
from local_cloud.progress import Steps
from local_cloud.redshift_stand_in import RedshiftStandIn
from local_cloud.run_records import Attempt
from tests.documented import documented, typed
from tests.e2e.alerts import Alerts
from tests.e2e.analyst import Analyst
from tests.e2e.grants import Role, deployed_roles

# The CLI's first version has an address of its own for SQS, whatever the environment says. What a command starts must not see
# this docker, which looks for a docker itself.
_PROGRAMS = """
aws() {{ "{aws}" --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }}
docker() {{ "{docker}" "$@"; }}
"""
# The function that empties a bucket before it is deleted, in environments that keep no data.
_CDKS_ROLE = "CustomS3AutoDeleteObjects"


class Story:
    """The deployed sample project, in a copy that tests may edit and deploy again."""

    def __init__(self, cloud: LocalCloud, steps: Steps, choice: Choice) -> None:
        self.cloud = cloud
        self.steps = steps
        self.choice = choice
        cloud.install_venv("aws-cli")
        self.deployed: DeployedProject = start_and_deploy(cloud, steps, choice)
        (topic,) = cloud.account.client("sns").list_topics()["Topics"]
        self._alerts = Alerts(cloud.account, topic_arn=topic["TopicArn"], queue_name="alerts")

    @property
    def project_path(self) -> Path:
        """The folder of the dbt project that is deployed."""
        return Path(self.choice.settings.project_path)

    def deploy_again(self) -> None:
        """Deploy the project as its files are now and wait until Airflow has the new DAG."""
        deploy(self.cloud, self.steps, self.choice, is_first=False)
        self.deployed = DeployedProject(self.cloud, self.choice.settings)
        self.cloud.airflow.wait_for_sync()

    def image_tag(self) -> str:
        """The tag of the image that the project's task definition names."""
        definition = self.cloud.account.client("ecs").describe_task_definition(
            taskDefinition=self.deployed.deployment["task_definition_arn"]
        )
        (container,) = definition["taskDefinition"]["containerDefinitions"]
        return str(container["image"].rpartition(":")[2])

    def alerts(self) -> list[str]:
        """What reached the subscribers of the alert topic since the last call."""
        return self._alerts.read()

    def types(
        self,
        page: str,
        start: str,
        filled: Mapping[str, str] | None = None,
        /,
        *,
        folder: Path = REPOSITORY_ROOT,
        standard_input: str | None = None,
        **more: str,
    ) -> str:
        """What a command of a page writes, typed by someone with the account's own credentials, AWS's CLI and docker, and `more` variables."""
        environment = {**self.cloud.client_environment(), **more}
        programs = _PROGRAMS.format(aws=self.cloud.folder / "venvs/aws-cli/bin/aws", docker=environment["CDK_DOCKER"])
        command = programs + documented(page, start, filled)
        return typed(command, environment=environment, folder=folder, standard_input=standard_input)

    def run(self, **conf: object) -> tuple[str, Attempt]:
        """Let Airflow run the DAG to its end; returns the DAG run's state and the record."""
        with self.steps.step("Airflow runs the DAG") as step:
            return self.deployed.run(step, conf)


Waited = TypeVar("Waited")


def wait_for(look: Callable[[], Waited | None], what: str, *, timeout_seconds: float) -> Waited:
    """What `look` returns as soon as that is true; raises TimeoutError which says that `what` did not happen."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.2)
    raise TimeoutError(f"within {timeout_seconds:.0f} s it did not happen that {what}")


@contextlib.contextmanager
def warehouse_that_hangs(warehouse: RedshiftStandIn, released: threading.Event) -> Iterator[None]:
    """Nobody can make a table or a view until the block ends or the event is set: sources are read, and the build hangs."""
    locked = threading.Event()

    def hold() -> None:
        with warehouse._admin_cursor() as cursor:
            cursor.execute("begin; lock table pg_catalog.pg_class in share mode")
            locked.set()
            released.wait()
            with contextlib.suppress(psycopg2.Error):
                cursor.execute("rollback")

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(30)
    try:
        yield
    finally:
        released.set()
        holder.join()


@pytest.fixture(scope="session", autouse=True)
def _terminated_in_order() -> None:
    """A killed test run ends as Ctrl-C does, and stops what it started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Story]:
    """The sample project in production on this machine."""
    project_path = tmp_path_factory.mktemp("projects") / "bookshop"
    shutil.copytree(REPOSITORY_ROOT / "projects/bookshop", project_path)
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled(), Steps() as steps, LocalCloud(steps=steps) as cloud:
        yield Story(cloud, steps, Choice.make(project_path, REPOSITORY_ROOT / "local_cloud/sources/bookshop.sql"))


@pytest.fixture(scope="session")
def analyst(story: Story) -> Analyst:
    """A person with the permissions of the docs."""
    return Analyst(story)


@pytest.fixture(scope="session")
def roles(story: Story) -> dict[str, Role]:
    """The roles of the deployment by logical id, as they are when a test first asks, CDK's own left out."""
    found = deployed_roles(story, story.choice.settings.environment)
    return {role.logical_id: role for role in found if not role.logical_id.startswith(_CDKS_ROLE)}
