"""What an image is made of: its Python and Debian packages as a CycloneDX bill of materials, read in the image's own layers."""

import email
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

_DPKG_STATUS = "var/lib/dpkg/status"
# /etc/os-release is a link to it.
_OS_RELEASE = "usr/lib/os-release"
_METADATA = re.compile(r"(.*/)?[^/]+\.dist-info/METADATA")
# https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts
_REMOVED = ".wh."
_ALL_REMOVED = ".wh..wh..opq"


class ImageError(Exception):
    """A file is no image that was saved by `docker save`; the message says what is missing."""


def image_id(image: Path) -> str:
    """The digest of an image's configuration, by which Docker and ECS know it: 64 hexadecimal digits."""
    with tarfile.open(image) as archive:
        # "<digest>.json" of Docker and podman, "blobs/sha256/<digest>" of Docker since 25.
        return PurePosixPath(_manifest(archive, image)["Config"]).name.removesuffix(".json")


def bill_of_materials(image: Path, *, name: str) -> str:
    """
    The CycloneDX 1.6 JSON of the image that was saved in `image`.

    Packages count as the layers leave them: what a later layer removes is not in the image. Raises ImageError.
    """
    files = _files(image)
    bom = Bom()
    bom.metadata.component = Component(
        type=ComponentType.CONTAINER, name=name, version=f"sha256:{image_id(image)}", bom_ref="image"
    )
    components = {*_python_packages(files), *_debian_packages(files)}
    bom.components.update(components)
    bom.register_dependency(bom.metadata.component, components)
    text: str = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
    return text + "\n"


def _manifest(archive: tarfile.TarFile, image: Path) -> Mapping[str, str]:
    file = archive.extractfile("manifest.json") if "manifest.json" in archive.getnames() else None
    if file is None:
        raise ImageError(f"{image} is no image that was saved: it has no manifest.json")
    (manifest,) = json.load(file)
    described: Mapping[str, str] = manifest
    return described


def _files(image: Path) -> dict[str, bytes]:
    """The files that tell of packages, by path, as the last layer leaves them."""
    files: dict[str, bytes] = {}
    with tarfile.open(image) as archive:
        for layer in _manifest(archive, image)["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as content:
                _apply(content, files)
    return files


def _apply(layer: tarfile.TarFile, files: dict[str, bytes]) -> None:
    # What a layer removes, it removes from the layers before it.
    added: dict[str, bytes] = {}
    for member in layer:
        path = PurePosixPath(member.name.removeprefix("./"))
        if path.name == _ALL_REMOVED:
            _remove(str(path.parent), files, itself=False)
        elif path.name.startswith(_REMOVED):
            _remove(str(path.with_name(path.name.removeprefix(_REMOVED))), files, itself=True)
        elif member.isfile() and (str(path) in {_DPKG_STATUS, _OS_RELEASE} or _METADATA.fullmatch(str(path))):
            file = layer.extractfile(member)
            added[str(path)] = file.read() if file else b""
    files.update(added)


def _remove(path: str, files: dict[str, bytes], *, itself: bool) -> None:
    for known in [known for known in files if known.startswith(f"{path}/") or (itself and known == path)]:
        del files[known]


def _python_packages(files: Mapping[str, bytes]) -> Iterator[Component]:
    for path, content in sorted(files.items()):
        if not _METADATA.fullmatch(path):
            continue
        metadata = email.message_from_bytes(content)
        name, version = str(metadata["Name"]), str(metadata["Version"])
        # https://packaging.python.org/en/latest/specifications/name-normalization/
        purl = PackageURL("pypi", name=re.sub(r"[-_.]+", "-", name).lower(), version=version)
        expression = metadata["License-Expression"]
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=version,
            purl=purl,
            bom_ref=f"{purl}#{path}",
            licenses=[LicenseFactory().make_from_string(str(expression))] if expression else None,
        )


def _debian_packages(files: Mapping[str, bytes]) -> Iterator[Component]:
    release = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', files.get(_OS_RELEASE, b"").decode(), re.MULTILINE))
    distribution = release.get("ID", "debian")
    qualifiers = {"distro": f"{distribution}-{release['VERSION_ID']}"} if "VERSION_ID" in release else {}
    for paragraph in files.get(_DPKG_STATUS, b"").decode().split("\n\n"):
        package = email.message_from_string(paragraph.strip())
        if not str(package["Status"]).endswith(" installed"):
            continue
        name, version = str(package["Package"]), str(package["Version"])
        purl = PackageURL("deb", distribution, name, version, {"arch": str(package["Architecture"]), **qualifiers})
        yield Component(type=ComponentType.LIBRARY, name=name, version=version, purl=purl, bom_ref=str(purl))
