"""Made-up runs for the pages: a shop of a size of one's choice, and what became of it; the same for the same arguments."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from runner.history import History, Past, run_entry
from runner.nodes import NodeResult
from runner.outcome import NodeStatus, Outcome
from runner.page_data import Graph, page_data
from runner.pipeline import StepEnding
from runner.run_spec import Policy, Step, StepName

BEGAN = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
_LAYERS = ("stg", "int", "fct", "dim", "mart")
_WORDS = (
    "orders",
    "customers",
    "payments",
    "refunds",
    "books",
    "authors",
    "reviews",
    "stock",
    "returns",
    "visits",
    "emails",
)


def iso(seconds: float, began: datetime = BEGAN) -> str:
    """The time so long after the run began, as the record writes it."""
    return (began + timedelta(seconds=seconds)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def start_of(*, run_id: str = "scheduled__2026-11-22T05:00:00+00:00", attempt: int = 1, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    """A start.json, as far as pages read it."""
    return {
        "project": "bookshop",
        "environment": "live",
        "run_id": run_id,
        "attempt": attempt,
        "started_at": iso(0),
        "code": {
            "git_commit": "9f3c1e7a5b",
            "image": "111111111111.dkr.ecr.eu-central-1.amazonaws.com/live/dbt/bookshop@sha256:" + "5d" * 32,
            "fingerprint": "113e061828ce",
        },
        "spec": {"threads": 4},
        "versions": {"dbt-core": "1.11.16", "dbt-redshift": "1.11.1"},
        "task_arn": "arn:aws:ecs:eu-central-1:111111111111:task/live/0f3b6c1d2e",
        "log": {"group": "/live/dbt/bookshop", "stream": "dbt/dbt/0f3b6c1d2e"},
        "launched_by": {"kind": "airflow", "dag_id": "dbt_live_bookshop", "url": "https://airflow.example.com/dags/x"},
        "resumes": None,
        **more,
    }


class Shop:
    """A graph of `models` models in layers over a few sources, each model with a test."""

    def __init__(self, models: int) -> None:
        self.graph: dict[str, tuple[str, str, Sequence[str]]] = {}
        dice = random.Random(models)  # noqa: S311 - no secret is made of it
        sources = [f"source.shop.raw.{word}" for word in _WORDS[: max(2, min(len(_WORDS), models // 3))]]
        for source in sources:
            self.graph[source] = ("source", f"raw.{source.rpartition('.')[2]}", ())
        names: list[str] = []
        for number in range(models):
            layer = _LAYERS[min(len(_LAYERS) - 1, number * len(_LAYERS) // models)]
            name = f"{layer}_{_WORDS[number % len(_WORDS)]}" + (f"_{number // len(_WORDS)}" if models > 40 else "")
            name = name if f"model.shop.{name}" not in self.graph else f"{name}_{number}"
            near = names[-60:]
            parents = (
                dice.sample(near, min(len(near), 1 + dice.randrange(2)))
                if number > models // 5
                else [dice.choice(sources)]
            )
            unique_id = f"model.shop.{name}"
            self.graph[unique_id] = ("model", name, parents)
            test = f"test.shop.not_null_{name}_id.{number:06x}"
            self.graph[test] = ("test", f"not_null_{name}_id", [unique_id])
            names.append(unique_id)
        self.models = names

    def manifest(self) -> Any:  # noqa: ANN401 - stands in for dbt's
        """As much of dbt's manifest as the history reads."""
        nodes: dict[str, Any] = {}
        sources: dict[str, Any] = {}
        for unique_id, (kind, name, _) in self.graph.items():
            node = SimpleNamespace(
                unique_id=unique_id,
                resource_type=kind,
                name=name.rpartition(".")[2],
                source_name="raw",
                description=f"All {name.replace('_', ' ')} of the shop.",
                columns={"id": None, f"{name}_amount": None},
            )
            (sources if kind == "source" else nodes)[unique_id] = node
        return SimpleNamespace(nodes=nodes, sources=sources)

    def results(
        self,
        *,
        broken: Mapping[str, NodeResult] | None = None,
        seed: int = 1,
        stop_after: int | None = None,
        done_before: Iterable[str] = (),
    ) -> list[NodeResult]:
        """What became of every node: `broken` ends as given, and what is behind it is skipped."""
        dice = random.Random(seed)  # noqa: S311 - no secret is made of it
        broken, done_before = broken or {}, set(done_before)
        results: list[NodeResult] = []
        free = [0.0] * 4
        ended: dict[str, float] = {}
        bad: set[str] = set()
        for number, (unique_id, (kind, name, parents)) in enumerate(self.graph.items()):
            step = "source_freshness" if kind == "source" else "build"
            fields: dict[str, Any] = {"unique_id": unique_id, "resource_type": kind, "name": name, "step": step}
            if kind == "test":
                fields["attached_node"] = parents[0]
            if stop_after is not None and number >= stop_after:
                stopped: dict[str, Any] = {"status": NodeStatus.NOT_RUN, "message": "not run: SIGTERM was received"}
                if number == stop_after:
                    stopped |= {"cut_off": True, "message": "cut off while it ran: SIGTERM was received"}
                results.append(NodeResult(**fields, **stopped))
                continue
            if bad.intersection(parents):
                bad.add(unique_id)
                results.append(NodeResult(**fields, status=NodeStatus.SKIPPED))
                continue
            took = round(dice.lognormvariate(0.6 if kind == "model" else -1.2, 0.8), 3)
            thread = min(range(4), key=free.__getitem__)
            begins = max([free[thread], *(ended.get(parent, 0.0) for parent in parents)])
            free[thread] = ended[unique_id] = begins + took
            given = broken.get(unique_id)
            if given is not None:
                if given.status in {NodeStatus.ERROR, NodeStatus.FAIL}:
                    bad.add(unique_id)
                    bad.update(parents if kind == "test" else ())
                own: dict[str, Any] = {
                    field: getattr(given, field) for field in ("status", "message", "compiled_code", "failures")
                }
                fields |= {
                    "thread": f"Thread-{thread + 1} (worker)",
                    "seconds": took,
                    "ended_at": iso(4 + begins + took),
                }
                results.append(NodeResult(**fields, **own))
                continue
            results.append(
                NodeResult(
                    **fields,
                    status=NodeStatus.SUCCESS,
                    seconds=took,
                    thread=f"Thread-{thread + 1} (worker)",
                    message="the newest row is 2.3 hours old" if kind == "source" else None,
                    rows=dice.randrange(200_000) if kind == "model" and number % 2 else None,
                    from_attempt=1 if unique_id in done_before else None,
                    ended_at=iso(4 + begins + took),
                )
            )
        return results


