"""Docker where its daemon answers, else podman with everything that it keeps below one folder."""

import ast
import base64
import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from local_cloud import debian_packages
from local_cloud.processes import Processes

Report = Callable[[str], None]

# About 40 MB on Debian and Ubuntu. `golang-github-containers-common` brings the defaults that podman insists on.
PODMAN_PACKAGES = (
    "podman",
    "buildah",
    "runc",
    "conmon",
    "debootstrap",
    "debian-archive-keyring",
    "containernetworking-plugins",
    "golang-github-containers-common",
    "uidmap",
)

OWNER_LABEL = "dbt-on-fargate.local-cloud"
"""Every container of a local cloud carries this label; its value is the engine's folder."""

_COMMAND_TIMEOUT_SECONDS = 900.0
# Podman refuses a longer path where it is given on a command line, as in the one that cleans up after each container.
_LONGEST_RUN_ROOT = 50
# What Fargate gives every container (AWS documentation, "Task definition parameters", ulimits).
_FARGATE_OPEN_FILES = 65535
# Fargate gives more; podman and runc fail with values near a lowered limit of the machine, and no task needs as many.
_PROCESSES = 4096


class ContainerEngineError(RuntimeError):
    """There is no usable container engine, or a command of it failed; the message holds what it said."""


def _say_nothing(_line: str) -> None:
    """The report of a caller that wants none."""


