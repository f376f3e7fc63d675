"""The browser of this machine."""

import os
from pathlib import Path

import pytest

from local_cloud.browser import NoBrowserError, ensure_browser
from tests.local_cloud.test_container_engine import command


def test_missing_browser_is_installed_with_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root on a machine with apt-get gets Chromium and is told so."""
    programs = tmp_path / "bin"
    command(
        programs / "apt-get",
        f'case "$1" in install) echo "$@" > {tmp_path}/asked; /bin/cp "$0" {programs}/chromium;; esac',
    )
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    said: list[str] = []

    assert ensure_browser(said.append) == str(programs / "chromium")
    assert (tmp_path / "asked").read_text().startswith("install --yes --no-install-recommends chromium ")
    assert said == ["no browser here: installing chromium with apt-get"]


def test_rejects_a_machine_whose_packages_cannot_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what apt-get said."""
    command(tmp_path / "bin" / "apt-get", 'echo "no such package"; exit 100')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    with pytest.raises(NoBrowserError, match="`apt-get install chromium` failed: no such package"):
        ensure_browser(lambda _: None)


def test_rejects_a_machine_without_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user is told what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(NoBrowserError, match="one of chromium, google-chrome; as root: apt-get install chromium"):
        ensure_browser(lambda _: None)
