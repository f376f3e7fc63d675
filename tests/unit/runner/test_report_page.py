"""The data of the report, the page over them, and the headline of a run."""

import json
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest

from runner.headline import headline
from runner.log import SCRUBBER
from runner.nodes import NodeResult
from runner.outcome import NodeStatus, Outcome
from runner.page_data import graph_of
from runner.report import report_page
from tests.pages.runs import Shop, data_of, failing, iso, start_of, steps_of

EVIL = "</script><script>alert('x')</script><!-- %%DATA%% \u2028\u202e\ud800 \"'&"


class Elements(HTMLParser):
    """The scripts and the title of a page, as a browser reads them."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.title = ""
        self._open = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - as HTMLParser calls it
        """Note a script."""
        self._open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - as HTMLParser calls it
        """Texts belong to it no more."""
        self._open = ""

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if self._open == "script":
            self.scripts[-1] += data
        elif self._open == "title":
            self.title += data


def node(name: str, status: NodeStatus, **more: Any) -> NodeResult:  # noqa: ANN401 - any field
    """How a model ended."""
    fields: dict[str, Any] = {
        "unique_id": f"model.shop.{name}",
        "resource_type": "model",
        "name": name,
        "step": "build",
    }
    return NodeResult(**{**fields, "status": status, **more})


def test_no_text_of_others_becomes_markup() -> None:
    """Names, messages, SQL and rows of a warehouse can hold anything; it arrives as it was, in one element of data."""
    result = node(EVIL, NodeStatus.ERROR, message=EVIL, compiled_code=EVIL, thread=EVIL, ended_at=iso(9))
    samples = {("build", result.unique_id): {"columns": [EVIL], "rows": [[EVIL], [None]]}}
    start = start_of(run_id="r", launched_by={EVIL: EVIL})
    page = Elements(report_page(data_of("failed", EVIL, [result], start=start, samples=samples, reason=EVIL)))

    shown = json.loads(page.scripts[0])
    assert len(page.scripts) == 2
    assert (shown["headline"], shown["nodes"][0][2]) == (EVIL, EVIL)
    assert shown["details"]["0"] == {
        "message": EVIL,
        "sql": EVIL,
        "sample": {"columns": [EVIL], "rows": [[EVIL], [None]]},
    }


def test_the_data_are_ascii_without_a_less_than_sign() -> None:
    """Nothing in them can end their element, and no line separator can trouble a reader."""
    page = report_page(data_of("failed", EVIL, [node("a", NodeStatus.ERROR, message=EVIL)])).decode()
    data = page.partition('id="data">')[2].partition("</script>")[0]

    assert data.isascii()
    assert not {"<", ">", "&"} & set(data)


def test_a_secret_with_a_less_than_sign_is_scrubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrubbing comes before that sign is written otherwise."""
    monkeypatch.setattr(SCRUBBER, "_forms", ())
    SCRUBBER.hide("pass<word&")
    page = report_page(data_of("error", "could not connect", [], reason="refused pass<word&"))

    assert b"refused *****" in page
    assert b"pass" + b"\\u003cword" not in page


def test_long_texts_are_cut_and_say_so() -> None:
    """A message of 10 MB makes no page of 10 MB."""
    data = data_of("failed", "x" * 9_000, [node("a" * 9_000, NodeStatus.ERROR, message="m" * 10_000_000)])

    assert len(json.dumps(data)) < 60_000
    assert data["details"]["0"]["message_cut"] == 10_000_000 - 20_000


def test_many_long_texts_leave_the_rest_to_the_record() -> None:
    """The page of a night in which everything fails is still a page."""
    results = [
        node(f"m{number}", NodeStatus.ERROR, message="m" * 9_000, compiled_code="s" * 90_000) for number in range(500)
    ]
    data = data_of("failed", "x", results)

    assert len(json.dumps(data)) < 4_000_000
    assert data["cut"] > 400
    assert all(detail["message"] for detail in data["details"].values())


def test_times_lanes_and_edges_are_those_of_the_run() -> None:
    """A node begins when it ended less what it took; each thread of a step is a lane; edges are pairs of numbers."""
    first = node("a", NodeStatus.SUCCESS, seconds=2.0, thread="Thread-9 (worker)", ended_at=iso(5))
    second = node("b", NodeStatus.SUCCESS, seconds=1.0, thread="Thread-4 (worker)", ended_at=iso(6))
    earlier = node("c", NodeStatus.SUCCESS, seconds=3.0, thread="Thread-1", ended_at=iso(0), from_attempt=1)
    graph = {
        "model.shop.a": ("model", "a", ["source.shop.raw.x"]),
        "model.shop.b": ("model", "b", ["model.shop.a", "model.shop.c"]),
        "source.shop.raw.x": ("source", "raw.x", ()),
        "model.shop.unasked": ("model", "unasked", ["model.shop.b"]),
    }
    data = data_of("success", "x", [first, second, earlier], graph=graph, endings=steps_of(Outcome.SUCCESS))

    assert [row[5:8] for row in data["nodes"]] == [[3.0, 2.0, 0], [5.0, 1.0, 1], [None, 3.0, None], [None, None, None]]
    assert [row[0] for row in data["nodes"]][3:] == ["source.shop.raw.x"]
    assert data["edges"] == [3, 0, 0, 1, 2, 1]


@pytest.mark.parametrize("functions", [{}, {"functions": {"function.shop.f": ("function", "f", ["model.shop.a"])}}])
def test_functions_stand_in_the_graph_where_dbt_has_them(functions: dict[str, Any]) -> None:
    """What a model needs of dbt 1.11's functions is an edge as any other; dbt 1.10 has none."""

    def known(kind: str, name: str, parents: list[str]) -> SimpleNamespace:
        return SimpleNamespace(resource_type=kind, name=name, depends_on=SimpleNamespace(nodes=parents))

    models = {"model.shop.a": known("model", "a", []), "model.shop.b": known("model", "b", ["function.shop.f"])}
    made = {kind: {name: known(*node) for name, node in nodes.items()} for kind, nodes in functions.items()}
    graph = graph_of(SimpleNamespace(nodes=models, unit_tests={}, sources={}, **made))

    assert graph.get("function.shop.f") == functions.get("functions", {}).get("function.shop.f")
    assert graph["model.shop.b"][2] == ["function.shop.f"]


def test_a_report_of_500_models_is_made_of_the_whole_graph() -> None:
    """Every node is in it, tests too."""
    shop = Shop(500)
    data = data_of("failed", "x", shop.results(broken={shop.models[9]: failing(shop.models[9])}), graph=shop.graph)

    assert len(data["nodes"]) == len(shop.graph)
    assert len(data["edges"]) == 2 * sum(len(parents) for _, _, parents in shop.graph.values())


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
        (
            Outcome.FAILED,
            "step build: 1 fail",
            [node("n" * 3000, NodeStatus.FAIL, resource_type="test", message="Got 3 results")],
            f"test {'n' * 100}… failed: Got 3 results",
        ),
    ],
)
def test_the_headline_says_what_matters_in_one_sentence(
    outcome: Outcome, reason: str | None, results: list[NodeResult], expected: str
) -> None:
    """The database's own words where there are any."""
    assert expected == headline(outcome, reason, results, "shop")
