"""The part of the local cloud that the benchmarks need: container engine, AWS emulator, warehouse. No Airflow, no deployment."""

import base64
import json
import urllib.request
from collections.abc import Mapping
from typing import Any, Self

from local_cloud.account import LocalAccount, Warehouse
from local_cloud.base_image import ensure_base_image
from local_cloud.cloud import DEFAULT_FOLDER, LocalCloud
from local_cloud.container_engine import ContainerEngine
from local_cloud.emulator import Emulator
from local_cloud.progress import Steps
from local_cloud.redshift_stand_in import RedshiftStandIn
from stacks.environments import LOCAL

FOLDER = DEFAULT_FOLDER / "bench"
"""Of its own, so that a demo may run at the same time."""

GLUE_CONNECTION_NAME = "warehouse"
CA_FILE_IN_CONTAINER = "/etc/warehouse-ca.pem"
_PLAIN_PASSWORD = "Bench0nly"  # noqa: S105 - of a database on loopback; the article's script breaks on a quote in it
_MANIFESTS = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


class BenchCloud:
    """Everything below `FOLDER`; used as a context manager, it leaves nothing running however the block ends."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.engine: ContainerEngine
        self.account: LocalAccount
        self.warehouse = RedshiftStandIn(FOLDER / "warehouse", report=lambda _: None)
        self._emulator: Emulator

    def __enter__(self) -> Self:
        """Start."""
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self._stop()

    @property
    def container_environment(self) -> Mapping[str, str]:
        """How a container reaches the account and checks the warehouse's certificate."""
        return {
            "AWS_ENDPOINT_URL": self._emulator.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": LOCAL.region,
            "AWS_DEFAULT_REGION": LOCAL.region,
            "SSL_CERT_FILE": CA_FILE_IN_CONTAINER,
        }

    def empty_bucket(self, name: str) -> None:
        """Delete all objects of a bucket, parse caches among them."""
        s3 = self.account.client("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name)
        for key in [item["Key"] for page in pages for item in page.get("Contents", [])]:
            s3.delete_object(Bucket=name, Key=key)

    def push(self, image: str, repository: str) -> Mapping[str, Any]:
        """Push `image` into a registry and return its manifest there, in which layers have their compressed sizes."""
        ecr = self.account.client("ecr")
        known = {found["repositoryName"] for found in ecr.describe_repositories()["repositories"]}
        if repository not in known:
            ecr.create_repository(repositoryName=repository)
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        tag = image.rpartition(":")[2]
        registry = self._emulator.endpoint_url.removeprefix("http://")
        self.engine.push(image, f"{registry}/{repository}:{tag}", user=user, password=password)
        request = urllib.request.Request(  # noqa: S310 - an http address on loopback
            f"{self._emulator.endpoint_url}/v2/{repository}/manifests/{tag}",
            headers={"Accept": _MANIFESTS, "Authorization": f"Basic {token}"},
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - see above
            body = answer.read()
        manifest: dict[str, Any] = json.loads(body)
        manifest["size"] = len(body)
        return manifest

    def _start(self) -> None:
        self._stop()
        LocalCloud(steps=self._steps).install_venv("emulator")
        with self._steps.step("Find a container engine and the base image") as step:
            self.engine = ContainerEngine.detect(FOLDER / "containers", report=step.say)
            ensure_base_image(self.engine, cache_folder=DEFAULT_FOLDER / "cache", report=step.say)
        with self._steps.step("Start the AWS emulator and the Redshift stand-in"):
            self.warehouse.start()
            self.warehouse.run_sql(f"alter role {self.warehouse.user} password '{_PLAIN_PASSWORD}'")
            # When a query began is read from the server's log.
            self.warehouse.run_sql(f"alter role {self.warehouse.user} set log_statement = 'all'")
            self._emulator = Emulator(
                FOLDER / "emulator",
                python=DEFAULT_FOLDER / "venvs/emulator/bin/python",
                engine=self.engine,
                account=LOCAL.account,
                region=LOCAL.region,
                task_environment={},
                task_mounts={},
            )
            self._emulator.start()
            environment = self._emulator.client_environment(FOLDER / "home")
            self.account = LocalAccount(
                endpoint_url=self._emulator.endpoint_url,
                region=LOCAL.region,
                access_key_id=environment["AWS_ACCESS_KEY_ID"],
                secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            )
            self.account.make_glue_connection(
                GLUE_CONNECTION_NAME,
                Warehouse(
                    host=self.warehouse.host,
                    port=self.warehouse.port,
                    database=self.warehouse.database,
                    user=self.warehouse.user,
                    password=_PLAIN_PASSWORD,
                ),
            )

    def _stop(self) -> None:
        Emulator.stop_leftovers(FOLDER / "emulator")
        if (FOLDER / "containers").exists():
            ContainerEngine.detect(FOLDER / "containers").stop()
        self.warehouse.stop()