class ContainerEngine(ABC):
    """Builds, pushes and runs containers; find the one of this machine with `detect`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    @classmethod
    def detect(cls, folder: Path, *, report: Report = _say_nothing) -> "ContainerEngine":
        """
        The engine of this machine; what it stores goes below `folder` where that is up to us (podman, not Docker).

        Installs podman when it is missing, this is root and there is apt-get; `report` then gets a sentence that says so.
        Raises ContainerEngineError, saying what to install, when there is no engine and none can be installed.
        """
        host = _docker_host()
        if host is not None:
            return DockerEngine(folder, host=host)
        if os.geteuid() != 0:
            raise ContainerEngineError(
                "no Docker daemon answers, and podman needs root here: start Docker, or run this as root"
            )
        if shutil.which("podman") is None or _oci_runtime() is None:
            _install_podman(report)
        return PodmanEngine(folder)

    @property
    def folder(self) -> Path:
        """Where `detect` was told to keep things; the same folder gives the same engine again."""
        return self._folder

    @property
    @abstractmethod
    def name(self) -> str:
        """What to call this engine in a message to a person."""

    @property
    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """What a process needs in its environment, on top of PATH, to use this engine's command line and service."""

    @property
    @abstractmethod
    def executable(self) -> str:
        """The program, which understands Docker's commands and options."""

    @property
    @abstractmethod
    def service_url(self) -> str:
        """Where the Docker-compatible API listens (the value for DOCKER_HOST) once `start_service` has returned."""

    @property
    @abstractmethod
    def build_options(self) -> Sequence[str]:
        """Options for `build` that let a RUN instruction reach package indexes the way this machine does."""

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels that a container must carry for `stop` to remove it."""
        return {OWNER_LABEL: str(self._folder)}

    @abstractmethod
    def start_service(self, *, insecure_registries: Sequence[str] = ()) -> None:
        """Start the Docker-compatible API if nobody has; it pulls from `insecure_registries` over plain http."""

    @abstractmethod
    def stop(self) -> None:
        """Remove our containers and leave no process and no mount behind; what is stored stays. Works in any state."""

    @abstractmethod
    def remove_all(self) -> None:
        """Stop, and delete everything that this engine has stored for us."""

    @abstractmethod
    def push(self, reference: str, target: str, *, user: str, password: str) -> None:
        """Push the local image `reference` as `target` (registry/repository:tag) into a registry that speaks plain http."""

    @abstractmethod
    def pull(self, target: str, reference: str, *, user: str, password: str) -> None:
        """Pull `target` out of a registry that speaks plain http, and call it `reference`."""

    def run(
        self,
        *arguments: str | Path,
        timeout_seconds: float = _COMMAND_TIMEOUT_SECONDS,
        standard_input: str | None = None,
    ) -> str:
        """
        Run one command of the engine and return what it wrote to standard output.

        Raises ContainerEngineError with the tail of its standard error when it fails or takes too long.
        """
        command = [self.executable, *(str(argument) for argument in arguments)]
        try:
            done = subprocess.run(
                command,
                env=_with_path(self.environment),
                input=standard_input,
                stdin=subprocess.DEVNULL if standard_input is None else None,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_seconds,
            )
        except subprocess.TimeoutExpired as expired:
            raise ContainerEngineError(
                f"{' '.join(command[:3])} … did not end within {timeout_seconds:.0f} s"
            ) from expired
        if done.returncode != 0:
            raise ContainerEngineError(f"{' '.join(command[:3])} … failed: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def has_image(self, reference: str) -> bool:
        """Whether the image is stored here, so that using it pulls nothing."""
        try:
            self.run("image", "inspect", "--format", "{{.Id}}", reference)
        except ContainerEngineError:
            return False
        return True

    def import_root(self, archive: Path, reference: str, *, command: str) -> None:
        """Make the image `reference` of one layer out of a tar of a root file system."""
        self.run("import", "--change", f"CMD {json.dumps([command])}", archive, reference)


class DockerEngine(ContainerEngine):
    """Docker with the daemon that is there already; its images stay in the daemon's own storage."""

    def __init__(self, folder: Path, *, host: str) -> None:
        super().__init__(folder)
        self._host = host

    @property
    def name(self) -> str:
        """What to call this engine in a message to a person."""
        return "Docker"

    @property
    def environment(self) -> Mapping[str, str]:
        """The daemon's address, and the user's home for the plug-ins of Docker's command line."""
        return {"DOCKER_HOST": self._host, "HOME": str(Path.home())}

    @property
    def executable(self) -> str:
        """The program on PATH."""
        return "docker"

    @property
    def service_url(self) -> str:
        """The daemon's address."""
        return self._host

    @property
    def build_options(self) -> Sequence[str]:
        """The host's network, so that what the host reaches is reached; proxies are the daemon's own settings."""
        return ("--network", "host")

    def start_service(self, *, insecure_registries: Sequence[str] = ()) -> None:
        """Nothing to start; Docker takes every registry on loopback as one that may speak plain http."""
        refused = [registry for registry in insecure_registries if not registry.startswith("127.")]
        if refused:
            raise ContainerEngineError(f"Docker pulls over plain http from loopback only, got {refused}")

    def stop(self) -> None:
        """Remove the containers that carry our label."""
        label, value = next(iter(self.labels.items()))
        containers = self.run("ps", "--all", "--quiet", "--filter", f"label={label}={value}").split()
        if containers:
            self.run("rm", "--force", "--volumes", *containers)

    def remove_all(self) -> None:
        """Stop, and delete what is below the folder; images stay with the daemon, which shares their layers."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def push(self, reference: str, target: str, *, user: str, password: str) -> None:
        """Push the local image `reference` as `target`."""
        with _registry_login(self._folder, target, user=user, password=password) as login_file:
            self.run("tag", reference, target)
            self.run("--config", login_file.parent, "push", "--quiet", target)

    def pull(self, target: str, reference: str, *, user: str, password: str) -> None:
        """Pull `target` as `reference`."""
        with _registry_login(self._folder, target, user=user, password=password) as login_file:
            self.run("--config", login_file.parent, "pull", "--quiet", target)
            self.run("tag", target, reference)


class PodmanEngine(ContainerEngine):
    """
    Podman as root, with storage, state, settings, sockets and temporary files below one folder.

    Nothing outside is read or changed: not /var/lib/containers, not /etc/containers, no network bridge.
    """

    _SERVICE = "container-service"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._run_root = _run_root(self._folder)
        self._processes = Processes(self._folder / "processes")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._forget_state_of_earlier_boot()
        self._write_settings(insecure_registries=())

    @property
    def name(self) -> str:
        """What to call this engine in a message to a person."""
        return "podman"

    @property
    def environment(self) -> Mapping[str, str]:
        """Where podman finds its settings and leaves its temporary files."""
        settings = self._folder / "settings"
        return {
            "CONTAINERS_CONF": str(settings / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(settings / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(settings / "registries.conf"),
            "REGISTRY_AUTH_FILE": str(settings / "auth.json"),
            # The signature policy is looked for in HOME before /etc, and has no variable of its own.
            "HOME": str(settings),
            "TMPDIR": str(self._folder / "tmp"),
            "DOCKER_HOST": self.service_url,
        }

    @property
    def executable(self) -> str:
        """The program on PATH."""
        return "podman"

    @property
    def service_url(self) -> str:
        """A socket among podman's own state."""
        return f"unix://{self._socket}"

    @property
    def build_options(self) -> Sequence[str]:
        """The host's network, certificates and pip settings for RUN; none of it stays in the image."""
        return ("--network", "host", *self._package_index_mounts())

    def start_service(self, *, insecure_registries: Sequence[str] = ()) -> None:
        """Start `podman system service` if it does not run with these registries already."""
        changed = self._write_settings(insecure_registries=insecure_registries)
        if self._processes.is_running(self._SERVICE):
            if not changed:
                return
            # It reads its settings once, at its start.
            self._processes.stop(self._SERVICE)
        self._run_root.mkdir(parents=True, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        self._processes.start(
            self._SERVICE,
            ["podman", "system", "service", "--time=0", self.service_url],
            environment=_with_path(self.environment),
            log_file=self._folder / "service.log",
            # The monitor of a container that ran out of memory leaves a file `oom` where it is.
            working_folder=self._run_root,
        )
        deadline = time.monotonic() + 20
        while not self._socket.exists():
            self._processes.check(self._SERVICE)
            if time.monotonic() > deadline:
                raise ContainerEngineError("podman's service did not open its socket within 20 s")
            time.sleep(0.02)

    def stop(self) -> None:
        """Remove all containers and leave no process and no mount behind; images stay."""
        self._processes.stop(self._SERVICE)
        if (self._folder / "storage").exists() and shutil.which("podman") is not None:
            # "External" are those of a build that was interrupted; --all does not mean them.
            containers = self.run("ps", "--all", "--external", "--quiet").split()
            if containers:
                self.run("rm", "--force", "--volumes", "--time", "0", *containers)
        self._end_processes()
        self._unmount_everything()
        shutil.rmtree(self._run_root, ignore_errors=True)
        self._remove_global_cache()

    def remove_all(self) -> None:
        """Stop, and delete the whole folder with all images."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=False)

    def push(self, reference: str, target: str, *, user: str, password: str) -> None:
        """Push the local image `reference` as `target`."""
        with _registry_login(self._folder, target, user=user, password=password) as login_file:
            self.run("push", "--quiet", "--tls-verify=false", "--authfile", login_file, reference, f"docker://{target}")

    def pull(self, target: str, reference: str, *, user: str, password: str) -> None:
        """Pull `target` as `reference`."""
        with _registry_login(self._folder, target, user=user, password=password) as login_file:
            self.run("pull", "--quiet", "--tls-verify=false", "--authfile", login_file, f"docker://{target}")
            self.run("tag", target, reference)

    @property
    def _socket(self) -> Path:
        return self._run_root / "podman.sock"

    def _forget_state_of_earlier_boot(self) -> None:
        # Podman tells a reboot by its state being gone, as it would be from /run.
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text()
        marker = self._folder / "boot_id"
        if not marker.exists() or marker.read_text() != boot_id:
            shutil.rmtree(self._run_root, ignore_errors=True)
            marker.write_text(boot_id)
        (self._folder / "tmp").mkdir(exist_ok=True)

    def _write_settings(self, *, insecure_registries: Sequence[str]) -> bool:
        """Write podman's settings; True if something that a running service has read is now different."""
        settings = self._folder / "settings"
        registries = "".join(
            f"[[registry]]\nlocation = {_toml(registry)}\ninsecure = true\n" for registry in insecure_registries
        )
        files = {
            "containers.conf": self._containers_conf(),
            "storage.conf": _STORAGE_CONF.format(
                graph_root=_toml(self._folder / "storage"), run_root=_toml(self._run_root / "storage")
            ),
            "registries.conf": f"unqualified-search-registries = []\n{registries}",
            "auth.json": "{}",
            ".config/containers/policy.json": json.dumps({"default": [{"type": "insecureAcceptAnything"}]}),
        }
        changed = False
        for name, text in files.items():
            file = settings / name
            if not file.exists() or file.read_text() != text:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
                changed = True
        return changed

    def _containers_conf(self) -> str:
        limits = (
            f"nofile={_limit(resource.RLIMIT_NOFILE, _FARGATE_OPEN_FILES)}",
            f"nproc={_limit(resource.RLIMIT_NPROC, _PROCESSES)}",
        )
        return _CONTAINERS_CONF.format(
            limits=", ".join(_toml(limit) for limit in limits),
            runtime=_toml(_oci_runtime() or "runc"),
            # Where the clean-up command that ends each container looks for it, whatever is set here.
            static=_toml(self._folder / "storage" / "libpod"),
            volumes=_toml(self._folder / "volumes"),
            temporary=_toml(self._run_root / "libpod"),
            copies=_toml(self._folder / "tmp"),
            events=_toml(self._run_root / "events.log"),
            networks=_toml(self._folder / "networks"),
        )

    def _package_index_mounts(self) -> list[str]:
        """
        Volumes that give pip inside RUN the indexes and the certificate authorities that pip on this machine has.

        They lie where no Debian package writes, so that a RUN may still install `ca-certificates`.
        """
        settings = _pip_settings()
        authorities = _certificate_bundle(settings.get("cert"))
        mounts: list[tuple[Path, str]] = []
        if authorities is not None:
            settings["cert"] = "/run/local-cloud/ca-certificates.crt"
            mounts.append((authorities, settings["cert"]))
        mounts += [(folder, str(folder)) for folder in _folders_named_in(settings)]
        if settings:
            file = self._folder / "settings" / "pip.conf"
            file.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in sorted(settings.items())))
            mounts.append((file, "/etc/pip.conf"))
        return [option for source, target in mounts for option in ("--volume", f"{source}:{target}:ro")]

    def _end_processes(self) -> None:
        """End what outlived its command: monitors and clean-up commands, and the RUN of a build that was interrupted."""
        helpers = _processes_with_argument(f"{self._folder}/", programs=("conmon", "podman", "runc", "crun"))
        for process in (*helpers, *_processes_on_root_file_system(f"upperdir={self._folder}/")):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _remove_global_cache(self) -> None:
        # Where root's podman keeps its cache of layer digests cannot be set. Beside a storage it belongs to somebody else.
        if _GLOBAL_STATE.exists() and [entry.name for entry in _GLOBAL_STATE.iterdir()] == ["cache"]:
            shutil.rmtree(_GLOBAL_STATE)

    def _unmount_everything(self) -> None:
        """Unmount what podman leaves mounted on purpose (its storage, bound onto itself) and what a crash left."""
        ours = (f"{self._folder}/", f"{self._run_root}/")
        for target in sorted((mount for mount in _mount_points() if mount.startswith(ours)), reverse=True):
            subprocess.run(["umount", "--lazy", target], check=True, capture_output=True)