class NoStore:
    """Where nothing is kept yet."""

    def get(self, key: str) -> None:
        """Nothing is there."""

    def put(self, key: str, body: bytes, **options: str) -> None:
        """Nothing is kept."""


def history_files(
    shop: Shop, *, project: str, runs: int, seed: int = 1, ends: str = "success", began: datetime = BEGAN
) -> tuple[dict[str, bytes], Past]:
    """The files of a project's history after so many nightly runs, and the last of them read back."""
    dice = random.Random(seed)  # noqa: S311 - no secret is made of it
    told = min(runs, 12 if len(shop.models) < 1000 else 8)
    past = Past()
    files: dict[str, bytes] = {}
    for number in range(runs):
        day = began - timedelta(days=runs - 1 - number)
        run_id = f"scheduled__{day:%Y-%m-%d}T05:00:00+00:00"
        start = start_of(run_id=run_id) | {"project": project, "started_at": iso(0, day)}
        last = number == runs - 1
        outcome = ends if last else dice.choices(["success", "failed", "interrupted"], [30, 3, 1])[0]
        # Only the last runs tell of nodes; the many before them would cost minutes.
        results: list[NodeResult] = []
        if number >= runs - told:
            flaky = next(iter(shop.graph[test] and test for test in shop.graph if test.startswith("test.")))
            victim = shop.models[len(shop.models) // 2]
            broken = {}
            if outcome == "failed":
                broken[victim] = failing(victim)
            elif dice.random() < 0.3:
                broken[flaky] = failing(flaky, NodeStatus.WARN)
            results = shop.results(broken=broken, seed=seed)
            slow = shop.models[-1]
            if number >= runs - 6:
                results = [slower(entry) if entry.unique_id == slow else entry for entry in results]
        counts: dict[str, int] = {}
        for result in results:
            counts[result.status.value] = counts.get(result.status.value, 0) + 1
        entry = run_entry(
            start=start,
            outcome=outcome,
            headline=f"{project}: {outcome}",
            ended_at=iso(300, day),
            seconds=280 + dice.random() * 60 + number * 0.15,
            results=results,
            counts=counts,
            has_docs=outcome == "success",
        )
        if number >= runs - told:
            history = History(NoStore(), start=start)  # type: ignore[arg-type]
            uploads = history.uploads(
                past,
                run=entry,
                results=results,
                docs_prefix=f"{project}/docs/{run_id}-0001/" if outcome == "success" else None,
                manifest=shop.manifest(),
            )
            files |= {upload.key: upload.source for upload in uploads if isinstance(upload.source, bytes)}
            nodes = json.loads(files["history/nodes.json"])
            past.columns = nodes["runs"]
            past.nodes = {unique_id: rest for unique_id, *rest in nodes["nodes"]}
            past.overview = json.loads(files["history/overview.json"])
        past.runs = [*past.runs, entry]
    return files, past


def slower(result: NodeResult) -> NodeResult:
    """The same, but it took long."""
    return NodeResult(
        **{name: getattr(result, name) for name in NodeResult.__slots__} | {"seconds": result.seconds * 4 + 9}
    )


def failing(unique_id: str, status: NodeStatus = NodeStatus.ERROR, **more: Any) -> NodeResult:  # noqa: ANN401 - any field
    """How a node fails on Redshift."""
    name = unique_id.split(".")[2]
    fields: dict[str, Any] = {
        "unique_id": unique_id,
        "resource_type": unique_id.partition(".")[0],
        "name": name,
        "step": "build",
        "status": status,
        "message": f'Database Error in model {name} (models/marts/{name}.sql)\n  column "refund_total" does not exist in o\n'
        f"  compiled code at target/run/shop/models/marts/{name}.sql",
        "compiled_code": "select\n    o.order_id,\n    o.customer_id,\n    o.refund_total\nfrom analytics.stg_orders as o\n",
    }
    return NodeResult(**{**fields, **more})


def ending(name: StepName, outcome: Outcome, seconds: float, number: int, message: str | None = None) -> StepEnding:
    """How a step ended."""
    policy = Policy.MUST_PASS if name is StepName.BUILD else Policy.REPORT_ONLY
    return StepEnding(
        step=Step(name=name, policy=policy), number=number, outcome=outcome, seconds=seconds, message=message
    )


def steps_of(build: Outcome, message: str | None = None) -> list[StepEnding]:
    """The three steps of every night."""
    return [
        ending(StepName.SOURCE_FRESHNESS, Outcome.SUCCESS, 2.1, 1),
        ending(StepName.BUILD, build, 41.7, 2, message),
        ending(StepName.DOCS, Outcome.SUCCESS, 1.3, 3),
    ]


def data_of(outcome: str, headline: str, results: Sequence[NodeResult], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    """The data of a report; what is not given is that of an ordinary night."""
    graph: Graph = {}
    fields: dict[str, Any] = {
        "start": start_of(),
        "reason": None,
        "ended_at": iso(48),
        "seconds": 48.2,
        "endings": (),
        "samples": {},
        "withheld": {},
        "docs": {"href": "../../../../docs/scheduled__2026-11-22T05:00:00+00:00-0001/index.html", "from": None},
        "graph": graph,
        "origins": {},
        "past": Past(),
    }
    return page_data(outcome=outcome, headline=headline, results=results, **{**fields, **more})
