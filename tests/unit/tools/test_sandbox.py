"""`make dbt` builds in one's own schema or not at all: every way out is refused before anything is touched."""

import dataclasses
import re
import stat
from pathlib import Path

import pytest

from runner.credentials import Warehouse
from stacks.environments import DEV, ENVIRONMENTS
from tests.unit.conftest import WriteProject
from tests.unit.stacks.settings_of_a_stranger import project
from tools import my_credentials, sandbox
from tools.deployed import AnalystError, Chosen

pytestmark = pytest.mark.slow

WAREHOUSE = Warehouse(host="warehouse.invalid", port=5439, database="warehouse", user="ana", password='a"b\\c')


@pytest.mark.parametrize(
    ("user", "schema"),
    [("ana", "dbt_ana"), ("Ana.Lopez@example.com", "dbt_ana_lopez_example_com"), ("x" * 200, f"dbt_{'x' * 40}")],
    ids=["a name", "an address", "a long one"],
)
def test_sandbox_is_named_after_its_user(user: str, schema: str) -> None:
    """As the warehouse takes it."""
    assert sandbox.schema_of(user) == schema


def test_rejects_a_user_without_letters() -> None:
    """Two of them would share a schema."""
    with pytest.raises(AnalystError, match="a user's name with letters or digits, got '--'"):
        sandbox.schema_of("--")


@pytest.mark.parametrize("deployed", ["dbt_ana", "DBT_Ana", "dbt", "dbt_ana_marts"])
def test_rejects_a_sandbox_that_a_deployment_could_build_in(deployed: str) -> None:
    """The schema itself, one that dbt makes of a deployed one and a model's, and one that a model makes of the sandbox."""
    projects = (dataclasses.replace(DEV.projects[0], schema=deployed),)
    environments = [dataclasses.replace(DEV, projects=projects)]

    with pytest.raises(AnalystError, match=f"schema 'dbt_ana' belongs to '{deployed}', which bookshop is deployed to"):
        sandbox.check_schema("dbt_ana", environments)


def test_sandbox_beside_the_deployed_schemas_is_allowed() -> None:
    """Those of the settings, and one that only begins with the same letters."""
    sandbox.check_schema("dbt_ana", ENVIRONMENTS)
    projects = (dataclasses.replace(DEV.projects[0], schema="dbt_anaconda"),)
    sandbox.check_schema("dbt_ana", [dataclasses.replace(DEV, projects=projects)])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run-operation", "drop_all"], "ARGS must begin with one of build, compile"),
        (["retry"], "got 'retry'"),
        (["--warn-error"], "got ''"),
        (["--debug", "build"], "options that dbt takes before a command"),
        (["build", "--target", "live"], "--target is set by make dbt"),
        (["build", "--target=live"], "--target is set by make dbt"),
        (["build", "-t", "live"], "-t is set by make dbt"),
        (["build", "-tlive"], "-tlive is set by make dbt"),
        (["build", "--profiles-dir", "/elsewhere"], "--profiles-dir is set by make dbt"),
        (["build", "--profile", "other"], "--profile is set by make dbt"),
        (["build", "--project-dir", "."], "--project-dir is set by make dbt"),
    ],
    ids=" ".join,
)
def test_rejects_commands_and_options_that_lead_out(arguments: list[str], words: str) -> None:
    """A macro may write anywhere, and another target is another schema."""
    with pytest.raises(AnalystError, match=words):
        sandbox.check_arguments(arguments)


def _run(folder: Path, *arguments: str) -> int:
    """A command in the sandbox of ana; the warehouse does not exist."""
    return sandbox.Sandbox(project=project(folder), schema="dbt_ana", warehouse=WAREHOUSE).dbt(arguments, state=None)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_CACHE", tmp_path / "cache")


