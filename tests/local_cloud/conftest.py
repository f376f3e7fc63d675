"""Real emulators for the tests of the patches: ours, and the stock one beside it."""

import json
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_cloud.container_engine import ContainerEngine
from local_cloud.emulator import Emulator
from local_cloud.processes import Processes, free_port
from local_cloud.venvs import install_venv
from tests.local_cloud.emulators import ACCOUNT, REGION, REPO_ROOT, Aws

IMAGE = "local-cloud-test-image"
# What the containers of these tests run, taken from this machine with the libraries that they need.
PROGRAMS = ("sh", "cat", "chown", "env", "id", "mkdir", "rm", "sleep", "stat", "touch")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerEngine]:
    """The container engine of this machine, with a storage of its own."""
    found = ContainerEngine.detect(tmp_path_factory.mktemp("engine"))
    yield found
    found.remove_all()


@pytest.fixture(scope="session")
def emulator_python() -> Path:
    """The interpreter of the emulator's environment, the same one that the demo uses."""
    return install_venv(REPO_ROOT / ".local-cloud/venvs/emulator", REPO_ROOT / "local_cloud/emulator-requirements.txt")


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory, engine: ContainerEngine, emulator_python: Path) -> Iterator[Aws]:
    """The emulator as the product starts it."""
    folder = tmp_path_factory.mktemp("emulator")
    mounted = folder / "mounted.txt"
    mounted.write_text("from this machine")
    emulator = Emulator(
        folder / "state",
        python=emulator_python,
        engine=engine,
        account=ACCOUNT,
        region=REGION,
        task_environment={"GIVEN_TO_ALL_TASKS": "yes"},
        task_mounts={str(mounted): "/mounted.txt"},
    )
    emulator.start()
    yield Aws(emulator.endpoint_url, iam_log=emulator.iam_log, image_findings=emulator.image_findings)
    emulator.stop()


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory, engine: ContainerEngine, emulator_python: Path) -> Iterator[Aws]:
    """The emulator without any patch: a patch that it no longer needs makes the test of that patch fail."""
    folder = tmp_path_factory.mktemp("stock")
    engine.start_service()
    port = free_port()
    processes = Processes(folder / "processes")
    processes.start(
        "stock",
        [emulator_python, "-m", "ministack.app"],
        environment={
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "STATE_DIR": str(folder / "state"),
            "S3_DATA_DIR": str(folder / "s3"),
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "IOT_MTLS_ENABLED": "0",
            "AUTH": "true",
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "DOCKER_HOST": engine.service_url,
        },
        log_file=folder / "stock.log",
    )
    processes.wait_for_port("stock", port, timeout_seconds=60)
    yield Aws(f"http://127.0.0.1:{port}")
    processes.stop_all()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, engine: ContainerEngine) -> str:
    """An image of a few megabytes with a shell, whose user is 10001 and owns the declared volume /owned."""
    folder = tmp_path_factory.mktemp("image")
    _write_small_root(folder / "root.tar")
    engine.import_root(folder / "root.tar", f"{IMAGE}-root", command="sh")
    (folder / "Dockerfile").write_text(
        f"FROM {IMAGE}-root\n"
        "RUN mkdir /owned /tmp && chown 10001:10001 /owned && touch /owned/from-the-image\n"
        "VOLUME /owned\n"
        "USER 10001\n"
        'ENTRYPOINT ["/bin/sh", "-c"]\n'
    )
    engine.run("build", *engine.build_options, "--tag", IMAGE, folder)
    return IMAGE


@pytest.fixture
def unique() -> str:
    """A name that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def role(unique: str) -> Callable[..., str]:
    """Makes a role with one policy, which the account or the named service may assume; returns its ARN."""

    def make(where: Aws, *statements: dict[str, object], trusts: str = "account", name: str = "") -> str:
        principal = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"} if trusts == "account" else {"Service": trusts}
        role_name = f"{unique}-{name or uuid.uuid4().hex[:6]}"
        trust = {
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"},
        }
        iam = where.client("iam")
        arn: str = iam.create_role(RoleName=role_name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        if statements:
            allowed = [{"Effect": "Allow", **statement} for statement in statements]
            policy = {"Version": "2012-10-17", "Statement": allowed}
            iam.put_role_policy(RoleName=role_name, PolicyName="test", PolicyDocument=json.dumps(policy))
        return arn

    return make


def _write_small_root(archive: Path) -> None:
    paths = [Path(shutil.which(program) or program) for program in PROGRAMS]
    listed = subprocess.run(["ldd", *paths], capture_output=True, text=True, check=True).stdout
    libraries = {Path(word) for word in listed.split() if word.startswith("/") and not word.endswith(":")}
    with tarfile.open(archive, "w", dereference=True) as tar:
        for path in paths:
            tar.add(path, arcname=f"bin/{path.name}")
        for library in sorted(libraries):
            tar.add(library, arcname=str(library).lstrip("/"))
