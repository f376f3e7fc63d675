"""Starts and stops the local AWS, and tells programs how to reach it."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from local_cloud.container_engine import ContainerEngine
from local_cloud.emulator.docker_cli import SETTINGS_VARIABLE
from local_cloud.processes import Processes, free_port

_REPOSITORY_ROOT = Path(__file__).resolve().parent.parent.parent
_LOOPBACK_NAMES = Path(__file__).resolve().parent / "loopback_names.cjs"
_START_SECONDS = 60.0
_PROCESS = "emulator"


class Emulator:
    """
    One AWS account in one region, served on loopback, with IAM enforced and tasks run in real containers.

    What it knows is in its memory and ends with it; what it writes lies below `folder`. `python` is the interpreter of the
    environment that holds `emulator-requirements.txt`. Every container of a task gets `task_environment`, and `task_mounts` (paths
    on this machine to paths in the container) read-only.
    """

    def __init__(
        self,
        folder: Path,
        *,
        python: Path,
        engine: ContainerEngine,
        account: str,
        region: str,
        task_environment: Mapping[str, str],
        task_mounts: Mapping[str, str],
    ) -> None:
        self._folder = folder.resolve()
        self._python = python
        self._engine = engine
        self._account = account
        self._region = region
        self._task_environment = dict(task_environment)
        self._task_mounts = dict(task_mounts)
        self._port: int | None = None

    @property
    def endpoint_url(self) -> str:
        """Where the emulator listens; raises RuntimeError before `start`."""
        if self._port is None:
            raise RuntimeError("the emulator is not started")
        # The address and not "localhost": AWS's libraries then address buckets by path without being told to.
        return f"http://127.0.0.1:{self._port}"

    @property
    def iam_log(self) -> Path:
        """
        The log of every IAM decision since the start, one JSON object a line.

        Each has t (ISO 8601, UTC), principal (ARN), action, resource (ARN or "*") and decision: "Allow", "Deny" (explicit),
        "ImplicitDeny", or the code of an authentication error.
        """
        return self._folder / "iam.jsonl"

    @property
    def image_findings(self) -> Path:
        """
        What scans of images find from now on: a JSON object of image digests to findings in the form of ECR's API.

        In an image that is not named nothing is found.
        """
        return self._folder / "image-findings.json"

    @property
    def log_file(self) -> Path:
        """What the emulator itself has to say."""
        return self._folder / "emulator.log"

    def start(self) -> None:
        """Start with an empty account; raises ProcessDiedError, with the end of its log, when it does not come up."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.iam_log.unlink(missing_ok=True)
        self.iam_log.touch()
        self.image_findings.write_text("{}")
        port = free_port()
        registry = f"127.0.0.1:{port}"
        self._engine.start_service(insecure_registries=[registry])
        self._write_docker_cli(registry)
        processes = _processes(self._folder)
        processes.start(
            _PROCESS,
            [self._python, "-m", "local_cloud.emulator.launcher"],
            environment=self._server_environment(port),
            log_file=self.log_file,
        )
        processes.wait_for_port(_PROCESS, port, timeout_seconds=_START_SECONDS)
        self._port = port

    def stop(self) -> None:
        """End the emulator; tasks that still run lose their containers when the engine is stopped."""
        self.stop_leftovers(self._folder)
        self._port = None

    @staticmethod
    def stop_leftovers(folder: Path) -> None:
        """End the emulator of `folder`, also one that another process started."""
        _processes(folder.resolve()).stop_all()
        shutil.rmtree(folder / "tmp", ignore_errors=True)

    def client_environment(self, home: Path) -> dict[str, str]:
        """
        All that a program needs in its environment to use this account as its root user: the CDK CLI, boto3, the AWS CLI.

        Nothing of the caller's own AWS settings gets through. `home` is made if it is missing; the CDK CLI keeps there which
        account a key belongs to, which would be wrong for the next emulator.
        """
        home.mkdir(parents=True, exist_ok=True)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # jsii unpacks 200 MB into this cache; it does not depend on the account and must survive.
        cache = self._folder.parent / "cache" / "jsii"
        return {
            **inherited,
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home.resolve()),
            # The CDK CLI takes the user's own home, whatever HOME says.
            "CDK_HOME": str(home.resolve() / ".cdk"),
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(home.resolve() / "no-aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(home.resolve() / "no-aws-credentials"),
            "CDK_DOCKER": str(self._docker_cli),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "CDK_VALIDATION": "false",
            "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(cache),
            "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "true",
            "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
        }

    @property
    def _docker_cli(self) -> Path:
        return self._folder / "docker"

    def _write_docker_cli(self, registry: str) -> None:
        settings = self._folder / "docker-cli.json"
        settings.write_text(
            json.dumps(
                {
                    "engine_folder": str(self._engine.folder),
                    "registry": registry,
                    "password_file": str(self._folder / "registry-password"),
                }
            )
        )
        self._docker_cli.write_text(
            "#!/bin/sh\n"
            f"export {SETTINGS_VARIABLE}={shlex.quote(str(settings))} PYTHONPATH={shlex.quote(str(_REPOSITORY_ROOT))}\n"
            f'exec {shlex.quote(sys.executable)} -m local_cloud.emulator.docker_cli "$@"\n'
        )
        self._docker_cli.chmod(0o755)

    def _server_environment(self, port: int) -> dict[str, str]:
        temporary = self._folder / "tmp"
        temporary.mkdir(exist_ok=True)
        return {
            # With the locked Node, which functions run in.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "NODE_OPTIONS": f'--require "{_LOOPBACK_NAMES}"',
            # A name, since the SDK makes a longer one of it.
            "AWS_ENDPOINT_URL_CLOUDFRONT_KEYVALUESTORE": f"http://localhost:{port}",
            "PYTHONPATH": str(_REPOSITORY_ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(self._folder),
            "TMPDIR": str(temporary),
            "STATE_DIR": str(self._folder / "state"),
            "S3_DATA_DIR": str(self._folder / "s3"),
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "IOT_MTLS_ENABLED": "0",
            "AUTH": "true",
            "MINISTACK_ACCOUNT_ID": self._account,
            "MINISTACK_REGION": self._region,
            "DOCKER_HOST": self._engine.service_url,
            "LOCAL_CLOUD_IAM_LOG": str(self.iam_log),
            "LOCAL_CLOUD_IMAGE_FINDINGS": str(self.image_findings),
            "LOCAL_CLOUD_CONTAINER_LABELS": json.dumps(dict(self._engine.labels)),
            "LOCAL_CLOUD_TASK_ENVIRONMENT": json.dumps(
                {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", **self._task_environment}
            ),
            "LOCAL_CLOUD_TASK_MOUNTS": json.dumps(self._task_mounts),
        }


# Nothing else of the caller's environment matters to the CDK CLI or an AWS library.
_INHERITED = ("LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS")


def _processes(folder: Path) -> Processes:
    return Processes(folder / "processes")
