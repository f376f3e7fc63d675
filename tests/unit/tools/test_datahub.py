"""What `make datahub` says and writes; that DataHub reads it is shown in tests/runner."""

import gzip
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml
from botocore.exceptions import ClientError

from tests.unit.stacks.settings_of_a_stranger import environment
from tools.datahub import DatahubError, fetch_for_datahub, main
from tools.fabric import fabric_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

LATEST = json.dumps({"docs_prefix": "shop/docs/r-0001/"}).encode()


class FakeS3:
    """S3 as far as it is read here; a body that begins as gzip does was stored compressed."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 -- boto3's
        """One object."""
        assert Bucket == "artifacts"
        body = self._objects.get(Key)
        if body is None:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "no such key"}}, "GetObject")
        encoding = {"ContentEncoding": "gzip"} if body.startswith(b"\x1f\x8b") else {}
        return {"Body": io.BytesIO(body), **encoding}


def fetched(objects: dict[str, bytes], to: Path) -> dict[str, Any]:
    """The recipe that comes of these objects."""
    recipe = fetch_for_datahub("shop", to, fabric="PROD", bucket="artifacts", s3=cast("S3Client", FakeS3(objects)))
    content: dict[str, Any] = yaml.safe_load(recipe.read_text())
    return content


def test_compressed_artifacts_are_written_as_text(tmp_path: Path) -> None:
    """What the runner has compressed, DataHub would take for text."""
    manifest = b'{"nodes": {}}'
    objects = {
        "shop/latest.json": LATEST,
        "shop/docs/r-0001/manifest.json": gzip.compress(manifest),
        "shop/docs/r-0001/catalog.json": b"{}",
    }
    config = fetched(objects, tmp_path / "to")["source"]["config"]

    assert Path(config["manifest_path"]).read_bytes() == manifest
    assert config["env"] == "PROD"


def test_results_of_an_earlier_call_are_not_taken_for_those_of_this_run(tmp_path: Path) -> None:
    """A run without a build leaves no run_results.json, and neither recipe nor folder has one then."""
    objects = {
        "shop/latest.json": LATEST,
        "shop/docs/r-0001/manifest.json": b"{}",
        "shop/docs/r-0001/catalog.json": b"{}",
    }
    first = fetched({**objects, "shop/docs/r-0001/run_results.json": b"{}"}, tmp_path)
    second = fetched(objects, tmp_path)

    assert first["source"]["config"]["run_results_paths"] == [str(tmp_path / "run_results.json")]
    assert "run_results_paths" not in second["source"]["config"]
    assert not (tmp_path / "run_results.json").exists()


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ({}, "no run of project 'shop' has published docs in bucket 'artifacts' yet"),
        ({"shop/latest.json": b'{"docs_prefix": null}'}, "no run of project 'shop' has published docs"),
        ({"shop/latest.json": LATEST}, "s3://artifacts/shop/docs/r-0001/ lacks manifest.json, catalog.json"),
    ],
)
def test_what_is_not_published_is_said(tmp_path: Path, objects: dict[str, bytes], words: str) -> None:
    """Before the folder is made."""
    with pytest.raises(DatahubError, match=words):
        fetched(objects, tmp_path / "to")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope", "tiny", "to"], "environment must be one of try, got 'nope'"),
        (["try", "nope", "to"], "project of try must be one of tiny, got 'nope'"),
        (["try", "tiny", "to"], "FABRIC, DataHub's name for the environment, must be one of DEV, SANDBOX"),
        (["try", "tiny", "to", "prod0"], "got 'prod0'"),
    ],
)
def test_wrong_names_are_said_with_those_allowed(
    tiny_project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """In one line, without asking AWS."""
    assert main(arguments, [environment(tiny_project)]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "fabric"), [("live", "PROD"), ("dev", "DEV"), ("UAT", "UAT"), ("non-prod", "NON_PROD"), ("eu-west", None)]
)
def test_common_names_need_no_fabric(name: str, fabric: str | None) -> None:
    """What DataHub calls an environment is told from its name where that can be."""
    assert fabric_of(name) == fabric
