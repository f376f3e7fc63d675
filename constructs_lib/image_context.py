"""What `docker build` sees: the container's own files and one dbt project, the same bytes on every machine."""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.dbt_requirements import DbtRequirements

_REQUIREMENTS = "requirements.txt"
_LINEAGE_REQUIREMENTS = "lineage-requirements.txt"
_CONTAINER_FILES = ("Dockerfile", _REQUIREMENTS, _LINEAGE_REQUIREMENTS)
_RUNNER_FOLDER = "runner"
_PROJECT_FOLDER = "project"
_FILE_PERMISSIONS = 0o644
_FOLDER_PERMISSIONS = 0o755
_NOT_CODE = frozenset({"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"})


@cache
def _own_files(container_folder: Path) -> Mapping[str, Path]:
    """The container's own files by their names in the context: the same for all projects of a synth."""
    runner = container_folder / _RUNNER_FOLDER
    return {name: container_folder / name for name in _CONTAINER_FILES} | {
        file.relative_to(container_folder).as_posix(): file
        for file in runner.rglob("*")
        if file.is_file() and not _NOT_CODE.intersection(file.parts) and file.suffix != ".pyc"
    }


class ImageContext:
    """
    A folder with `Dockerfile`, `requirements.txt`, `runner/` and the dbt project as `project/`, once it is written.

    `requirements`: what is installed instead of the container's own packages; it then names what sends lineage, too.

    Links are replaced by what they point to and permissions are set alike, so that the images of two checkouts of one commit
    are the same.
    """

    def __init__(
        self, *, container_folder: Path, project: DbtProjectFiles, requirements: DbtRequirements | None = None
    ) -> None:
        files = dict(_own_files(container_folder))
        files |= {f"{_PROJECT_FOLDER}/{path.as_posix()}": project.folder / path for path in project.relative_paths}
        if requirements is not None:
            files[_REQUIREMENTS] = requirements.file
            del files[_LINEAGE_REQUIREMENTS]
        self._files = files
        self._empty_files = [] if requirements is None else [_LINEAGE_REQUIREMENTS]

    @property
    def digest(self) -> str:
        """The same for the same files with the same content."""
        digest = hashlib.sha256()
        for name, file in sorted(self._files.items()):
            content = file.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()

    def write(self, folder: Path) -> None:
        """Make `folder` with all files; there it is whole, or not at all."""
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            whole = Path(temporary) / folder.name
            for name, file in self._files.items():
                target = whole / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
            for name in self._empty_files:
                (whole / name).touch()
            for path in (whole, *whole.rglob("*")):
                # Git keeps no other permission than "executable", and nothing in the image is executed as a file.
                path.chmod(_FOLDER_PERMISSIONS if path.is_dir() else _FILE_PERMISSIONS)
            whole.rename(folder)
