"""What is published of a run: step results, docs, the pointer, metrics and the parse cache."""

import gzip
import json
from pathlib import Path
from typing import Any, cast

import boto3
import pytest

from runner.fingerprint import project_fingerprint
from runner.metrics import metric_lines
from runner.nodes import NodeLedger, NodeResult
from runner.outcome import NodeStatus, Outcome
from runner.parse_cache import ParseCache
from runner.pipeline import StepEnding
from runner.publish import docs_uploads, step_uploads, switch_latest, upload_all
from runner.record import AttemptRecord
from runner.run_spec import Policy, Step, StepName
from runner.store import Store, StoreError, Upload
from runner.trim import main as trim
from tests.unit.runner.support import BUCKET, validator


def ending(name: StepName, number: int, outcome: Outcome = Outcome.SUCCESS) -> StepEnding:
    """A step that has ended."""
    return StepEnding(step=Step(name=name, policy=Policy.MUST_PASS), number=number, outcome=outcome, seconds=2.0)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """What a build and the docs step have left."""
    for name in (
        "01-source_freshness/sources.json",
        "02-build/run_results.json",
        "02-build/manifest.json",
        "03-docs/manifest.json",
        "03-docs/catalog.json",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"file": name}))
    (tmp_path / "03-docs/static_index.html").write_text("<p>docs</p>")
    return tmp_path


ENDINGS = [ending(StepName.SOURCE_FRESHNESS, 1), ending(StepName.BUILD, 2), ending(StepName.DOCS, 3)]


def test_each_steps_results_keep_their_own_name(results: Path) -> None:
    """The docs step writes a manifest too, and does not replace the build's."""
    assert {
        "a/steps/01-source_freshness/sources.json",
        "a/steps/02-build/run_results.json",
        "a/steps/02-build/manifest.json",
        "a/steps/03-docs/manifest.json",
        "a/steps/03-docs/catalog.json",
    } == {upload.key for upload in step_uploads(results, "a/")}


def test_docs_are_one_page_and_what_it_was_made_of(store: Store, results: Path) -> None:
    """Under one prefix, with the results of the build and of the sources."""
    assert upload_all(store, docs_uploads(results, ENDINGS, "docs/r-0001/"), within_seconds=20)

    found = {key.removeprefix("docs/r-0001/"): store.get(key) for key in store.keys("docs/")}
    assert {"index.html", "manifest.json", "catalog.json", "run_results.json", "sources.json"} == set(found)
    assert (
        found["index.html"],
        found["run_results.json"],
    ) == (b"<p>docs</p>", b'{"file": "02-build/run_results.json"}')


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.SKIPPED, Outcome.INTERRUPTED])
def test_docs_that_failed_are_not_published(results: Path, outcome: Outcome) -> None:
    """Those of the last run that made some stay."""
    assert docs_uploads(results, [ending(StepName.BUILD, 2), ending(StepName.DOCS, 3, outcome)], "docs/") == []


def test_the_pointer_keeps_the_last_docs(store: Store) -> None:
    """A run that made no docs is the latest run all the same."""
    switch_latest(store, run_id="a", attempt=1, outcome="success", docs_prefix="shop/docs/a-0001/")
    switch_latest(store, run_id="b", attempt=2, outcome="failed", docs_prefix=None)

    latest = json.loads(store.get("latest.json") or b"")
    validator("latest").validate(latest)
    assert (
        latest["run_id"],
        latest["attempt"],
        latest["outcome"],
        latest["docs_prefix"],
    ) == ("b", 2, "failed", "shop/docs/a-0001/")


def test_large_texts_are_sent_compressed_and_served_as_such(store: Store) -> None:
    """A browser decompresses them by itself; small files are left as they are."""
    large = json.dumps(["x"] * 50_000).encode()
    upload_all(
        store, [Upload(key="large.json", source=large), Upload(key="small.html", source=b"<p>")], within_seconds=20
    )

    client = boto3.client("s3")
    answer = client.get_object(Bucket=BUCKET, Key="shop/large.json")
    small = client.get_object(Bucket=BUCKET, Key="shop/small.html")
    assert ("application/json", "gzip", large) == (
        answer["ContentType"],
        answer["ContentEncoding"],
        gzip.decompress(answer["Body"].read()),
    )
    assert (small["ContentType"], small.get("ContentEncoding", "none")) == ("text/html; charset=utf-8", "none")
    assert store.get("large.json") == large


def test_what_never_changes_may_be_cached_and_the_pointer_may_not(store: Store) -> None:
    """Readers ask for the pointer each time."""
    upload_all(store, [Upload(key="docs/a.json", source=b"{}")], within_seconds=20)
    switch_latest(store, run_id="a", attempt=1, outcome="success", docs_prefix=None)

    client = boto3.client("s3")
    headers = [
        client.head_object(Bucket=BUCKET, Key=f"shop/{key}")["CacheControl"] for key in ("docs/a.json", "latest.json")
    ]
    assert headers == ["private, max-age=31536000, immutable", "private, no-cache"]


