"""The report and the headline of a run."""

from html.parser import HTMLParser
from typing import Any

import pytest

from runner.headline import headline
from runner.nodes import NodeResult
from runner.outcome import NodeStatus, Outcome
from runner.report import Report

START: dict[str, Any] = {
    "project": "shop",
    "environment": "dev",
    "run_id": "r",
    "attempt": 1,
    "started_at": "2026-11-22T05:00:00.000000Z",
    "code": {"fingerprint": "abc"},
    "versions": {"dbt-core": "1.11"},
    "resumes": None,
    "launched_by": {"url": "https://airflow.example.com/?a=1&b=2", "note": "<script>alert(1)</script>"},
}
EVIL = "<script>alert('x')</script>\"'&"


class Texts(HTMLParser):
    """The tags and the texts of a page, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - as HTMLParser calls it
        """Note a tag."""
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.texts += data


def node(name: str, status: NodeStatus, **more: Any) -> NodeResult:  # noqa: ANN401 - any field
    """How a model ended."""
    fields: dict[str, Any] = {
        "unique_id": f"model.shop.{name}",
        "resource_type": "model",
        "name": name,
        "step": "build",
    }
    return NodeResult(**{**fields, "status": status, **more})


def page(*results: NodeResult, reason: str | None = None, **more: Any) -> Texts:  # noqa: ANN401 - any field
    """The report over these nodes."""
    report = Report(
        start=START,
        outcome="failed",
        headline="model a failed",
        reason=reason,
        ended_at="2026-11-22T05:01:00.000000Z",
        seconds=60.0,
        endings=(),
        results=results,
        counts={"error": 1},
        **more,
    )
    return Texts(report.html())


def test_every_text_is_escaped() -> None:
    """Names, messages, SQL and rows of a warehouse can hold anything; none of it becomes markup."""
    result = node(EVIL, NodeStatus.ERROR, message=EVIL, compiled_code=EVIL, thread=EVIL)
    samples = {("build", result.unique_id): {"columns": [EVIL], "rows": [[EVIL], [None]]}}
    shown = page(result, reason=EVIL, samples=samples)

    assert "script" not in shown.tags
    assert shown.texts.count(EVIL) >= 5


def test_failures_come_first_with_message_and_sql() -> None:
    """Before everything that went well."""
    shown = page(
        node("all_well", NodeStatus.SUCCESS),
        node("bad", NodeStatus.ERROR, message="division by zero", compiled_code="select 1/0"),
    ).texts

    assert shown.index("division by zero") < shown.index("select 1/0") < shown.index("all_well")


def test_a_run_without_nodes_tells_its_reason() -> None:
    """Credentials that could not be fetched leave no node to show."""
    assert "the task role lacks glue:GetConnection" in page(reason="the task role lacks glue:GetConnection").texts


@pytest.mark.parametrize(
    ("outcome", "reason", "results", "expected"),
    [
        (Outcome.SUCCESS, None, [node("a", NodeStatus.SUCCESS)], "shop is done: 1 of 1 nodes"),
        (
            Outcome.SUCCESS,
            None,
            [node("a", NodeStatus.WARN), node("s", NodeStatus.FAIL, step="source_freshness")],
            "shop is done: 1 of 2 nodes, 1 with a warning, 1 not in order, which is only reported",
        ),
        (
            Outcome.FAILED,
            "step build: 1 error",
            [
                node("s", NodeStatus.FAIL, step="source_freshness", message="stale"),
                node(
                    "a", NodeStatus.ERROR, message="Database Error in model a (models/a.sql)\n  division by zero\n  x"
                ),
            ],
            "model a failed: division by zero (and 1 more)",
        ),
        (
            Outcome.INTERRUPTED,
            "SIGTERM was received",
            [node("a", NodeStatus.SUCCESS), node("b", NodeStatus.NOT_RUN)],
            "the run was stopped after 1 of 2 nodes: SIGTERM was received",
        ),
        (
            Outcome.INTERRUPTED,
            "SIGTERM was received",
            [],
            "the run was stopped before its first node: SIGTERM was received",
        ),
        (
            Outcome.ERROR,
            "the project does not parse: Compilation Error\n  Model 'a' depends on a node named 'b'",
            [],
            "the project does not parse: Model 'a' depends on a node named 'b'",
        ),
        (Outcome.ERROR, "the task role lacks x", [], "the task role lacks x"),
    ],
)
def test_the_headline_says_what_matters_in_one_sentence(
    outcome: Outcome, reason: str | None, results: list[NodeResult], expected: str
) -> None:
    """The database's own words where there are any."""
    assert expected == headline(outcome, reason, results, "shop")
