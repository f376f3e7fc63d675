"""Images of an artifact: what several have in common lies there once, and each comes out as it went in."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.unit.tools.saved_image import saved_image
from tools import saved_images
from tools.bill_of_materials import image_id

_COMMON = {"usr/lib/python3/dist-packages/dbt_core-1.11.dist-info/METADATA": "Name: dbt_core\nVersion: 1.11\n"}


def _members(archive: Path) -> list[tuple[str, bytes, str, bytes]]:
    with tarfile.open(archive) as tar:
        return [
            (member.name, member.type, member.linkname, tar.extractfile(member).read() if member.isfile() else b"")  # type: ignore[union-attr]
            for member in tar
        ]


def _contents(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (folder / "blobs").iterdir()}


def test_an_image_comes_out_as_it_went_in(tmp_path: Path) -> None:
    """Folders and links as well, in their order: podman writes the layers of older formats as links."""
    archive = saved_image(tmp_path / "in.tar", [_COMMON, {"a": "b"}])
    with tarfile.open(archive, "a") as tar:
        folder, link = tarfile.TarInfo("old"), tarfile.TarInfo("old/layer.tar")
        folder.type, link.type, link.linkname = tarfile.DIRTYPE, tarfile.SYMTYPE, "../0/layer.tar"
        tar.addfile(folder)
        tar.addfile(link)

    saved_images.keep(archive, tmp_path / "kept", "a1b2")
    saved_images.write(tmp_path / "kept", "a1b2", tmp_path / "out.tar")

    assert _members(tmp_path / "out.tar") == _members(archive)
    assert image_id(tmp_path / "out.tar") == image_id(archive)


def test_a_layer_of_two_images_lies_there_once(tmp_path: Path) -> None:
    """A hundred projects share all but the last layer, which would be twenty gigabytes."""
    images = [
        saved_image(tmp_path / f"{project}.tar", [_COMMON, {"project": f"{project}'s models"}])
        for project in ("books", "toys")
    ]
    kept = tmp_path / "kept"
    saved_images.keep(images[0], kept, "books")
    of_one = _contents(kept)
    saved_images.keep(images[1], kept, "toys")

    # The layer of its own; both images have the same configuration here, and list their layers alike.
    assert len(set(_contents(kept)) - set(of_one)) == 1
    for image, name in zip(images, ("books", "toys"), strict=True):
        saved_images.write(kept, name, tmp_path / "out.tar")
        assert _members(tmp_path / "out.tar") == _members(image)


def test_an_image_is_loaded_by_python_alone(tmp_path: Path) -> None:
    """As the artifact's manifests have it done: a copy of the file, in a process that knows nothing of this repository."""
    archive = saved_image(tmp_path / "in.tar", [_COMMON])
    saved_images.keep(archive, tmp_path / "kept", "a1b2")
    loader = tmp_path / "kept/load.py"
    loader.write_bytes(Path(saved_images.__file__).read_bytes())
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$1 $2"; cp "$3" {tmp_path}/loaded.tar; exit 7\n')
    docker.chmod(0o755)

    command = [sys.executable, "-I", str(loader), "a1b2"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={"CDK_DOCKER": str(docker)})

    assert (done.returncode, done.stdout, done.stderr) == (7, "", "load --input\n")
    assert _members(tmp_path / "loaded.tar") == _members(archive)


def test_a_part_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """Nothing is loaded of an image that is not whole."""
    saved_images.keep(saved_image(tmp_path / "in.tar", [_COMMON]), tmp_path / "kept", "a1b2")
    next((tmp_path / "kept/blobs").iterdir()).unlink()

    with pytest.raises(FileNotFoundError, match="blobs"):
        saved_images.load(tmp_path / "kept", "a1b2", "/bin/false")


def test_a_part_of_another_kind_is_not_left_out(tmp_path: Path) -> None:
    """Neither Docker nor podman writes one; an image without it would be another one."""
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        pipe = tarfile.TarInfo("pipe")
        pipe.type = tarfile.FIFOTYPE
        tar.addfile(pipe, io.BytesIO())

    with pytest.raises(ValueError, match=r"in\.tar: pipe is neither file, folder nor link"):
        saved_images.keep(tmp_path / "in.tar", tmp_path / "kept", "a1b2")