_GLOBAL_STATE = Path("/var/lib/containers")

_STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = {graph_root}
runroot = {run_root}
"""

# Each differs from podman's default for a reason:
# - netns host: a task reaches the emulator and the warehouse on loopback, and no bridge or firewall rule is made
# - cgroupns host, cgroupfs, runc: crun refuses machines that mix version 1 and 2 of cgroups, and there may be no systemd
# - default_ulimits: raising a limit needs a capability that sandboxes withhold
# - lock_type file: the default is one segment of shared memory for all of root's podmans on the machine
_CONTAINERS_CONF = """\
[containers]
netns = "host"
cgroupns = "host"
default_ulimits = [{limits}]
log_driver = "k8s-file"
[engine]
runtime = {runtime}
cgroup_manager = "cgroupfs"
events_logger = "file"
events_logfile_path = {events}
lock_type = "file"
static_dir = {static}
volume_path = {volumes}
tmp_dir = {temporary}
image_copy_tmp_dir = {copies}
[network]
network_config_dir = {networks}
"""


def _run_root(folder: Path) -> Path:
    """Where podman keeps what need not outlive a reboot: in `folder`, or in /run where the path would be too long."""
    inside = folder / "run"
    if len(str(inside / "storage")) <= _LONGEST_RUN_ROOT:
        return inside
    return Path("/run") / f"local-cloud-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"


def _toml(value: str | Path) -> str:
    # A JSON string is a TOML basic string as well.
    return json.dumps(str(value))


def _limit(kind: int, wanted: int) -> str:
    hard = resource.getrlimit(kind)[1]
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    return f"{limit}:{limit}"


def _with_path(environment: Mapping[str, str]) -> dict[str, str]:
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    return {"PATH": os.environ.get("PATH", os.defpath), **proxies, **environment}


def _docker_host() -> str | None:
    """The address of the Docker daemon that answers, or None."""
    if shutil.which("docker") is None:
        return None
    try:
        subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, check=True, timeout=10
        )
        if "DOCKER_HOST" in os.environ:
            return os.environ["DOCKER_HOST"]
        context = subprocess.run(
            ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"],
            capture_output=True,
            check=True,
            text=True,
            timeout=10,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    return context.stdout.strip()


def _oci_runtime() -> str | None:
    return next((name for name in ("runc", "crun") if shutil.which(name) is not None), None)


def _install_podman(report: Report) -> None:
    if not debian_packages.may_install():
        raise ContainerEngineError(
            "no Docker daemon answers and podman is not installed: install Docker, or podman with runc and debootstrap"
        )
    report(f"no Docker here: installing podman with apt-get ({' '.join(PODMAN_PACKAGES)})")
    try:
        debian_packages.install(PODMAN_PACKAGES)
    except debian_packages.NotInstalledError as error:
        raise ContainerEngineError(
            f"podman could not be installed; start Docker, or install it yourself: {error}"
        ) from error


@contextlib.contextmanager
def _registry_login(folder: Path, target: str, *, user: str, password: str) -> Iterator[Path]:
    """A file of credentials in the format of Docker and podman that exists, for this user only, while it is needed."""
    folder.mkdir(parents=True, exist_ok=True)
    registry = target.partition("/")[0]
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    # The folder is made with access for its owner alone.
    with tempfile.TemporaryDirectory(dir=folder) as private:
        file = Path(private) / "config.json"
        file.write_text(json.dumps({"auths": {registry: {"auth": login}}}))
        yield file


def _pip_settings() -> dict[str, str]:
    """What pip on this machine would use to find packages, from its files and its environment variables."""
    # An environment made by uv has no pip; what the machine has set is the same for all.
    interpreters = dict.fromkeys((sys.executable, str(Path(sys.base_prefix) / "bin/python3"), "python3"))
    for interpreter in interpreters:
        listed = subprocess.run(
            [interpreter, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False, timeout=60
        )
        if listed.returncode == 0:
            return _parse_pip_settings(listed.stdout)
    return {}


def _parse_pip_settings(listed: str) -> dict[str, str]:
    found: dict[str, dict[str, str]] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if key in _PIP_INDEX_SETTINGS:
            found.setdefault(section, {})[key] = " ".join(str(ast.literal_eval(value)).split())
    # In pip's own order: the command's section wins over the general one, and the environment over both.
    return {**found.get("global", {}), **found.get("install", {}), **found.get(":env:", {})}


_PIP_INDEX_SETTINGS = frozenset(
    {"cert", "index-url", "extra-index-url", "find-links", "trusted-host", "proxy", "no-index", "default-timeout"}
)


def _folders_named_in(settings: Mapping[str, str]) -> list[Path]:
    """The folders of this machine that pip's settings name as places of packages."""
    values = " ".join(value for key, value in settings.items() if key in {"index-url", "extra-index-url", "find-links"})
    named = [Path(path) for path in re.findall(r"(?:^|(?<=\s)|file://)(/\S+)", values)]
    # The pages of a simple index link to files that lie beside its folder (PEP 503 leaves the place open).
    folders = [path.parent if path.name == "simple" else path for path in named]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _certificate_bundle(pip_cert: str | None) -> Path | None:
    """The file of certificate authorities that programs on this machine trust; None where none is to be found."""
    named = (pip_cert, os.environ.get("SSL_CERT_FILE"), os.environ.get("REQUESTS_CA_BUNDLE"))
    usual = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
    return next((Path(file) for file in (*named, *usual) if file and Path(file).is_file()), None)


def _processes_with_argument(argument: str, *, programs: Sequence[str]) -> list[int]:
    """The processes of `programs` that have `argument` somewhere in their command line."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            command = (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        program = os.fsdecode(command.partition(b"\0")[0])
        if Path(program).name in programs and os.fsencode(argument) in command:
            found.append(int(process.name))
    return found


def _processes_on_root_file_system(mount_options: str) -> list[int]:
    """The processes whose own root directory is a mount with `mount_options` among its options."""
    found = []
    own = Path("/proc/self/ns/mnt").readlink()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if (process / "ns" / "mnt").readlink() == own:
                continue
            mounts = (process / "mountinfo").read_bytes().splitlines()
        # A process that ends in between may be reported in any of these ways.
        except OSError:
            continue
        if any(line.split(b" ")[4] == b"/" and os.fsencode(mount_options) in line for line in mounts):
            found.append(int(process.name))
    return found


def _mount_points() -> list[str]:
    """All mount points that this process sees (proc(5), mountinfo: field 5, with octal escapes)."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), line.split(" ")[4]) for line in lines]
