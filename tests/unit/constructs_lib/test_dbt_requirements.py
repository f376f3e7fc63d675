"""A project that pins its own dbt is read and built by it, and a pin that cannot be is one sentence before anything is touched."""

import base64
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import aws_cdk as cdk
import pytest

from constructs_lib.dbt_environment import dbt_python
from constructs_lib.dbt_graph import dbt_graph
from constructs_lib.dbt_image import dbt_image
from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.dbt_requirements import DbtRequirements
from constructs_lib.image_context import ImageContext
from constructs_lib.repository import REPOSITORY
from constructs_lib.settings_error import SettingsError
from tests.unit.constructs_lib.image_stack import REPOSITORY_NAME, stack_of_images

pytestmark = pytest.mark.slow

_HASH = f"--hash=sha256:{'0' * 64}"
_LOCKED = f"""
# what `make pin` writes
boto3==1.43.1 \\
    {_HASH} \\
    --hash=sha256:{"1" * 64}
    # via -r requirements.in
dbt-core==1.10.23 {_HASH}
DBT_Redshift==1.10.2 ; python_full_version >= '3.11' {_HASH}
"""
# What dbt writes when it parses, in the name of the version that was asked.
_FAKE_DBT = """
import json, pathlib, sys
target = pathlib.Path(sys.argv[sys.argv.index("--target-path") + 1])
target.mkdir()
model = {"unique_id": "model.tiny.by_VERSION", "resource_type": "model", "package_name": "tiny", "config": {"materialized": "view"},
         "depends_on": {}, "original_file_path": "models/a.sql", "fqn": ["tiny", "a"]}
(target / "manifest.json").write_text(json.dumps({"nodes": {model["unique_id"]: model}, "sources": {}}))
"""


def _wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> str:
    """A package to install; returns its line for a requirements file."""
    information = f"{name.replace('-', '_')}-{version}.dist-info"
    content = {
        **files,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}\n"
        for path, text in content.items()
    )
    wheel = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**content, f"{information}/RECORD": f"{record}{information}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


Pin = Callable[[str], DbtRequirements]


@pytest.fixture
def pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pin:
    """A function that pins a version of a dbt that tells its version, from an index of this machine."""
    index = tmp_path / "index"
    index.mkdir()
    for name, value in {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(index), "UV_CACHE_DIR": str(tmp_path / "uv")}.items():
        monkeypatch.setenv(name, value)

    def make(version: str) -> DbtRequirements:
        file = tmp_path / f"dbt-{version}.txt"
        program = {"dbt/cli/main.py": _FAKE_DBT.replace("VERSION", version.replace(".", "_"))}
        file.write_text(
            _wheel(index, "dbt-core", version, program)
            + _wheel(index, "dbt-redshift", version, {})
            + _wheel(index, "boto3", "1.43.1", {})
        )
        return DbtRequirements(file)

    return make


def _file(folder: Path, text: str) -> Path:
    file = folder / "requirements.txt"
    file.write_text(text)
    return file


def test_names_and_versions_are_read_as_pip_reads_them(tmp_path: Path) -> None:
    """Comments, continued lines, markers and ways to spell a name."""
    locked = DbtRequirements(_file(tmp_path, _LOCKED))

    assert {name: str(version) for name, version in locked.versions.items()} == {
        "boto3": "1.43.1",
        "dbt-core": "1.10.23",
        "dbt-redshift": "1.10.2",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "dbt-core==1.10.23\n",
            "must hold each package as name==version with --hash=sha256:…, got 'dbt-core==1.10.23'",
        ),
        (f"dbt-core~=1.10.0 {_HASH}\n", "must hold each package as name==version"),
        (f"dbt-core==1.10.* {_HASH}\n", "must hold each package as name==version"),
        (f"-r other.txt\n{_LOCKED}", "must hold locked packages and nothing else, got '-r other.txt'"),
        (f"--index-url https://example.com\n{_LOCKED}", "must hold locked packages and nothing else"),
        (f"boto3==1.43.1 {_HASH}\n", "must name dbt-core, because the runner needs it; got 1 other packages"),
        (_LOCKED.replace("Redshift", "postgres"), "must name dbt-redshift"),
        (_LOCKED.replace("1.10.23", "1.8.10"), "dbt-core must be .*1.9.*, got 1.8.10"),
        (_LOCKED.replace("1.10.23", "1.12.0"), "dbt-core must be .*1.12.*, got 1.12.0"),
        (_LOCKED.replace("1.10.2 ;", "2.0.0 ;"), "dbt-redshift must be .*, got 2.0.0"),
    ],
)
def test_rejects_what_is_not_the_same_for_everyone_or_not_supported(tmp_path: Path, text: str, words: str) -> None:
    """Before anything is installed, built or deployed."""
    with pytest.raises(SettingsError, match=words):
        DbtRequirements(_file(tmp_path, text))


