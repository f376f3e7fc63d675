"""The local cloud as one thing: what it is made of, in which order it starts and how all of it ends."""

import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

from local_cloud.account import LocalAccount, Warehouse
from local_cloud.airflow import LocalAirflow
from local_cloud.base_image import BASE_IMAGE, ensure_base_image
from local_cloud.cdk_cli import REPOSITORY_ROOT, CdkCli
from local_cloud.container_engine import ContainerEngine
from local_cloud.emulator import Emulator
from local_cloud.local_settings import LocalSettings
from local_cloud.processes import Processes
from local_cloud.progress import Steps
from local_cloud.redshift_stand_in import RedshiftStandIn
from local_cloud.venvs import install_venv

DEFAULT_FOLDER = REPOSITORY_ROOT / ".local-cloud"
VENVS = {
    "emulator": "the AWS emulator",
    "airflow-3": "Airflow 3",
    "airflow-2": "Airflow 2",
    "airflow-cosmos": "Airflow 3 with Astronomer Cosmos",
    "checkov": "Checkov",
    "datahub": "DataHub's reader of dbt",
    "screenshots": "what drives a browser",
    "aws-cli": "the AWS CLI",
}
GLUE_CONNECTION_NAME = "warehouse"
_CA_FILE_IN_CONTAINER = "/etc/warehouse-ca.pem"


