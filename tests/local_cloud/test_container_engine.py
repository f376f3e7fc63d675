"""The container engine keeps to one folder, builds like the machine installs, and leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud.container_engine import ContainerEngine, ContainerEngineError, DockerEngine, PodmanEngine

IMAGE = "localhost/local-cloud-test-image"
"""The name under which podman knows the small image of these tests."""


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[PodmanEngine]:
    """Podman with an empty storage of its own."""
    engine = PodmanEngine(tmp_path / "engine")
    yield engine
    if engine.folder.exists():
        engine.remove_all()


@pytest.fixture
def with_image(podman: PodmanEngine, engine: ContainerEngine, image: str, tmp_path: Path) -> PodmanEngine:
    """The same with the tests' small image."""
    engine.run("save", "--output", tmp_path / "image.tar", image)
    podman.run("load", "--input", tmp_path / "image.tar")
    return podman


def mounts_below(folder: Path) -> list[str]:
    """The mount points below a folder."""
    points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point.startswith(f"{folder}/")]


def processes_that_mention(folder: Path) -> list[str]:
    """The command lines that have a folder among their arguments."""
    found = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in found if f"{folder}/" in line]


def test_stop_leaves_no_process_and_no_mount(with_image: PodmanEngine) -> None:
    """A container that still runs, its monitor, the service and podman's own mounts all end; images stay."""
    with_image.start_service()
    with_image.run("run", "--detach", IMAGE, "sleep 98765")
    assert processes_that_mention(with_image.folder)
    assert mounts_below(with_image.folder)

    with_image.stop()

    assert (processes_that_mention(with_image.folder), mounts_below(with_image.folder)) == ([], [])
    assert with_image.has_image(IMAGE)


def test_stop_ends_a_build_that_was_killed(with_image: PodmanEngine, tmp_path: Path) -> None:
    """After SIGKILL in the middle of a RUN neither its processes nor its mounts survive, and the next build works."""
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN sleep 98765\n")
    build = subprocess.Popen(
        ["podman", "build", *with_image.build_options, str(tmp_path)],
        env={**os.environ, **with_image.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not running("sleep 98765") and time.monotonic() < deadline:
        time.sleep(0.1)
    build.send_signal(signal.SIGKILL)
    build.wait()

    with_image.stop()

    assert (running("sleep 98765"), mounts_below(with_image.folder)) == ([], [])
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN id\n")
    with_image.run("build", *with_image.build_options, tmp_path)


def test_nothing_is_kept_outside_the_folder(
    podman: PodmanEngine, engine: ContainerEngine, tmp_path: Path, image: str
) -> None:
    """Neither root's own podman storage nor its settings are touched."""
    watched = [
        Path("/etc/containers"),
        Path("/etc/cni"),
        Path("/var/lib/containers/storage"),
        Path("/run/libpod"),
        Path("/run/containers"),
    ]
    engine.run("save", "--output", tmp_path / "image.tar", image)
    before = {path: files_below(path) for path in watched}

    podman.start_service()
    podman.run("load", "--input", tmp_path / "image.tar")
    podman.run("run", "--rm", image, "id")
    podman.remove_all()

    assert before == {path: files_below(path) for path in watched}
    assert not podman.folder.exists()


def test_container_ends_without_delay(with_image: PodmanEngine) -> None:
    """Podman notices the end of a container at once, which it does only when its records are where its helpers look."""
    begin = time.monotonic()

    with_image.run("run", "--rm", IMAGE, "exit 0")

    assert time.monotonic() - begin < 15


def test_run_may_use_the_package_index_of_this_machine(
    with_image: PodmanEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a RUN pip finds this machine's settings and certificate authorities, and neither stays in the image."""
    index = tmp_path / "index" / "simple"
    index.mkdir(parents=True)
    authorities = tmp_path / "authorities.pem"
    authorities.write_text("trusted by this machine")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"file://{index}")
    monkeypatch.setenv("PIP_CERT", str(authorities))
    (tmp_path / "Dockerfile").write_text(
        f"FROM {IMAGE}\nRUN cat /etc/pip.conf /run/local-cloud/ca-certificates.crt; stat {index}\n"
    )

    built = with_image.run("build", *with_image.build_options, "--tag", "built", tmp_path)
    kept = with_image.run("run", "--rm", "built", "cat /etc/pip.conf /run/local-cloud/ca-certificates.crt")

    assert f"extra-index-url = file://{index}" in built
    assert "cert = /run/local-cloud/ca-certificates.crt" in built
    assert "trusted by this machine" in built
    assert kept == ""


def test_failing_command_tells_what_podman_said(podman: PodmanEngine) -> None:
    """The error holds the engine's own words."""
    with pytest.raises(ContainerEngineError, match=r"no such container|no container with name"):
        podman.run("start", "nobody")


def test_path_of_the_folder_may_be_long(tmp_path: Path) -> None:
    """Podman's own state and its socket go where their paths are short enough, and go from there as well."""
    engine = PodmanEngine(tmp_path / ("deep" * 20) / ("deeper" * 10))

    engine.start_service()

    state = Path(engine.service_url.removeprefix("unix://")).parent
    assert state / "podman.sock" in state.iterdir()
    engine.remove_all()
    assert not state.exists()


def test_docker_is_used_where_its_daemon_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that answers wins over podman, at the address that Docker itself uses."""
    command(tmp_path / "bin" / "docker", 'case "$1" in version) echo 28.0;; context) echo unix:///here.sock;; esac')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.delenv("DOCKER_HOST", raising=False)

    engine = ContainerEngine.detect(tmp_path / "engine")

    assert isinstance(engine, DockerEngine)
    assert engine.service_url == "unix:///here.sock"


def test_missing_podman_is_installed_with_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root on a machine with apt-get gets podman and is told so."""
    command(tmp_path / "bin" / "apt-get", f'echo "$@" >> {tmp_path}/asked')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    said: list[str] = []

    ContainerEngine.detect(tmp_path / "engine", report=said.append)

    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0] == "update"
    assert asked[1].startswith("install --yes --no-install-recommends podman ")
    assert [line.partition(" (")[0] for line in said] == ["no Docker here: installing podman with apt-get"]


def test_rejects_a_machine_without_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is there and nothing can be installed, the error says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    with pytest.raises(ContainerEngineError, match="install Docker, or podman with runc and debootstrap"):
        ContainerEngine.detect(tmp_path / "engine")


def test_rejects_podman_without_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Docker and without root the error names both ways out."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(ContainerEngineError, match="start Docker, or run this as root"):
        ContainerEngine.detect(tmp_path / "engine")


def test_docker_pulls_over_plain_http_from_loopback_only(tmp_path: Path) -> None:
    """Docker needs no setting for a registry on loopback, and has no way to be given one for another."""
    engine = DockerEngine(tmp_path, host="unix:///here.sock")

    engine.start_service(insecure_registries=["127.0.0.1:5000"])
    with pytest.raises(ContainerEngineError, match="from loopback only"):
        engine.start_service(insecure_registries=["registry.example"])


def running(command_line: str) -> list[str]:
    """The processes with exactly this command line."""
    found = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in found if line == command_line]


def files_below(folder: Path) -> list[str]:
    """All paths below a folder, none if it is not there."""
    return sorted(str(path) for path in folder.rglob("*"))


def command(path: Path, script: str) -> None:
    """Put a shell script on a PATH."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{shutil.which('sh') or '/bin/sh'}\n{script}\n")
    path.chmod(0o755)
