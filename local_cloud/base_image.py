"""The base image that a Dockerfile asks for: pulled where a registry can be reached, else made of Debian packages."""

import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from local_cloud.container_engine import ContainerEngine, ContainerEngineError

Report = Callable[[str], None]

BASE_IMAGE = "public.ecr.aws/docker/library/debian:trixie-slim"
"""What `ARG BASE_IMAGE` of the product's Dockerfile is by default."""

_REGISTRY_ANSWER_SECONDS = 3.0
_PULL_SECONDS = 300.0
_ARCHIVE_MIRROR = "http://deb.debian.org/debian"
_SECURITY_MIRROR = "http://deb.debian.org/debian-security"
# `debian:<suite>` or `debian:<suite>-slim` in any registry.
_DEBIAN_IMAGE = re.compile(r"(?:^|/)debian:(?P<suite>[a-z]+?)(?:-slim)?$")


class BaseImageError(RuntimeError):
    """The base image can neither be pulled nor made here; the message says why."""


def ensure_base_image(engine: ContainerEngine, name: str = BASE_IMAGE, *, cache_folder: Path, report: Report) -> None:
    """
    Make sure that `engine` has the image `name`, so that a Dockerfile's FROM finds it.

    Pulls it where its registry answers within three seconds. Where it does not, a Debian image is made with debootstrap, as
    Debian's own images are; that takes about 40 s once and a few seconds from the tar in `cache_folder` afterwards.
    Raises BaseImageError when neither works.
    """
    if engine.has_image(name):
        return
    registry = name.partition("/")[0]
    if _registry_answers(registry):
        report(f"pulling {name}")
        try:
            engine.run("pull", "--quiet", name, timeout_seconds=_PULL_SECONDS)
        except ContainerEngineError as error:
            report(f"{name} could not be pulled ({str(error).splitlines()[-1]}), making it of Debian packages")
        else:
            return
    suite = _DEBIAN_IMAGE.search(name)
    if suite is None:
        raise BaseImageError(f"the registry of {name} does not answer, and only debian:<suite>[-slim] can be made here")
    archive = cache_folder / f"debian-{suite['suite']}-{_debian_architecture()}.tar"
    if not archive.exists():
        report(f"{registry} does not answer: making {name} of Debian packages (once, about 40 s)")
        _bootstrap(suite["suite"], archive)
    engine.import_root(archive, name, command="bash")


def _registry_answers(registry: str) -> bool:
    """Whether there is a registry; 401 is the usual answer to somebody who has not logged in."""
    try:
        # Name resolution has no time limit of its own, a refused one comes back at once.
        with socket.create_connection((registry, 443), timeout=_REGISTRY_ANSWER_SECONDS):
            pass
        with urllib.request.urlopen(f"https://{registry}/v2/", timeout=_REGISTRY_ANSWER_SECONDS):
            return True
    except urllib.error.HTTPError as answer:
        return answer.code == 401
    except OSError:
        return False


def _debian_architecture() -> str:
    done = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BaseImageError(f"dpkg does not tell this machine's architecture: {done.stderr.strip()}")
    return done.stdout.strip()


def _bootstrap(suite: str, archive: Path) -> None:
    """Write a tar of a minimal Debian of `suite`, complete or not at all."""
    if shutil.which("debootstrap") is None:
        raise BaseImageError(
            "debootstrap is not installed: apt-get install debootstrap, or make the registry reachable"
        )
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as work:
        root = Path(work) / "root"
        root.mkdir(mode=0o755)
        done = subprocess.run(
            [*_OWN_NAMESPACES, *_debootstrap_command(suite, root)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise BaseImageError(f"debootstrap {suite} failed:\n{(done.stdout + done.stderr)[-2000:]}")
        _write_package_settings(root, suite)
        _slim(root)
        finished = Path(work) / archive.name
        with tarfile.open(finished, "w") as tar:
            tar.add(root, arcname=".")
        finished.replace(archive)


# However this ends, also by Ctrl-C, what debootstrap has mounted goes with the mount namespace and what it runs with the
# process namespace.
_OWN_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def _debootstrap_command(suite: str, root: Path) -> list[str]:
    command = ["debootstrap", "--variant=minbase", suite, str(root), _ARCHIVE_MIRROR]
    # An older debootstrap does not know the name of a newer suite; all suites since 2009 share one script.
    scripts = Path("/usr/share/debootstrap/scripts")
    return command if (scripts / suite).exists() else [*command, str(scripts / "sid")]


def _write_package_settings(root: Path, suite: str) -> None:
    """The package sources of Debian's image, and its settings that keep later packages as slim as these."""
    (root / "etc/apt/sources.list").unlink()
    (root / "etc/apt/sources.list.d/debian.sources").write_text(
        "".join(
            f"Types: deb\nURIs: {mirror}\nSuites: {suites}\nComponents: main\n"
            "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
            for mirror, suites in (
                (_ARCHIVE_MIRROR, f"{suite} {suite}-updates"),
                (_SECURITY_MIRROR, f"{suite}-security"),
            )
        )
    )
    (root / "etc/dpkg/dpkg.cfg.d/docker").write_text(
        "".join(f"path-exclude {pattern}\n" for pattern in ("/usr/share/doc/*", *(f"/{p}/*" for p in _SLIMMED)))
        + "path-include /usr/share/doc/*/copyright\n"
    )
    (root / "etc/apt/apt.conf.d/docker-no-languages").write_text('Acquire::Languages "none";\n')
    # A RUN must not start a service because its package was installed.
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)


# What `debuerreotype-slimify` takes out of debian:<suite>-slim.
_SLIMMED = (
    "usr/share/groff",
    "usr/share/info",
    "usr/share/linda",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
)


def _slim(root: Path) -> None:
    for folder in (*_SLIMMED, "var/lib/apt/lists", "var/cache/apt", "var/log", "dev", "tmp"):
        for entry in (root / folder).glob("*"):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for file in (root / "usr/share/doc").rglob("*"):
        if file.name != "copyright" and not file.is_dir():
            file.unlink()
    for of_this_machine in ("etc/resolv.conf", "etc/hostname"):
        (root / of_this_machine).unlink(missing_ok=True)
