"""A bill of materials names the packages that an image holds, and no other."""

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.unit.tools.saved_image import saved_image
from tools.bill_of_materials import ImageError, bill_of_materials, image_id

_SITE = "opt/venv/lib/python3.13/site-packages"
_DPKG = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.41-12

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: tzdata
Status: install ok installed
Architecture: all
Version: 2025b-4+deb13u1
"""


def _metadata(name: str, version: str, more: str = "") -> str:
    return f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{more}\nA description\nName: of no package\n"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image whose second layer takes back and replaces packages of the first."""
    first = {
        "var/lib/dpkg/status": "Package: old\nStatus: install ok installed\nArchitecture: all\nVersion: 0\n",
        "usr/lib/os-release": 'ID=debian\nVERSION_ID="13"\nVERSION="13 (trixie)"\n',
        f"{_SITE}/Jinja2-3.1.6.dist-info/METADATA": _metadata("Jinja2", "3.1.6", "License-Expression: BSD-3-Clause\n"),
        f"{_SITE}/removed-1.dist-info/METADATA": _metadata("removed", "1"),
        "opt/build/gone-1.dist-info/METADATA": _metadata("gone", "1"),
        f"{_SITE}/jinja2/METADATA": "no package",
    }
    second = {
        "./var/lib/dpkg/status": _DPKG,
        f"{_SITE}/.wh.removed-1.dist-info": "",
        "opt/build/.wh..wh..opq": "",
        "opt/build/ruamel.yaml-0.18.dist-info/METADATA": _metadata("ruamel.yaml", "0.18"),
    }
    return saved_image(tmp_path / "image.tar", [first, second])


def test_packages_are_those_that_the_last_layer_leaves(image: Path) -> None:
    """Python's by their normalized names, Debian's with architecture and release; what was removed is not there."""
    bill = json.loads(bill_of_materials(image, name="dbt-on-fargate:a1b2"))

    assert {component["purl"] for component in bill["components"]} == {
        "pkg:pypi/jinja2@3.1.6",
        "pkg:pypi/ruamel-yaml@0.18",
        "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13",
        "pkg:deb/debian/tzdata@2025b-4%2Bdeb13u1?arch=all&distro=debian-13",
    }
    (jinja,) = (component for component in bill["components"] if component["name"] == "Jinja2")
    assert jinja["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert bill["metadata"]["component"]["name"] == "dbt-on-fargate:a1b2"
    assert bill["metadata"]["component"]["version"] == f"sha256:{image_id(image)}"


def test_bill_keeps_to_cyclonedx_own_schema(image: Path) -> None:
    """Scanners read it without complaint."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill_of_materials(image, name="a")) is None


def test_rejects_what_is_no_saved_image(tmp_path: Path) -> None:
    """An archive without layers would have an empty bill."""
    file = saved_image(tmp_path / "image.tar", [])
    file.write_bytes(file.read_bytes().replace(b"manifest.json", b"manifesto.jso"))

    with pytest.raises(ImageError, match=r"has no manifest\.json"):
        bill_of_materials(file, name="a")
