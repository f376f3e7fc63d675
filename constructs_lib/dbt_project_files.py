"""A dbt project's folder: its dbt_project.yml and the files that belong to what is deployed."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from constructs_lib.settings_error import SettingsError

# Personal, generated or secret: never in an image, and no reason for a new one when they change.
_EXCLUDED_NAMES = frozenset(
    {
        ".DS_Store",
        ".cache",
        ".git",
        ".idea",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".svn",
        ".terraform",
        ".user.yml",
        ".venv",
        ".vscode",
        "__pycache__",
        "credentials.toml",
        "node_modules",
        "profiles.yml",
        "venv",
    }
)
_EXCLUDED_SUFFIXES = frozenset({".duckdb", ".key", ".log", ".p12", ".pem", ".pyc", ".pyo", ".swp"})


class DbtProjectFiles:
    """
    The files of one dbt project that are deployed.

    Left out: version control, virtual environments, editors' and dbt's own output (`target-path`, `log-path`), `profiles.yml`
    (the runner writes one), `.env` files and private keys. Installed packages are kept: the image does not install any.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        file = self.folder / "dbt_project.yml"
        if not file.is_file():
            raise SettingsError(f"path must be a folder with a dbt_project.yml, got {str(folder)!r}")
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(content, dict) or not isinstance(content.get("name"), str):
            raise SettingsError(f"{file} must be a mapping with a 'name', got {type(content).__name__}")
        self._settings: Mapping[str, Any] = content
        self._output_folders = {
            self.folder / str(self._settings.get("target-path") or "target"),
            self.folder / str(self._settings.get("log-path") or "logs"),
            self.folder / "target",
            self.folder / "logs",
        }

    @property
    def name(self) -> str:
        """The project's name in dbt."""
        return str(self._settings["name"])

    @property
    def profile(self) -> str:
        """The name of the profile that the project asks for."""
        return str(self._settings.get("profile") or self.name)

    @property
    def packages_folder(self) -> Path:
        """Where `dbt deps` installs packages."""
        return self.folder / str(self._settings.get("packages-install-path") or "dbt_packages")

    @cached_property
    def relative_paths(self) -> Sequence[Path]:
        """The deployed files as they were first asked for, sorted, relative to the folder; what links point to counts as file."""
        return sorted(self._walk(self.folder, ancestors=frozenset()))

    def missing_packages(self) -> list[str]:
        """The files that ask for packages, if they ask for more packages than are installed."""
        wanted = 0
        asking = []
        for name in ("packages.yml", "dependencies.yml"):
            file = self.folder / name
            if file.is_file():
                content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
                packages = content.get("packages") or []
                if packages:
                    asking.append(name)
                    wanted += len(packages)
        installed = (
            [entry for entry in self.packages_folder.iterdir() if (entry / "dbt_project.yml").is_file()]
            if self.packages_folder.is_dir()
            else []
        )
        return asking if wanted > len(installed) else []

    def _walk(self, folder: Path, ancestors: frozenset[Path]) -> Iterator[Path]:
        real_folder = folder.resolve()
        # `dbt deps` links local packages, and a package may link back to the project that contains it.
        if real_folder in ancestors:
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                path = Path(entry.path)
                if self._is_excluded(path):
                    continue
                if path.is_dir():
                    yield from self._walk(path, ancestors | {real_folder})
                elif path.is_file():
                    yield path.relative_to(self.folder)

    def _is_excluded(self, path: Path) -> bool:
        return (
            path.name in _EXCLUDED_NAMES
            or path.suffix in _EXCLUDED_SUFFIXES
            or path.name == ".env"
            or path.name.startswith(".env.")
            or (path / "pyvenv.cfg").is_file()
            or path in self._output_folders
        )
