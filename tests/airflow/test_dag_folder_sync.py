"""The DAG folder of the local cloud is what the bucket says, as on MWAA."""

from pathlib import Path

import boto3  # type: ignore[import-untyped]  # no stubs beside Airflow
import pytest
from fake_aws import FakeAws

from local_cloud.dag_folder_sync import DagFolderSync


@pytest.fixture
def sync(own_aws: FakeAws, tmp_path: Path) -> DagFolderSync:
    """A mirror of s3://airflow/dags/."""
    return DagFolderSync(client=boto3.client("s3"), bucket="airflow", prefix="dags", folder=tmp_path)


def test_folder_becomes_equal_to_the_bucket(sync: DagFolderSync, own_aws: FakeAws, tmp_path: Path) -> None:
    """New files come, changed ones are replaced, and nothing else of the bucket is touched."""
    own_aws.put("airflow", "dags/a/dag.py", b"1")
    own_aws.put("airflow", "dagsother/dag.py", b"other")
    assert sync.sync() == 1
    own_aws.put("airflow", "dags/a/dag.py", b"2")
    assert sync.sync() == 1

    assert sync.sync() == 0
    assert {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.py")} == {
        "a/dag.py": b"2"
    }


def test_what_is_gone_from_the_bucket_goes(sync: DagFolderSync, own_aws: FakeAws, tmp_path: Path) -> None:
    """A removed project leaves no DAG, no folder and no bytecode behind."""
    own_aws.put("airflow", "dags/a/dag.py", b"1")
    sync.sync()
    (tmp_path / "a/__pycache__").mkdir()
    (tmp_path / "a/__pycache__/dag.cpython-312.pyc").write_bytes(b"")
    del own_aws.objects["airflow"]["dags/a/dag.py"]

    assert sync.sync() == 1
    assert list(tmp_path.iterdir()) == []


def test_dag_file_is_parsed_anew_when_its_neighbour_changes(
    sync: DagFolderSync, own_aws: FakeAws, tmp_path: Path
) -> None:
    """Airflow looks at the time of the DAG file, and a deployment changes the JSON file beside it."""
    own_aws.put("airflow", "dags/a/dag.py", b"1")
    own_aws.put("airflow", "dags/a/deployment.json", b"{}")
    sync.sync()
    before = (tmp_path / "a/dag.py").stat().st_mtime_ns
    own_aws.put("airflow", "dags/a/deployment.json", b'{"a": 1}')
    sync.sync()

    assert (tmp_path / "a/dag.py").stat().st_mtime_ns > before
