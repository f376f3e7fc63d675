"""A trial runs the pull request's files, and what they would build must be inside of its schemas."""

import io
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner import fingerprint
from runner.outcome import SettingsError
from runner.run_spec import RunSpec, Trial
from runner.settings import Settings, settings_from
from runner.trial import OutsideError, check_relations, settings_of
from tests.unit.runner.test_runner_settings import environ

ARCHIVE = "s3://records/shop/slim-ci/pr_17/a.tar.gz"


class Objects:
    """The project's part of a bucket, as far as it is read here."""

    def __init__(self, **objects: bytes) -> None:
        self._objects = {key.replace("__", "/"): body for key, body in objects.items()}

    def uri(self, key: str) -> str:
        """The address of a key."""
        return f"s3://records/shop/{key}"

    def get(self, key: str) -> bytes | None:
        """What is there."""
        return {"slim-ci/pr_17/a.tar.gz": self._objects.get("archive")}.get(key)


def archive(**files: str) -> bytes:
    """A compressed archive of these files."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as packed:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "/").replace("_yml", ".yml"))
            info.size = len(text)
            packed.addfile(info, io.BytesIO(text.encode()))
    return body.getvalue()


def trial(tmp_path: Path, objects: Objects, uri: str | None = ARCHIVE) -> Settings:
    """The settings of a trial of pull request 17."""
    settings = settings_from(environ(RUNNER_SCRATCH_FOLDER=str(tmp_path), RUNNER_PROJECT_FOLDER="/opt/dbt/project"))
    return settings_of(settings, Trial(schema_suffix="pr_17", project_archive=uri), objects)  # type: ignore[arg-type]  # as far as it is read


def test_trial_runs_the_files_of_the_pull_request_in_its_own_schema(tmp_path: Path) -> None:
    """Unpacked into scratch; the image's project is left alone."""
    settings = trial(tmp_path, Objects(archive=archive(dbt_project_yml="name: shop\n")))

    assert settings.deployment.schema == "analytics_pr_17"
    assert (settings.project_folder / "dbt_project.yml").read_text() == "name: shop\n"
    assert settings.project_folder != Path("/opt/dbt/project")


def test_trial_without_files_keeps_the_images(tmp_path: Path) -> None:
    """It only drops, for which any project will do."""
    assert trial(tmp_path, Objects(), None).project_folder == Path("/opt/dbt/project")


@pytest.mark.parametrize(
    ("objects", "uri", "words"),
    [
        (Objects(), ARCHIVE, "where there is nothing"),
        (Objects(archive=b"no archive"), ARCHIVE, "cannot be unpacked"),
        (Objects(archive=archive(**{"..__outside": "x"})), ARCHIVE, "cannot be unpacked"),
        (Objects(), "s3://elsewhere/shop/a.tar.gz", "must begin with s3://records/shop/"),
    ],
    ids=["missing", "broken", "leads out", "another bucket"],
)
def test_rejects_an_archive_that_is_not_the_projects(tmp_path: Path, objects: Objects, uri: str, words: str) -> None:
    """Before there is a record, with its address."""
    with pytest.raises(SettingsError, match=words):
        trial(tmp_path, objects, uri)


def node(schema: str, kind: str = "model", database: str | None = "warehouse") -> SimpleNamespace:
    """A node of a manifest."""
    return SimpleNamespace(unique_id="model.shop.a", resource_type=kind, schema=schema, database=database)


@pytest.mark.parametrize("schema", ["analytics_pr_17", "ANALYTICS_PR_17", "analytics_pr_17_marts"])
def test_nodes_inside_are_built(schema: str) -> None:
    """The trial's schema, and those that the project makes of it."""
    check_relations(
        SimpleNamespace(nodes={"a": node(schema), "b": node("live", "analysis"), "c": node(schema, database=None)}),
        schema="analytics_pr_17",
        database="Warehouse",
    )


@pytest.mark.parametrize(
    "outside",
    [node("analytics"), node("analytics_pr_171"), node("analytics_pr_1"), node("analytics_pr_17", database="other")],
    ids=["deployed", "another's", "a shorter one", "another database"],
)
def test_rejects_a_node_outside(outside: SimpleNamespace) -> None:
    """The whole run is refused, whatever else it would build."""
    with pytest.raises(OutsideError, match=r"model\.shop\.a would be built in"):
        check_relations(SimpleNamespace(nodes={"a": outside}), schema="analytics_pr_17", database="warehouse")


def test_trial_has_the_fingerprint_of_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its record nor its parse cache may take it for the image's project."""
    image, other = tmp_path / "project", tmp_path / "scratch"
    for folder in (image, other):
        folder.mkdir()
        (folder / "model.sql").write_text(folder.name)
    monkeypatch.setattr(fingerprint, "FINGERPRINT_FILE", tmp_path / "fingerprint")
    fingerprint.FINGERPRINT_FILE.write_text("of-the-image")

    assert fingerprint.code_fingerprint(image) == "of-the-image"
    assert fingerprint.code_fingerprint(other) == fingerprint.project_fingerprint(other)


def test_another_attempt_of_a_trial_begins_anew() -> None:
    """It drops the schemas first: what an earlier attempt has built is not there, and must not count as done."""
    assert RunSpec(trial=Trial(schema_suffix="pr_17", drop=("pr_17",))).begins_anew
    assert RunSpec(start_over=True).begins_anew
    assert not RunSpec().begins_anew
