"""What `make dags` writes for those who ship DAGs by git."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.unit.stacks.settings_of_a_stranger import environment
from tools.dags import DagsError, copy_dags, main

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

DEPLOYMENT = json.dumps({"environment": "try"})
DEPLOYED = {
    "dags/dbt_on_fargate_try/dag.py": "package",
    "dags/dbt_on_fargate_try.dist-info/entry_points.txt": "plugin",
    "dags/dbt_on_fargate_try_tiny/dag.py": "dag",
    "dags/dbt_on_fargate_try_tiny/deployment.json": DEPLOYMENT,
    "dags/dbt_on_fargate_try_eu/dag.py": "another environment's package",
    "dags/own.py": "somebody else's",
}


class FakeS3:
    """S3 as far as it is read here: two objects a page."""

    def __init__(self, objects: dict[str, str]) -> None:
        self._objects = objects

    def get_paginator(self, _: str) -> "FakeS3":
        """The paginator of `list_objects_v2`."""
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803 -- boto3's
        """Pages of keys."""
        assert Bucket == "try-airflow"
        keys = [{"Key": key} for key in self._objects if key.startswith(Prefix)]
        yield from ({"Contents": keys[start : start + 2]} for start in range(0, len(keys), 2))

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 -- boto3's
        """One object."""
        assert Bucket == "try-airflow"
        return {"Body": io.BytesIO(self._objects[Key].encode())}


def s3(objects: dict[str, str]) -> "S3Client":
    """A client of S3 with these objects."""
    return cast("S3Client", FakeS3(objects))


def test_files_of_the_environment_are_written_as_deployed(tiny_project: Path, tmp_path: Path) -> None:
    """The package, what Airflow needs to find it, and a folder for each project; nothing of other environments."""
    to = tmp_path / "to"
    copy_dags(environment(tiny_project), to, s3=s3(DEPLOYED))

    assert {path.relative_to(to).as_posix(): path.read_text() for path in to.rglob("*") if path.is_file()} == {
        "dbt_on_fargate_try/dag.py": "package",
        "dbt_on_fargate_try.dist-info/entry_points.txt": "plugin",
        "dbt_on_fargate_try_tiny/dag.py": "dag",
        "dbt_on_fargate_try_tiny/deployment.json": DEPLOYMENT,
    }


def test_what_is_gone_goes_and_what_is_others_stays(tiny_project: Path, tmp_path: Path) -> None:
    """A project that was removed takes its DAG along; other DAGs in the folder are not touched."""
    for name, content in {
        "dbt_on_fargate_try_gone/deployment.json": DEPLOYMENT,
        "dbt_on_fargate_try/old.py": "",
        "dbt_on_fargate_live_shop/deployment.json": '{"environment": "live"}',
        "own.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)

    copy_dags(environment(tiny_project), tmp_path, s3=s3(DEPLOYED))

    assert not (tmp_path / "dbt_on_fargate_try_gone").exists()
    assert not (tmp_path / "dbt_on_fargate_try/old.py").exists()
    assert (tmp_path / "dbt_on_fargate_live_shop/deployment.json").exists()
    assert (tmp_path / "own.py").exists()


def test_rejects_an_environment_that_is_not_deployed(tiny_project: Path, tmp_path: Path) -> None:
    """Files that were written before stay."""
    (tmp_path / "dbt_on_fargate_try").mkdir()

    with pytest.raises(DagsError, match="nothing of environment 'try' is in bucket 'try-airflow': deploy it first"):
        copy_dags(environment(tiny_project), tmp_path, s3=s3({}))
    assert (tmp_path / "dbt_on_fargate_try").exists()


def test_rejects_an_unknown_environment(tiny_project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what was got and what is allowed."""
    assert main(["live", str(tmp_path)], [environment(tiny_project)]) == 1
    assert capsys.readouterr().err == "error: environment must be one of try, got 'live'\n"