@pytest.mark.parametrize(
    "macro",
    ["dbt_anaconda", "{{ custom if target.name == 'sandbox' else target.schema }}"],
    ids=["a name that begins so", "the model's schema alone"],
)
def test_rejects_a_project_whose_own_macro_leads_out(
    write_project: WriteProject, capfd: pytest.CaptureFixture[str], macro: str
) -> None:
    """Its manifest says where each node would be built; nobody connects to the warehouse, which does not exist."""
    folder = write_project(
        {
            "models/answers.sql": "{{ config(schema='analytics_marts') }} select 42 as answer\n",
            "macros/names.sql": f"{{% macro generate_schema_name(custom, node) %}}{macro}{{% endmacro %}}\n",
        }
    )

    assert _run(folder, "build") == 3
    assert re.search(r"model\.tiny\.answers would be built in .*, outside of 'dbt_ana'", capfd.readouterr().err)


def test_rejects_a_model_in_another_database(write_project: WriteProject, capfd: pytest.CaptureFixture[str]) -> None:
    """A database of the same warehouse is outside, too."""
    folder = write_project({"models/answers.sql": "{{ config(database='live') }} select 42 as answer\n"})

    assert _run(folder, "build") == 3
    assert "model.tiny.answers would be built in live.dbt_ana" in capfd.readouterr().err


def test_project_is_compiled_in_the_sandbox(
    write_project: WriteProject, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Dbt lists what it would build where; the profile on the disk holds no password."""
    folder = write_project({"models/answers.sql": "{{ config(schema='marts') }} select {{ var('x') }} as answer\n"})

    code = _run(folder, "ls", "--vars", "{x: 42}", "--output", "json", "--output-keys", "schema", "database")

    assert code == 0
    assert '"schema": "dbt_ana_marts"' in capfd.readouterr().out
    assert "env_var" in (tmp_path / "cache/profiles/profiles.yml").read_text()
    assert 'a"b' not in (tmp_path / "cache/profiles/profiles.yml").read_text()


def test_own_credentials_are_kept_for_their_owner_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside those to other warehouses; whatever is in the password comes back as it was, and is not shown."""
    file = tmp_path / "credentials.toml"
    my_credentials.write(file, "live", dataclasses.replace(WAREHOUSE, user="other"))
    answers = iter(["warehouse.invalid", "", "warehouse", "ana"])

    code = my_credentials.main(
        ["dev"], ENVIRONMENTS, file=file, ask=lambda _: next(answers), ask_secret=lambda _: 'a"b\\c'
    )

    assert (code, stat.S_IMODE(file.stat().st_mode)) == (0, 0o600)
    assert my_credentials.read(file, "dev") == WAREHOUSE
    other = my_credentials.read(file, "live")
    assert other is not None
    assert other.user == "other"
    assert my_credentials.read(file, "local") is None
    assert 'a"b' not in capsys.readouterr().out


def test_own_credentials_win_over_the_aws_login(tmp_path: Path) -> None:
    """Nothing is asked of AWS where the file says who one is."""
    file = tmp_path / "credentials.toml"
    my_credentials.write(file, "dev", WAREHOUSE)

    assert sandbox.warehouse_of(Chosen(environment=DEV, project=DEV.projects[0]), file=file) == WAREHOUSE


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("[dev]\nhost = 'h'\n", 0o600, r"must have .* in \[dev\], lacks port, database, user, password"),
        ("[dev\n", 0o600, "is not TOML"),
        ("", 0o644, "may be read by others than you"),
    ],
    ids=["a part", "no TOML", "open to others"],
)
def test_rejects_a_file_of_credentials_that_is_wrong(tmp_path: Path, text: str, mode: int, words: str) -> None:
    """The message says what to do, and nothing of what is in it."""
    file = tmp_path / "credentials.toml"
    file.write_text(text)
    file.chmod(mode)

    with pytest.raises(AnalystError, match=words):
        sandbox.warehouse_of(Chosen(environment=DEV, project=DEV.projects[0]), file=file)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--environment", "prod", "build"], "environment must be one of dev, live, local, got 'prod'"),
        (["--user", "!", "build"], "a sandbox needs a user's name"),
        (["--user", "ana", "run-operation x"], "ARGS must begin with one of"),
        (["--user", "ana", "--offline", "--raw-sql", "/nowhere.sql", "build"], "RAW_SQL must be a file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_rejects_what_is_wrong_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """With an exit code that dbt does not have."""
    assert sandbox.main(arguments, ENVIRONMENTS, environ={"USER": "ana"}) == 3
    assert words in capsys.readouterr().err