def test_an_upload_that_fails_is_said_and_stops_no_other(aws: None) -> None:
    """S3's refusal is the publication's failure, not the run's."""
    missing = Store("no-such-bucket", "shop/")

    errors = missing.upload(
        [Upload(key="a", source=b"a"), Upload(key="b", source=b"b")], scrub=lambda data: data, within_seconds=20
    )
    assert [str(error).split(" failed")[0] for error in errors] == [
        "s3:PutObject on s3://no-such-bucket/shop/a",
        "s3:PutObject on s3://no-such-bucket/shop/b",
    ]


def test_a_refusal_names_the_action_and_the_place(aws: None) -> None:
    """The person who reads it knows which permission is missing, and where."""
    with pytest.raises(StoreError, match="s3:ListBucket on s3://no-such-bucket/shop/runs/ failed"):
        list(Store("no-such-bucket", "shop/").keys("runs/"))


def test_the_parse_cache_comes_back_for_the_same_key_only(store: Store, tmp_path: Path) -> None:
    """Another key, that is other code, another connection or other vars, finds nothing."""
    (tmp_path / "first").mkdir()
    (tmp_path / "first/partial_parse.msgpack").write_bytes(b"parsed")
    ParseCache(store, "key", tmp_path / "first")._send(b"parsed")
    same, other = ParseCache(store, "key", tmp_path / "same"), ParseCache(store, "other", tmp_path / "other")
    same.fetch()
    other.fetch()

    assert (same.found, (tmp_path / "same/partial_parse.msgpack").read_bytes()) == (True, b"parsed")
    assert (other.found, (tmp_path / "other").exists()) == (False, False)


def test_the_fingerprint_changes_with_the_code_and_nothing_else(project: Path) -> None:
    """Neither times nor what dbt writes count; every file of the project does."""
    before = project_fingerprint(project)
    (project / "target").mkdir()
    (project / "target/manifest.json").write_text("{}")
    (project / "models/orders.sql").touch()
    unchanged = project_fingerprint(project)
    (project / "models/orders.sql").write_text("select 1 as id")

    assert before == unchanged
    assert before != project_fingerprint(project)


class Silent:
    """A record that keeps nothing."""

    def event(self, kind: str, **fields: object) -> None:
        """Forget it."""


def test_metrics_are_embedded_metric_format() -> None:
    """One line for the run and one for each step; every metric that is declared has its value in the same line."""
    ledger = NodeLedger(cast("AttemptRecord", Silent()))
    for name, kind, status, step in (
        ("a", "model", NodeStatus.SUCCESS, "build"),
        ("b", "model", NodeStatus.ERROR, "build"),
        ("t", "test", NodeStatus.FAIL, "build"),
        ("s", "source", NodeStatus.WARN, "source_freshness"),
    ):
        ledger.finished(NodeResult(unique_id=name, resource_type=kind, name=name, step=step, status=status))
    lines = metric_lines(
        environment="dev",
        project="shop",
        run_id="r",
        attempt=2,
        outcome="failed",
        seconds=12.5,
        endings=[ending(StepName.BUILD, 1, Outcome.FAILED)],
        ledger=ledger,
    )

    assert len(lines) == 2
    for line in lines:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert {metric["Name"] for metric in directive["Metrics"]} <= set(line)
        assert {name for names in directive["Dimensions"] for name in names} <= set(line)
    expected: dict[str, Any] = {
        "RunDurationSeconds": 12.5,
        "RunFailed": 1,
        "Attempt": 2,
        "ModelsSucceeded": 1,
        "ModelsInError": 1,
        "TestFailures": 1,
        "SourceFreshnessBreaches": 1,
    }
    assert expected == {name: lines[0][name] for name in expected}
    assert (lines[1]["StepDurationSeconds"], lines[1]["step"]) == (2.0, "build")


def test_trimming_leaves_what_is_used(tmp_path: Path) -> None:
    """AWS services that the runner asks and the locale that dbt names stay; the others, pip and tests go."""
    packages = tmp_path / "lib/python3.13/site-packages"
    kept = [
        "botocore/data/s3/2006/service-2.json.gz",
        "botocore/data/endpoints.json",
        "babel/locale-data/en_US.dat",
        "dbt/a.py",
    ]
    gone = [
        "botocore/data/ec2/2016/service-2.json.gz",
        "babel/locale-data/de.dat",
        "pip/a.py",
        "networkx/x/tests/a.py",
        "lxml/a.so",
    ]
    for name in [*kept, *gone]:
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).touch()
    trim(tmp_path)

    assert sorted(kept) == sorted(
        path.relative_to(packages).as_posix() for path in packages.rglob("*") if path.is_file()
    )
