"""
Images as `docker save` writes them, kept in one folder in which what several have in common lies once.

`python3 saved_images.py NAME` loads one of them with the program that CDK_DOCKER names (docker). A copy of this file lies in each
artifact, as `images/load.py`: whoever deploys one needs Python for it and nothing of this repository.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

_CONTENTS = "blobs"


def keep(archive: Path, folder: Path, name: str) -> Path:
    """
    Keep the image that was saved in `archive`; returns the file that lists its parts.

    Each part lies in `blobs` under the SHA-256 of its content. All that Docker or podman have written is kept, in their order, so
    that the image which comes out is the one that went in. Raises ValueError for a part that is neither file, folder nor link.
    """
    contents = folder / _CONTENTS
    contents.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, Any]] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            part: dict[str, Any] = {"name": member.name, "type": member.type.decode()}
            if member.isfile():
                part["sha256"], part["size"] = _keep_content(tar, member, contents), member.size
            elif member.issym() or member.islnk():
                part["linkname"] = member.linkname
            elif not member.isdir():
                raise ValueError(f"{archive}: {member.name} is neither file, folder nor link")
            parts.append(part)
    listed = folder / f"{name}.json"
    listed.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    return listed


def _keep_content(tar: tarfile.TarFile, member: tarfile.TarInfo, contents: Path) -> str:
    source = tar.extractfile(member)
    if source is None:
        raise ValueError(f"{member.name} has no content")
    digest = hashlib.sha256()
    for block in iter(lambda: source.read(1 << 20), b""):
        digest.update(block)
    kept = contents / digest.hexdigest()
    if not kept.exists():
        source.seek(0)
        with kept.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    return kept.name


def write(folder: Path, name: str, archive: Path) -> None:
    """Write the image into `archive`, as `docker load` reads it; raises OSError if a part is missing."""
    parts = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    with tarfile.open(archive, "w") as tar:
        for part in parts:
            member = tarfile.TarInfo(part["name"])
            member.type = part["type"].encode()
            if "sha256" not in part:
                member.linkname = part.get("linkname", "")
                tar.addfile(member)
                continue
            member.size = part["size"]
            with (folder / _CONTENTS / part["sha256"]).open("rb") as content:
                tar.addfile(member, content)


def load(folder: Path, name: str, program: str) -> int:
    """Have `program` load the image, its words on standard error; returns its exit code."""
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary) / f"{name}.tar"
        write(folder, name, archive)
        return subprocess.run([program, "load", "--input", str(archive)], check=False, stdout=sys.stderr).returncode


if __name__ == "__main__":
    sys.exit(load(Path(__file__).parent, sys.argv[1], os.environ.get("CDK_DOCKER", "docker")))
