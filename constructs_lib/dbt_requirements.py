"""The locked packages of a dbt project that pins its own versions of dbt and of the adapter."""

import hashlib
import re
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from constructs_lib.settings_error import SettingsError

# The runner's tests pass with each of them. dbt 1.8 and 1.12 need packages that are published without wheels, and the image
# builds nothing. https://docs.getdbt.com/docs/dbt-versions/core
_SUPPORTED = {"dbt-core": SpecifierSet(">=1.9,<1.12"), "dbt-redshift": SpecifierSet(">=1.9,<1.12")}
_FOR_LINEAGE = "openlineage-integration-common"
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


class DbtRequirements:
    """
    A file in pip's format with all packages of an image, each as `name==version` with its SHA-256 hashes.

    It takes the place of container/requirements.txt for one project. Raises `SettingsError` for anything that would not give
    everyone the same image, and for versions that the runner does not support.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self._text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"requirements must be a text file, got {str(file)!r} ({error})") from error
        self.versions: dict[str, Version] = {}
        for line in self._lines():
            self._read(line)
        for name, supported in _SUPPORTED.items():
            self._check_has(name, "the runner needs it")
            if self.versions[name] not in supported:
                raise SettingsError(f"{file}: {name} must be {supported}, got {self.versions[name]}")

    @property
    def digest(self) -> str:
        """The same for the same packages."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    def check_lineage(self) -> None:
        """Raise `SettingsError` if it lacks what sends lineage, which is not added to packages that were locked without it."""
        self._check_has(_FOR_LINEAGE, "the project sends lineage")

    def _check_has(self, name: str, reason: str) -> None:
        if name not in self.versions:
            raise SettingsError(
                f"{self.file} must name {name}, because {reason}; got {len(self.versions)} other packages"
            )

    def _lines(self) -> list[str]:
        # https://pip.pypa.io/en/stable/reference/requirements-file-format/
        whole = re.sub(r"\\\n", " ", self._text)
        lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in whole.splitlines())
        return [line for line in lines if line]

    def _read(self, line: str) -> None:
        hashes = _HASH.findall(line)
        words = _HASH.sub("", line).strip()
        try:
            requirement = Requirement(words)
        except InvalidRequirement as error:
            raise SettingsError(f"{self.file} must hold locked packages and nothing else, got {words!r}") from error
        pinned = re.fullmatch(r"==([^*]+)", str(requirement.specifier))
        if pinned is None or not hashes:
            raise SettingsError(
                f"{self.file} must hold each package as name==version with --hash=sha256:…, got {words!r}; "
                "`make pin` makes such a file"
            )
        self.versions[canonicalize_name(requirement.name)] = Version(pinned[1])
