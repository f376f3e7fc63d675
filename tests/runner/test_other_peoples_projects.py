"""A run of a project as other people write them leaves a record, a page and docs that can be read."""

import importlib
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.faults.machine import Machine
from tests.runner.strange_project import AWKWARD, write_strange_project
from tests.unit.runner.support import events_of, validated_record

RUN = "strange"
EXPECTED = {
    "seed.strange.raw_orders": "success",
    "model.strange.order": "success",
    "model.strange.awkward": "success",
    "model.strange.after_ephemeral": "success",
    "model.strange.elsewhere": "success",
    "model.strange.secret_sauce": "success",
    "model.strange.finance_report": "success",
    "model.strange.customers.v1": "success",
    "model.strange.customers.v2": "success",
    "model.strange.uses_versions": "success",
    "model.strange.uses_package": "success",
    "model.strange.grows": "success",
    "model.strange.metricflow_time_spine": "success",
    "model.tools.tools_model": "success",
    "model.strange.breaks": "error",
    "model.strange.after_broken": "skipped",
    "snapshot.strange.order_history": "success",
    "snapshot.strange.old_history": "success",
    "unit_test.strange.order.orders_keep_their_amount": "success",
    "test.strange.unique_order_id": "success",
    "test.strange.not_null_order__select_": "success",
    "test.strange.unique_customers_v1_id": "success",
    "test.strange.not_null_customers_v1_id": "success",
    "test.strange.unique_customers_v2_id": "success",
    "test.strange.not_null_customers_v2_id": "success",
    "test.strange.finds_rows": "warn",
}


@pytest.fixture(scope="module")
def record(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The record of the run, each file valid against its schema."""
    before, machine.project = machine.project, write_strange_project(tmp_path_factory.mktemp("strange"))
    machine.empty_warehouse()
    spec = {"steps": ["build", "docs"], "sample_failed_rows": True}
    attempt = machine.start_attempt(RUN, 1, spec=spec, stop_timeout_seconds=30, is_cold=False)
    code = attempt.process.wait(180)
    machine.project = before
    assert code == 1, attempt.log.read_text()
    yield validated_record(machine.store, RUN)
    machine.stand_in.run_sql("drop schema if exists built_mart cascade")


def without_hash(unique_id: str) -> str:
    """A unique id without the hash that a generic test's ends in."""
    parts = unique_id.split(".")
    return ".".join(parts[:3]) if parts[0] == "test" else unique_id


def test_every_node_that_was_asked_for_ends_once_and_as_it_did(record: dict[str, Any]) -> None:
    """Ephemeral and disabled models, exposures, metrics and saved queries are not asked for; all else is."""
    events = events_of(record)
    planned = [node["unique_id"] for event in events if event["type"] == "planned" for node in event["nodes"]]
    ended = [event for event in events if event["type"] == "node_finished"]

    assert sorted(planned) == sorted(event["unique_id"] for event in ended)
    assert {without_hash(event["unique_id"]): event["status"] for event in ended} == EXPECTED
    end = record["attempts/0001/end.json"]
    assert {without_hash(unique_id): node["status"] for unique_id, node in end["nodes"].items()} == EXPECTED


def test_the_databases_words_arrive_letter_by_letter(record: dict[str, Any]) -> None:
    """Quotes, an emoji and a line separator in a message, in one event of one line."""
    (broken,) = (event for event in events_of(record) if event.get("status") == "error")
    assert AWKWARD in broken["message"]


def test_any_reader_finds_one_event_a_line(machine: Machine, record: dict[str, Any]) -> None:
    """Python's own splitlines() ends a line at U+2028; no event holds one as it is."""
    for key, body in machine.objects(f"runs/{RUN}/attempts/0001/events/").items():
        assert [json.loads(line) for line in body.decode().splitlines()] == record[key.removeprefix(f"runs/{RUN}/")]


class _WellFormed(HTMLParser):
    """Notes tags that are closed and were not open; collects the texts."""

    _MAY_STAY_OPEN = frozenset({"meta", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.scripts = 0
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - as HTMLParser says
        self.scripts += tag == "script"
        if tag not in self._MAY_STAY_OPEN:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._MAY_STAY_OPEN:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_report_is_well_formed_and_repeats_no_markup(record: dict[str, Any]) -> None:
    """What the database said stands in the page as text, whatever it holds."""
    page = _WellFormed()
    page.feed(record["attempts/0001/report.html"].decode())

    # Its data, and its own script.
    assert (page.wrong, page.open, page.scripts) == ([], [], 2)
    (data,) = (json.loads(text) for text in page.texts if text.startswith('{"format_version"'))
    assert any(AWKWARD in detail.get("message", "") for detail in data["details"].values())


def test_rows_that_a_test_found_are_kept_as_they_are(record: dict[str, Any]) -> None:
    """Asked for with `sample_failed_rows`."""
    (found,) = (json.loads(body) for name, body in record.items() if "/failed_rows/" in name)

    assert found == {"columns": ["words"], "rows": [[AWKWARD]]}


def test_airflows_reader_reads_it(machine: Machine, record: dict[str, Any]) -> None:
    """The package of the DAG finds the same endings in the same files."""
    # By name: mypy checks that package with Airflow's own environment.
    reader = importlib.import_module("dags.dbt_on_fargate.record")
    read = reader.RunRecord(client=boto3.client("s3"), bucket=machine.bucket, prefix=f"faults/runs/{RUN}/")
    read.read_new(look_for_attempts=True)

    (attempt,) = read.attempts.values()
    assert attempt.outcome == "failed"
    assert {without_hash(unique_id): result.status for unique_id, result in attempt.results.items()} == EXPECTED
    assert read.end(1) == record["attempts/0001/end.json"]


def test_docs_are_published_though_a_model_failed(machine: Machine, record: dict[str, Any]) -> None:
    """The one page and what it was made of."""
    prefix = record["attempts/0001/end.json"]["docs"]["prefix"].removeprefix("faults/")
    names = {Path(key).name for key in machine.objects(prefix)}

    assert names == {"index.html", "manifest.json", "catalog.json", "run_results.json"}
