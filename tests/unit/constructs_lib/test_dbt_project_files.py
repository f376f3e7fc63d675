"""Which files of a dbt project are deployed."""

from pathlib import Path

import pytest

from constructs_lib.dbt_project_files import DbtProjectFiles
from constructs_lib.settings_error import SettingsError
from tests.unit.conftest import WriteProject


def _deployed(folder: Path) -> set[str]:
    return {path.as_posix() for path in DbtProjectFiles(folder).relative_paths}


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".env.production",
        ".git/config",
        ".user.yml",
        ".venv/bin/python",
        "credentials.toml",
        "dbt_packages/utils/.git/HEAD",
        "keys/warehouse.pem",
        "logs/dbt.log",
        "macros/__pycache__/x.pyc",
        "profiles.yml",
        "target/manifest.json",
    ],
)
def test_leaves_out_what_is_secret_personal_or_generated(write_project: WriteProject, name: str) -> None:
    """Neither secrets nor a machine's own files get into an image, wherever they lie."""
    folder = write_project({name: "x", "models/answers.sql": "select 42"})

    assert {"dbt_project.yml", "models/answers.sql"} == _deployed(folder)


def test_leaves_out_a_virtual_environment_of_any_name(write_project: WriteProject) -> None:
    """A folder with a pyvenv.cfg is a virtual environment."""
    folder = write_project({"my-python/pyvenv.cfg": "", "my-python/lib/x.py": ""})

    assert {"dbt_project.yml"} == _deployed(folder)


def test_leaves_out_output_folders_that_the_project_renamed(write_project: WriteProject) -> None:
    """Dbt's own output is where dbt_project.yml says."""
    folder = write_project(
        {
            "dbt_project.yml": "name: tiny\ntarget-path: out\nlog-path: journal\n",
            "out/manifest.json": "{}",
            "journal/dbt.log": "",
        }
    )

    assert {"dbt_project.yml"} == _deployed(folder)


def test_keeps_models_in_folders_named_like_output(write_project: WriteProject) -> None:
    """Only the project's own output folders are left out: a model about logs is a model."""
    folder = write_project({"models/logs/visits.sql": "select 1", "models/target/goals.sql": "select 1"})

    assert {"dbt_project.yml", "models/logs/visits.sql", "models/target/goals.sql"} == _deployed(folder)


def test_keeps_installed_packages(write_project: WriteProject) -> None:
    """The image installs no packages, so they come with the project."""
    folder = write_project({"dbt_packages/utils/macros/x.sql": "", "package-lock.yml": ""})

    assert "dbt_packages/utils/macros/x.sql" in _deployed(folder)


def test_follows_links_to_local_packages_and_ends(write_project: WriteProject, tmp_path: Path) -> None:
    """`dbt deps` links local packages; a link back to the project does not lead round in circles."""
    folder = write_project({"models/answers.sql": "select 42"})
    package = tmp_path / "package"
    (package / "macros").mkdir(parents=True)
    (package / "macros" / "x.sql").write_text("")
    (folder / "dbt_packages").mkdir()
    (folder / "dbt_packages" / "package").symlink_to(package)
    (package / "back").symlink_to(folder)

    deployed = _deployed(folder)

    assert "dbt_packages/package/macros/x.sql" in deployed
    assert not any("back/" in path for path in deployed)


def test_profile_is_the_one_that_the_project_names(write_project: WriteProject) -> None:
    """The runner renders a profile of this name."""
    assert (
        DbtProjectFiles(write_project({"dbt_project.yml": "name: shop\nprofile: warehouse\n"})).profile == "warehouse"
    )
    assert DbtProjectFiles(write_project({"dbt_project.yml": "name: shop\n"})).profile == "shop"


@pytest.mark.parametrize("text", ["", "[1, 2]", "name: [a", "version: 2", "name: 3"])
def test_rejects_dbt_project_yml_that_is_none(write_project: WriteProject, text: str) -> None:
    """A file that dbt could not read either is refused in one line that names it."""
    folder = write_project({"dbt_project.yml": text})

    with pytest.raises(SettingsError, match=r"dbt_project\.yml") as error:
        DbtProjectFiles(folder)
    assert "\n" not in str(error.value)


def test_rejects_folder_that_is_no_dbt_project(tmp_path: Path) -> None:
    """The error names the folder."""
    with pytest.raises(SettingsError, match=f"path must be a folder with a dbt_project.yml, got '{tmp_path}'"):
        DbtProjectFiles(tmp_path)


def test_packages_are_missing_until_all_are_installed(write_project: WriteProject) -> None:
    """As many packages must be installed as both files ask for."""
    folder = write_project(
        {
            "packages.yml": "packages: [{local: ../a}]\n",
            "dependencies.yml": "packages: [{local: ../b}]\n",
            "dbt_packages/a/dbt_project.yml": "name: a\n",
        }
    )
    assert DbtProjectFiles(folder).missing_packages() == ["packages.yml", "dependencies.yml"]

    (folder / "dbt_packages" / "b").mkdir()
    (folder / "dbt_packages" / "b" / "dbt_project.yml").write_text("name: b\n")
    assert DbtProjectFiles(folder).missing_packages() == []
