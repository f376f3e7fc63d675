"""The sample project parses anywhere, and its schemas fail closed."""

import filecmp
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from dbt.contracts.graph.nodes import GenericTestNode, SingularTestNode

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[3] / "projects" / "bookshop"
SCHEMA = "analytics"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DBT_ENVIRONMENT", "DBT_SANDBOX_USER", "DBT_TARGET_PATH", "DBT_PROFILES_DIR", "DBT_TARGET"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """The project's own macros over one model with a custom schema and one without: parsed in a second."""
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    shutil.copytree(PROJECT / "macros", project / "macros")
    (project / "dbt_project.yml").write_text("name: bookshop\nprofile: bookshop\nmacro-paths: [macros]\n")
    (project / "models" / "plain.sql").write_text("select 1 as a")
    (project / "models" / "custom.sql").write_text("{{ config(schema='finance') }} select 1 as a")
    return project


def _parse(
    project: Path,
    folder: Path,
    environment: Mapping[str, str],
    *options: str,
    target: str,
    targets: tuple[str, ...],
    schema: str = SCHEMA,
) -> dbtRunnerResult:
    """Parse with a profile that holds `targets`; no server listens at its address."""
    profiles = folder / "profiles"
    profiles.mkdir(exist_ok=True)
    connection = {
        "type": "redshift",
        "host": "warehouse.invalid",
        "port": 5439,
        "user": "dbt",
        "password": "unused",
        "dbname": "warehouse",
        "schema": schema,
    }
    (profiles / "profiles.yml").write_text(
        yaml.safe_dump({"bookshop": {"target": targets[0], "outputs": dict.fromkeys(targets, connection)}})
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return dbtRunner().invoke(
            [
                *("--no-send-anonymous-usage-stats", "--log-path", str(folder / "logs"), *options, "parse"),
                *("--project-dir", str(project), "--profiles-dir", str(profiles), "--target", target),
                *("--target-path", str(folder / "target")),
            ]
        )


def _schemas(result: dbtRunnerResult) -> dict[str, str]:
    assert result.success, result.exception
    assert isinstance(result.result, Manifest)
    return {node.name: node.schema for node in result.result.nodes.values()}


@pytest.mark.parametrize("environment", ["dev", "live", "a-later-one"])
def test_every_deployed_environment_builds_into_its_own_schemas(
    small_project: Path, tmp_path: Path, environment: str
) -> None:
    """Any target of the profile is an environment; the project holds no list of them."""
    result = _parse(
        small_project, tmp_path, {"DBT_ENVIRONMENT": environment}, target=environment, targets=(environment,)
    )
    assert _schemas(result) == {"plain": "analytics", "custom": "analytics_finance"}


@pytest.mark.parametrize(
    ("of_the_target", "built"),
    [({}, "analytics_sandbox_anna_b2"), ({"schema": "dbt_anna_b2"}, "dbt_anna_b2")],
    ids=["own schema", "make dbt"],
)
def test_the_sandbox_is_one_schema_of_its_user(
    small_project: Path, tmp_path: Path, of_the_target: dict[str, str], built: str
) -> None:
    """Custom schemas do not lead out of it; a target's schema that has the user's name already is taken as it is."""
    result = _parse(
        small_project,
        tmp_path,
        {"DBT_ENVIRONMENT": "sandbox", "DBT_SANDBOX_USER": "anna_b2"},
        target="sandbox",
        targets=("sandbox",),
        **of_the_target,
    )
    assert set(_schemas(result).values()) == {built}


@pytest.mark.parametrize(
    ("environment", "target", "message"),
    [
        ({}, "dev", "DBT_ENVIRONMENT is not set"),
        ({"DBT_ENVIRONMENT": ""}, "dev", "DBT_ENVIRONMENT is not set"),
        ({"DBT_ENVIRONMENT": "prod"}, "dev", "DBT_ENVIRONMENT is 'prod' but the profile's target is 'dev'"),
        ({"DBT_ENVIRONMENT": "DEV"}, "dev", "DBT_ENVIRONMENT is 'DEV' but the profile's target is 'dev'"),
        ({"DBT_ENVIRONMENT": "sandbox"}, "dev", "DBT_ENVIRONMENT is 'sandbox' but the profile's target is 'dev'"),
        ({"DBT_ENVIRONMENT": "dev"}, "sandbox", "DBT_ENVIRONMENT is 'dev' but the profile's target is 'sandbox'"),
        ({"DBT_ENVIRONMENT": "sandbox"}, "sandbox", "DBT_SANDBOX_USER is ''"),
        ({"DBT_ENVIRONMENT": "sandbox", "DBT_SANDBOX_USER": "Anna"}, "sandbox", "DBT_SANDBOX_USER is 'Anna'"),
        ({"DBT_ENVIRONMENT": "sandbox", "DBT_SANDBOX_USER": 'a"; drop'}, "sandbox", "DBT_SANDBOX_USER is 'a\"; drop'"),
        ({"DBT_ENVIRONMENT": "sandbox", "DBT_SANDBOX_USER": "anna\n"}, "sandbox", "DBT_SANDBOX_USER is 'anna"),
        ({"DBT_ENVIRONMENT": "prod"}, "prod", "does not have a target named 'prod'"),
    ],
)
def test_rejects_an_environment_that_is_not_the_target(
    small_project: Path, tmp_path: Path, environment: dict[str, str], target: str, message: str
) -> None:
    """The parse stops with the values that it got, before anything is built."""
    result = _parse(small_project, tmp_path, environment, target=target, targets=("dev", "sandbox"))
    assert not result.success
    assert message in str(result.exception)


def test_a_cached_parse_of_one_environment_is_not_used_for_another(small_project: Path, tmp_path: Path) -> None:
    """Dbt keeps what it parsed; another user's schema and a missing environment are seen all the same."""
    sandbox = {"DBT_ENVIRONMENT": "sandbox", "DBT_SANDBOX_USER": "anna"}
    first = _parse(small_project, tmp_path, sandbox, target="sandbox", targets=("sandbox",))
    assert (tmp_path / "target" / "partial_parse.msgpack").is_file()
    other = _parse(
        small_project, tmp_path, {**sandbox, "DBT_SANDBOX_USER": "ben"}, target="sandbox", targets=("sandbox",)
    )
    missing = _parse(small_project, tmp_path, {}, target="sandbox", targets=("sandbox",))
    assert set(_schemas(first).values()) == {"analytics_sandbox_anna"}
    assert set(_schemas(other).values()) == {"analytics_sandbox_ben"}
    assert "DBT_ENVIRONMENT is not set" in str(missing.exception)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The whole project, copied to another place and parsed without network; a warning is an error."""
    folder = tmp_path_factory.mktemp("bookshop")
    copy = folder / "copy"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("target", "logs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _refuse)
        patch.setattr(socket, "getaddrinfo", _refuse)
        result = _parse(copy, folder, {"DBT_ENVIRONMENT": "dev"}, "--warn-error", target="dev", targets=("dev",))
    assert result.success, result.exception
    assert isinstance(result.result, Manifest)
    return result.result


def _refuse(*_arguments: object, **_options: object) -> None:
    raise AssertionError("parsing must not use the network")


def test_a_copy_of_the_project_parses_without_network_and_without_warnings(manifest: Manifest) -> None:
    """Packages are in the folder, so an image or a laptop on a train can parse it."""
    kinds = [node.resource_type.value for node in manifest.nodes.values()]
    assert kinds.count("model") == 21
    assert {kind: kinds.count(kind) for kind in ("seed", "snapshot")} == {"seed": 2, "snapshot": 1}
    assert {node.package_name for node in manifest.macros.values()} >= {"bookshop", "shop_tools"}


def test_everything_is_described(manifest: Manifest) -> None:
    """Every model, seed, snapshot, source and exposure has a description, and every model a described column."""
    documented = [
        *(node for node in manifest.nodes.values() if node.resource_type.value in {"model", "seed", "snapshot"}),
        *manifest.sources.values(),
        *manifest.exposures.values(),
    ]
    assert [node.unique_id for node in documented if not node.description] == []
    models = [node for node in manifest.nodes.values() if node.resource_type.value == "model"]
    assert [node.name for node in models if not any(column.description for column in node.columns.values())] == []


def test_every_source_has_a_freshness_limit(manifest: Manifest) -> None:
    """The pipeline's first step checks all sources."""
    assert [source.name for source in manifest.sources.values() if not source.freshness] == []


def test_exactly_one_test_warns_instead_of_failing(manifest: Manifest) -> None:
    """Reports and pages need a warning to show."""
    severities = {
        node.name: node.config.severity.lower()
        for node in manifest.nodes.values()
        if isinstance(node, GenericTestNode | SingularTestNode)
    }
    assert [name for name, severity in severities.items() if severity == "warn"] == [
        "not_null_stg_bookshop__customers_email"
    ]


def test_the_vendored_package_is_the_one_in_the_project() -> None:
    """`dbt deps` makes a link here, which does not survive a copy; the committed folder is a copy itself."""
    vendored = PROJECT / "dbt_packages" / "shop_tools"
    assert not vendored.is_symlink()
    assert _differences(filecmp.dircmp(PROJECT / "packages" / "shop_tools", vendored)) == []


def _differences(comparison: filecmp.dircmp[str]) -> list[str]:
    names = [*comparison.left_only, *comparison.right_only, *comparison.diff_files, *comparison.funny_files]
    return names + [name for part in comparison.subdirs.values() for name in _differences(part)]


def test_the_analysts_profile_knows_the_sandbox_only() -> None:
    """Nobody builds into a deployed environment from their own machine, and no secret is committed."""
    profile = yaml.safe_load((PROJECT / "profiles.yml").read_text())["bookshop"]
    assert list(profile["outputs"]) == ["sandbox"]
    assert profile["outputs"]["sandbox"]["sslmode"] == "verify-full"
    assert profile["outputs"]["sandbox"]["password"] == "{{ env_var('DBT_ENV_SECRET_REDSHIFT_PASSWORD') }}"