def test_rejects_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The sentence names it."""
    with pytest.raises(SettingsError, match=r"requirements must be a text file, got '.*nowhere\.txt'"):
        DbtRequirements(tmp_path / "nowhere.txt")


def test_lineage_needs_its_package_among_the_pinned_ones(tmp_path: Path) -> None:
    """What was locked without it may not go together with it."""
    with pytest.raises(
        SettingsError, match="must name openlineage-integration-common, because the project sends lineage"
    ):
        DbtRequirements(_file(tmp_path, _LOCKED)).check_lineage()

    DbtRequirements(_file(tmp_path, f"{_LOCKED}openlineage-integration-common==1.54.0 {_HASH}\n")).check_lineage()


def test_graph_is_what_the_pinned_dbt_reads(pin: Pin, tiny_project: Path, tmp_path: Path) -> None:
    """Another pin reads again; the same one is read from the cache, without dbt."""

    def read(requirements: DbtRequirements) -> str:
        graph = dbt_graph(
            DbtProjectFiles(tiny_project),
            project_name="tiny",
            environment_name="dev",
            schema="s",
            cache_folder=tmp_path / "cache",
            requirements=requirements,
        )
        return str(graph["nodes"][0]["unique_id"])

    older, newer = pin("1.9.1"), pin("1.10.2")
    assert (read(older), read(newer)) == ("model.tiny.by_1_9_1", "model.tiny.by_1_10_2")
    for environment in (tmp_path / "cache/environments").iterdir():
        (environment / "bin/python").unlink()
    assert (read(older), read(newer)) == ("model.tiny.by_1_9_1", "model.tiny.by_1_10_2")


def test_environment_has_the_pinned_packages_and_no_others(pin: Pin, tmp_path: Path) -> None:
    """It is made once; one whose Python has gone is made anew."""
    locked = pin("1.10.2")
    python = dbt_python(locked, cache_folder=tmp_path / "environments")
    code = "import importlib.metadata as m; print(sorted(d.name for d in m.distributions()))"
    before = python.lstat().st_mtime_ns

    assert subprocess.check_output([python, "-I", "-c", code], text=True) == "['boto3', 'dbt-core', 'dbt-redshift']\n"
    assert python == dbt_python(locked, cache_folder=tmp_path / "environments")
    assert before == python.lstat().st_mtime_ns
    python.unlink()
    assert dbt_python(locked, cache_folder=tmp_path / "environments").exists()
    assert [python.parent.parent] == list((tmp_path / "environments").iterdir())


def test_rejects_packages_that_cannot_be_installed(pin: Pin, tiny_project: Path, tmp_path: Path) -> None:
    """The error names the project and the file, and has the installer's words."""
    file = pin("1.10.2").file
    file.write_text(file.read_text().replace("boto3==1.43.1", "boto3==1.43.2"))

    with pytest.raises(
        SettingsError, match=r"(?s)project 'tiny': the packages of .*dbt-1\.10\.2\.txt cannot be installed:.*boto3"
    ):
        dbt_graph(
            DbtProjectFiles(tiny_project),
            project_name="tiny",
            environment_name="dev",
            schema="s",
            cache_folder=tmp_path / "cache",
            requirements=DbtRequirements(file),
        )


def test_image_has_the_pinned_packages(tiny_project: Path, tmp_path: Path) -> None:
    """In the place of the container's; all else is the same, and the container's own file stays as it is."""
    container = REPOSITORY / "container"
    locked = DbtRequirements(_file(tmp_path, _LOCKED))
    own = (container / "requirements.txt").read_bytes()
    usual, pinned = tmp_path / "usual", tmp_path / "pinned"
    ImageContext(container_folder=container, project=DbtProjectFiles(tiny_project)).write(usual)
    ImageContext(container_folder=container, project=DbtProjectFiles(tiny_project), requirements=locked).write(pinned)
    contents = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (usual, pinned)
    ]

    changed = {str(path) for path in contents[0] if contents[0][path] != contents[1][path]}
    assert contents[0].keys() == contents[1].keys()
    assert changed == {"requirements.txt", "lineage-requirements.txt"}
    assert contents[1][Path("requirements.txt")] == _LOCKED.encode()
    assert contents[1][Path("lineage-requirements.txt")] == b""
    assert own == (container / "requirements.txt").read_bytes()


def test_another_pin_is_another_image(tiny_project: Path, tmp_path: Path) -> None:
    """The tag follows the packages, and with it the task definition, the parse cache and what a run resumes."""

    def tag(text: str | None) -> str:
        app = cdk.App()
        _, synthesizer = stack_of_images(app)
        image = dbt_image(
            app,
            repository_name=REPOSITORY_NAME,
            synthesizer=synthesizer,
            project=DbtProjectFiles(tiny_project),
            project_name="tiny",
            cpu_architecture="x86_64",
            sends_lineage=False,
            requirements=None if text is None else DbtRequirements(_file(tmp_path, text)),
        )
        return image.tag

    assert len({tag(None), tag(_LOCKED), tag(_LOCKED.replace("1.10.23", "1.10.22"))}) == 3


def test_a_synth_of_a_wrong_pin_is_one_line(tiny_project: Path, tmp_path: Path) -> None:
    """The project is named; nothing is written."""
    code = (
        "from pathlib import Path\nfrom stacks.platform import synthesize\n"
        "from tests.unit.stacks.settings_of_a_stranger import environment, project\n"
        f"path, file = Path({str(tiny_project)!r}), Path({str(_file(tmp_path, 'dbt-core==1.10.1'))!r})\n"
        "raise SystemExit(synthesize(lambda: [environment(path, projects=(project(path, requirements=file),))]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("error: project 'tiny': ")
    assert done.stderr.count("\n") == 1
