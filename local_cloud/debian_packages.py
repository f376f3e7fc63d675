"""Debian's packages, installed where that may be done: as root, where there is apt-get."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence


class NotInstalledError(RuntimeError):
    """Packages are missing and cannot be installed; the message says why."""


def may_install() -> bool:
    """Whether this user may install packages here."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: Sequence[str]) -> None:
    """Install packages; raises NotInstalledError with the command for a person and the last that apt-get said."""
    # Files of configuration that are there already stay, and nobody is asked.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "UCF_FORCE_CONFFOLD": "1"}
    options = ["--yes", "--no-install-recommends"]
    # Where one source of several does not answer, the lists that are there may do.
    _apt_get(["update"], environment)
    done = _apt_get(["install", *options, *packages, "-o", "Dpkg::Options::=--force-confold"], environment)
    if done.returncode != 0:
        raise NotInstalledError(
            f"`apt-get install {' '.join(packages)}` failed: {(done.stdout + done.stderr).strip()[-1000:]}"
        )


def _apt_get(arguments: Sequence[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["apt-get", *arguments], env=environment, capture_output=True, text=True, check=False)
