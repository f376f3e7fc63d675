"""Images as `docker save` writes them, without Docker."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def saved_image(file: Path, layers: Sequence[Mapping[str, str]]) -> Path:
    """Write an image of `layers`, each the texts of its files by path; returns `file`."""
    config = json.dumps({"os": "linux", "layers": len(layers)})
    contents: dict[str, bytes] = {f"{hashlib.sha256(config.encode()).hexdigest()}.json": config.encode()}
    (config_name,) = contents
    names = [f"{number}/layer.tar" for number, _ in enumerate(layers)]
    contents |= {name: _tar(layer) for name, layer in zip(names, layers, strict=True)}
    contents["manifest.json"] = json.dumps([{"Config": config_name, "Layers": names}]).encode()
    with tarfile.open(file, "w") as archive:
        _add(archive, contents)
    return file


def _tar(files: Mapping[str, str]) -> bytes:
    raw = io.BytesIO()
    # Docker keeps layers compressed, podman as they are; both are read.
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        _add(archive, {name: text.encode() for name, text in files.items()})
    return raw.getvalue()


def _add(archive: tarfile.TarFile, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