class LocalCloud:
    """
    An AWS account, a warehouse and an Airflow on this machine, everything below `folder`.

    Use it as a context manager: whatever happens inside, nothing is left running after it unless `keep()` was called.
    """

    def __init__(
        self, folder: Path = DEFAULT_FOLDER, *, steps: Steps, airflow_major: int = 3, airflow_venv: str | None = None
    ) -> None:
        self.folder = folder
        self._steps = steps
        self._airflow_venv = airflow_venv or f"airflow-{airflow_major}"
        self._kept = False
        self.engine: ContainerEngine
        self.emulator: Emulator
        self.warehouse = RedshiftStandIn(folder / "warehouse", report=_ignore)
        self.airflow: LocalAirflow
        self.account: LocalAccount

    def __enter__(self) -> Self:
        """Return itself; nothing is started yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End everything unless it is to be kept."""
        if not self._kept:
            self.stop()

    def keep(self) -> None:
        """Leave everything running when the block ends."""
        self._kept = True

    def prepare(self) -> None:
        """Install what the local cloud is made of: engine, base image, environments. Needs no running part."""
        with ThreadPoolExecutor() as pool:
            _all(
                [
                    pool.submit(self._prepare_engine),
                    pool.submit(self.install_venv, "emulator"),
                    pool.submit(self.install_venv, self._airflow_venv),
                ]
            )

    def install_venv(self, name: str) -> None:
        """Install one of `VENVS`, if what is installed is not what is locked."""
        with self._steps.step(f"Install {VENVS[name]}"):
            install_venv(self.folder / "venvs" / name, REPOSITORY_ROOT / f"local_cloud/{name}-requirements.txt")

    def start(self, settings: LocalSettings) -> None:
        """
        Start all parts, the account of `settings` prepared as a real one would be before the first deploy.

        What an earlier, killed run left behind is ended first.
        """
        self._stop_leftovers()
        # The CDK CLI keeps there which account a key is of, and the account before may have been another.
        shutil.rmtree(self.folder / "home", ignore_errors=True)
        self.prepare()
        with self._steps.step("Start the AWS emulator and the Redshift stand-in"):
            self.warehouse.start()
            self.emulator = Emulator(
                self.folder / "emulator",
                python=self.folder / "venvs/emulator/bin/python",
                engine=self.engine,
                account=settings.account,
                region=settings.region,
                # The second is what the library reads with which lineage is sent.
                task_environment=dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), _CA_FILE_IN_CONTAINER),
                task_mounts={str(self.warehouse.ca_file): _CA_FILE_IN_CONTAINER},
            )
            self.emulator.start()
            self.account = LocalAccount(
                endpoint_url=self.emulator.endpoint_url,
                region=settings.region,
                access_key_id=self.client_environment()["AWS_ACCESS_KEY_ID"],
                secret_access_key=self.client_environment()["AWS_SECRET_ACCESS_KEY"],
            )
            self._prepare_account(settings)

    def client_environment(self) -> dict[str, str]:
        """The environment of programs that use this account: the CDK CLI, boto3."""
        environment = self.emulator.client_environment(self.folder / "home")
        # The app's Python and Node are those that are pinned here, whatever the caller's PATH says.
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        # The CDK, jsii and dbt leave folders behind when they are interrupted.
        temporary = self.folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        environment["TMPDIR"] = str(temporary)
        return environment

    def airflow_environment(self) -> Mapping[str, str]:
        """What Airflow's processes get besides; for those who need another Airflow than a demo. The warehouse is up."""
        return {}

    def cdk(self, app: Sequence[str] = ("python", "app.py")) -> CdkCli:
        """The CDK CLI for this account and `app`."""
        return CdkCli(
            app=app,
            environment=self.client_environment(),
            output=self.folder / "cdk.out",
            log_file=self.folder / "logs/cdk.log",
        )

    def stop(self) -> None:
        """End every process, container and mount of the local cloud, also those that an earlier run left."""
        # A second Ctrl-C would leave half of it running.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._stop_leftovers()
        finally:
            signal.signal(signal.SIGINT, before)

    def delete(self) -> None:
        """Stop, then delete all that was installed, built and written."""
        self.stop()
        if (self.folder / "containers").exists():
            ContainerEngine.detect(self.folder / "containers", report=_ignore).remove_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _prepare_engine(self) -> None:
        with self._steps.step("Find a container engine") as step:
            self.engine = ContainerEngine.detect(self.folder / "containers", report=step.say)
        with self._steps.step(f"Make sure of the base image {BASE_IMAGE.rpartition('/')[2]}") as step:
            ensure_base_image(self.engine, cache_folder=self.folder / "cache", report=step.say)

    def _prepare_account(self, settings: LocalSettings) -> None:
        self.account.make_bucket(settings.dags_bucket)
        aws_environment = self.account.make_airflow_role(
            settings.airflow_role_arn, dags_bucket=settings.dags_bucket, config_folder=self.folder / "airflow-aws"
        )
        self.account.make_glue_connection(
            GLUE_CONNECTION_NAME,
            Warehouse(
                host=self.warehouse.host,
                port=self.warehouse.port,
                database=self.warehouse.database,
                user=self.warehouse.user,
                password=self.warehouse.password,
            ),
        )
        # The account is new, so Airflow knows nothing of an earlier one's DAGs and runs.
        shutil.rmtree(self.folder / "airflow", ignore_errors=True)
        self.airflow = LocalAirflow(
            self.folder / "airflow",
            venv=self.folder / "venvs" / self._airflow_venv,
            dags_bucket=settings.dags_bucket,
            dags_prefix=settings.dags_prefix,
            aws_environment={**aws_environment, **self.airflow_environment()},
        )

    def _stop_leftovers(self) -> None:
        Processes(self.folder / "airflow/processes").stop_all()
        Emulator.stop_leftovers(self.folder / "emulator")
        if (self.folder / "containers").exists():
            ContainerEngine.detect(self.folder / "containers", report=_ignore).stop()
        self.warehouse.stop()
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)


def share_installed(folder: Path) -> None:
    """Let a local cloud in `folder` use what the one in `DEFAULT_FOLDER` has installed and downloaded."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("venvs", "cache"):
        (DEFAULT_FOLDER / name).mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists():
            (folder / name).symlink_to(DEFAULT_FOLDER / name)


def _ignore(_: str) -> None:
    """Say nothing: the step's own line is enough."""


def _all(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        future.result()
