"""The base image is pulled where that is possible, and made of Debian packages where it is not."""

import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from local_cloud import base_image
from local_cloud.base_image import BASE_IMAGE, BaseImageError, ensure_base_image
from local_cloud.container_engine import ContainerEngineError, DockerEngine
from tests.local_cloud.emulators import REPO_ROOT

NOWHERE = "registry.invalid/library/debian:trixie-slim"


class RecordingEngine(DockerEngine):
    """An engine that does nothing but remember its commands; `pull` fails where it is told to."""

    def __init__(self, folder: Path, *, pulls: bool = True) -> None:
        super().__init__(folder, host="unix:///nowhere.sock")
        self.commands: list[tuple[str, ...]] = []
        self.images: set[str] = set()
        self._pulls = pulls

    def has_image(self, reference: str) -> bool:
        """Whether it was given the image before."""
        return reference in self.images

    def run(
        self,
        *arguments: str | Path,
        timeout_seconds: float = 0,  # noqa: ARG002 -- the engine's signature
        standard_input: str | None = None,  # noqa: ARG002 -- the engine's signature
    ) -> str:
        """Remember the command."""
        if arguments[0] == "pull" and not self._pulls:
            raise ContainerEngineError("manifest unknown")
        self.commands.append(tuple(str(argument) for argument in arguments))
        return ""


@pytest.fixture
def bootstrapped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The suites that were asked of debootstrap, which is replaced by one that writes an empty tar."""
    suites: list[str] = []

    def bootstrap(suite: str, archive: Path) -> None:
        suites.append(suite)
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.touch()

    monkeypatch.setattr(base_image, "_bootstrap", bootstrap)
    return suites


def answers(registry_answers: bool) -> Callable[[str], bool]:
    """A replacement for asking a registry."""
    return lambda _registry: registry_answers


def test_dockerfile_asks_for_the_image_that_is_made() -> None:
    """The name of the base image is the default of the Dockerfile's argument."""
    asked = re.search(r"^ARG BASE_IMAGE=(\S+)$", (REPO_ROOT / "container/Dockerfile").read_text(), flags=re.MULTILINE)

    assert asked is not None
    assert asked[1] == BASE_IMAGE


def test_image_that_is_there_needs_nothing(tmp_path: Path) -> None:
    """Nothing is asked of a registry and nothing is made when the engine has the image."""
    engine = RecordingEngine(tmp_path)
    engine.images.add(BASE_IMAGE)

    ensure_base_image(engine, cache_folder=tmp_path, report=pytest.fail)

    assert engine.commands == []


def test_image_is_pulled_where_the_registry_answers(
    tmp_path: Path, bootstrapped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that answers gives the image, and nothing is made."""
    monkeypatch.setattr(base_image, "_registry_answers", answers(True))
    engine = RecordingEngine(tmp_path)

    ensure_base_image(engine, NOWHERE, cache_folder=tmp_path, report=lambda _: None)

    assert (engine.commands, bootstrapped) == ([("pull", "--quiet", NOWHERE)], [])


@pytest.mark.parametrize("registry_answers", [True, False], ids=["refuses the pull", "does not answer"])
def test_image_is_made_where_it_cannot_be_pulled(
    tmp_path: Path, bootstrapped: list[str], monkeypatch: pytest.MonkeyPatch, registry_answers: bool
) -> None:
    """Otherwise it is made once, imported under the very name, and taken from the cache the second time."""
    monkeypatch.setattr(base_image, "_registry_answers", answers(registry_answers))
    engine = RecordingEngine(tmp_path, pulls=False)

    for _ in range(2):
        ensure_base_image(engine, NOWHERE, cache_folder=tmp_path / "cache", report=lambda _: None)

    assert bootstrapped == ["trixie"]
    assert [command[-1] for command in engine.commands if command[0] == "import"] == [NOWHERE, NOWHERE]


def test_registry_that_cannot_be_reached_is_given_up_at_once() -> None:
    """A name that does not resolve is no registry, and asking does not raise."""
    assert not base_image._registry_answers("registry.invalid")


def test_rejects_an_image_that_can_neither_be_pulled_nor_made(tmp_path: Path) -> None:
    """Only Debian's own images can be made of packages."""
    engine = RecordingEngine(tmp_path)

    with pytest.raises(BaseImageError, match=r"only debian:<suite>\[-slim\] can be made here"):
        ensure_base_image(engine, "registry.invalid/alpine:3", cache_folder=tmp_path, report=lambda _: None)


def test_interrupted_bootstrap_leaves_nothing_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tar is in the cache complete or not at all."""
    failing = tmp_path / "debootstrap"
    failing.write_text("#!/bin/sh\necho no such suite >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(base_image, "_debootstrap_command", lambda _suite, _root: [str(failing)])

    with pytest.raises(BaseImageError, match="no such suite"):
        base_image._bootstrap("trixie", tmp_path / "cache" / "debian.tar")
    assert list((tmp_path / "cache").iterdir()) == []


def test_image_is_as_slim_as_debians_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documentation, translations, package lists and this machine's own settings go; licences and package sources stay."""
    kept = "usr/share/doc/x/copyright"
    gone = (
        *("usr/share/doc/x/changelog", "usr/share/man/man1/x.1", "usr/share/locale/de/x.mo", "var/lib/apt/lists/x"),
        *("var/cache/apt/pkgcache.bin", "etc/resolv.conf", "etc/hostname", "etc/apt/sources.list"),
    )
    folders = ("etc/apt/sources.list.d", "etc/apt/apt.conf.d", "etc/dpkg/dpkg.cfg.d", "usr/sbin")
    script = tmp_path / "debootstrap"
    lines = [f'mkdir -p "$1/{folder}"' for folder in folders]
    lines += [f'mkdir -p "$1/$(dirname {file})"; echo x > "$1/{file}"' for file in (kept, *gone)]
    script.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    script.chmod(0o755)
    monkeypatch.setattr(base_image, "_debootstrap_command", lambda _suite, root: [str(script), str(root)])

    base_image._bootstrap("trixie", tmp_path / "debian.tar")

    with tarfile.open(tmp_path / "debian.tar") as tar:
        names = {name.removeprefix("./") for name in tar.getnames()}
        sources = tar.extractfile("./etc/apt/sources.list.d/debian.sources")
        assert sources is not None
        assert b"Suites: trixie trixie-updates" in sources.read()
    assert kept in names
    assert set() == names & set(gone)
