"""What `docker build` sees: the container's own files and one dbt project, the same bytes on every machine."""

import contextlib
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.dbt_requirements import DbtRequirements

_REQUIREMENTS = "requirements.txt"
_LINEAGE_REQUIREMENTS = "lineage-requirements.txt"
_CONTAINER_FILES = ("Dockerfile", _REQUIREMENTS, _LINEAGE_REQUIREMENTS)
_RUNNER_FOLDER = "runner"
_PROJECT_FOLDER = "project"
_PERMISSIONS = 0o644
_NOT_CODE = frozenset({"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"})


@contextmanager
def image_context(
    *, container_folder: Path, project: DbtProjectFiles, requirements: DbtRequirements | None = None
) -> Iterator[Path]:
    """
    A temporary folder with `Dockerfile`, `requirements.txt`, `runner/` and the dbt project as `project/`.

    `requirements`: what is installed instead of the container's own packages; it then names what sends lineage, too.

    Links are replaced by what they point to and permissions are set alike, so that the images of two checkouts of one commit
    are the same. The folder is gone when the context ends: a Docker asset copies it when it is made.
    """
    with tempfile.TemporaryDirectory(prefix="dbt-image-") as temporary:
        context = Path(temporary)
        for name in _CONTAINER_FILES:
            _copy(container_folder / name, context / name)
        if requirements is not None:
            _replace(context / _REQUIREMENTS, requirements.file.read_bytes())
            _replace(context / _LINEAGE_REQUIREMENTS, b"")
        runner = container_folder / _RUNNER_FOLDER
        for file in sorted(runner.rglob("*")):
            if file.is_file() and not _NOT_CODE.intersection(file.parts) and file.suffix != ".pyc":
                _copy(file, context / _RUNNER_FOLDER / file.relative_to(runner))
        for relative_path in project.relative_paths():
            _copy(project.folder / relative_path, context / _PROJECT_FOLDER / relative_path)
        yield context


def _replace(file: Path, content: bytes) -> None:
    # It may be a link to the original.
    file.unlink()
    file.write_bytes(content)
    file.chmod(_PERMISSIONS)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Git keeps no other permission than "executable", and nothing in the image is executed as a file.
    if stat.S_IMODE(source.stat().st_mode) == _PERMISSIONS:
        with contextlib.suppress(OSError):
            # The asset copies it once more; in a fleet, to do it twice is a tenth of the time. Not from one disk to another.
            target.hardlink_to(source.resolve())
            return
    shutil.copyfile(source, target)
    target.chmod(_PERMISSIONS)
