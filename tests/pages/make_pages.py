"""`python -m tests.pages.make_pages FOLDER`: a bucket of pages as the product's own code writes them, for a browser to read."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from runner.headline import headline
from runner.history import History, Past, run_entry
from runner.nodes import NodeResult
from runner.outcome import NodeStatus, Outcome
from runner.page_data import graph_of, origins_of
from runner.report import report_page
from runner.run_spec import StepName
from tests.pages import real_project
from tests.pages.runs import BEGAN, NoStore, Shop, data_of, ending, failing, history_files, iso, start_of, steps_of

REPOSITORY = Path(__file__).parents[2]
EVIL = (
    "</script><img src=x onerror=\"document.title='broken into'\"><script>document.title='broken into'</script>"
    "\u202egnp.tset\u2028 javascript:alert(1) & \"'\ud800"
)
_PORTAL_PROJECTS = 100
_REAL_PROJECT = 60
"""Has run once."""


def main(folder: Path) -> None:
    """Write `reports/*.html`, which open from disk, and `bucket/`, which is to be served."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "reports").mkdir(parents=True)
    for name, data in _reports().items():
        (folder / f"reports/{name}.html").write_bytes(report_page(data))
    _write_bucket(folder / "bucket")


def _reports() -> Mapping[str, Mapping[str, Any]]:
    shop = Shop(34)
    victim = shop.models[11]
    tests = _tests_apart_from(shop, victim)
    test, personal = tests[-1], tests[2]
    source = next(iter(shop.graph))
    _, past = history_files(shop, project="bookshop", runs=40)
    broken = {
        victim: failing(victim),
        test: failing(test, NodeStatus.FAIL, message="Got 3 results, configured to fail if != 0", failures=3),
        personal: failing(personal, NodeStatus.WARN, message="Got 12 results, configured to warn if != 0", failures=12),
        source: failing(source, NodeStatus.WARN, message="the newest row is 31.0 hours old", step="source_freshness"),
    }
    samples = {
        ("build", test): {
            "columns": ["order_id", "amount"],
            "rows": [["1041", None], ["1077", "-3.50"], ["1108", None]],
        }
    }
    failed = shop.results(broken=broken)
    name = shop.graph[victim][1]
    return {
        "green": data_of(
            "success",
            "bookshop is done: 79 of 79 nodes",
            shop.results(),
            endings=steps_of(Outcome.SUCCESS),
            graph=shop.graph,
            past=past,
        ),
        "failed": data_of(
            "failed",
            f'model {name} failed: column "refund_total" does not exist in o (and 1 more)',
            failed,
            reason="step build: 1 error, 1 fail",
            endings=steps_of(Outcome.FAILED, "1 error, 1 fail, 12 skipped"),
            graph=shop.graph,
            past=past,
            origins={
                victim: (f"models/marts/{name}.sql", "One row for each order, with what was paid back."),
                test: ("models/marts/_marts.yml", "An order without an id cannot be paid back."),
            },
            samples=samples,
            withheld={("build", personal): "column email of dim_customers is marked as personal data"},
        ),
        "resumed": _resumed(shop),
        "interrupted": data_of(
            "interrupted",
            "the run was stopped after 52 of 79 nodes: SIGTERM was received",
            shop.results(stop_after=52),
            reason="SIGTERM was received",
            endings=[ending(StepName.BUILD, Outcome.INTERRUPTED, 30.0, 1, "SIGTERM was received")],
            graph=shop.graph,
            start=start_of(launched_by={"kind": "eventbridge"}),
            docs=None,
        ),
        "empty": data_of(
            "error",
            "the selection matches no node, so nothing was built",
            [],
            reason="step build: the selection matches no node, so nothing was built",
            endings=[
                ending(StepName.BUILD, Outcome.ERROR, 0.4, 1, "the selection matches no node, so nothing was built")
            ],
            docs=None,
        ),
        "before_dbt": data_of(
            "error",
            "the task role lacks glue:GetConnection on Glue connection 'warehouse'",
            [],
            start=start_of(run_id="by-hand-1", launched_by={"kind": "person", "name": "analyst/ada"}),
            reason="the task role lacks glue:GetConnection on Glue connection 'warehouse'",
            docs=None,
        ),
        "hostile": _hostile(),
        "large": _large(5000),
        "real": _real(),
    }


def _tests_apart_from(shop: Shop, victim: str) -> list[str]:
    """The tests that are not skipped when `victim` fails."""
    skipped = shop.results(broken={victim: failing(victim)})
    return [
        result.unique_id for result in skipped if result.resource_type == "test" and result.status is NodeStatus.SUCCESS
    ]


def _resumed(shop: Shop) -> dict[str, Any]:
    start = start_of(attempt=2, resumes={"attempt": 1})
    past = Past(overview={"begun": [{"run_id": start["run_id"], "attempt": 1, "started_at": iso(-400)}]})
    return data_of(
        "success",
        "bookshop is done: 79 of 79 nodes",
        shop.results(done_before=list(shop.graph)[10:50]),
        start=start,
        endings=steps_of(Outcome.SUCCESS),
        graph=shop.graph,
        past=past,
    )


def _hostile() -> dict[str, Any]:
    results: list[NodeResult] = []
    graph: dict[str, tuple[str, str, Sequence[str]]] = {}
    for number, name in enumerate(
        [EVIL, "__proto__", "constructor", "x" * 200_000, "\u202eevil\u202d", "", "%%DATA%%", "مبيعات"]
    ):
        unique_id = f"model.shop.{name}" if name != "__proto__" else name
        graph[unique_id] = ("model", name, list(graph)[-2:])
        results.append(
            NodeResult(
                unique_id=unique_id,
                resource_type="model",
                name=name,
                step="build",
                status=NodeStatus.ERROR if number != 2 else NodeStatus.WARN,
                seconds=1.5,
                thread=EVIL,
                message=EVIL if number else "m" * 10_000_000,
                compiled_code=EVIL * 100,
                ended_at=iso(5 + number),
            )
        )
    samples = {
        ("build", results[3].unique_id): {"columns": [EVIL, "__proto__"], "rows": [[EVIL, "r" * 100_000], [None, EVIL]]}
    }
    start = start_of(
        run_id="r; rm -rf /",
        launched_by={EVIL: EVIL, "kind": EVIL, "url": "javascript:document.title='broken into'"},
        starts_over=EVIL,
    )
    start["code"] = {"fingerprint": EVIL, "git_commit": EVIL, "image": EVIL}
    start["task_arn"], start["log"] = EVIL, {"group": EVIL, "stream": EVIL}
    past = Past(runs=[], nodes={"__proto__": ["model", EVIL, "sfe", [1.0, None, None]]}, columns=[["a", 1, iso(0)]] * 3)
    return data_of(
        "failed",
        EVIL,
        results,
        reason=EVIL,
        graph=graph,
        origins={result.unique_id: (EVIL, EVIL) for result in results},
        samples=samples,
        start=start,
        past=past,
        endings=steps_of(Outcome.FAILED, EVIL),
    )


def _large(nodes: int) -> dict[str, Any]:
    shop = Shop(nodes // 2)
    victim = shop.models[nodes // 10 - 20]
    return data_of(
        "failed",
        f"model {shop.graph[victim][1]} failed: division by zero",
        shop.results(broken={victim: failing(victim)}),
        reason="step build: 1 error",
        endings=steps_of(Outcome.FAILED, "1 error"),
        graph=shop.graph,
        seconds=1900.0,
    )


def _real() -> dict[str, Any]:
    manifest = real_project.manifest()
    results = real_project.results(manifest)
    return data_of(
        "failed",
        headline(Outcome.FAILED, None, results, "pudl"),
        results,
        reason="step build: 2 fail",
        endings=steps_of(Outcome.FAILED, "2 fail"),
        graph=graph_of(manifest),
        origins=origins_of(manifest, results),
        seconds=241.0,
    )


def _write_real_history(folder: Path) -> None:
    manifest = real_project.manifest()
    results = [replace(result, status=NodeStatus.SUCCESS) for result in real_project.results(manifest)]
    start = start_of() | {"project": folder.name}
    run = run_entry(
        start=start,
        outcome="success",
        headline=headline(Outcome.SUCCESS, None, results, folder.name),
        ended_at=iso(241),
        seconds=241.0,
        results=results,
        counts={"success": len(results)},
        has_docs=False,
    )
    history = History(NoStore(), start=start)  # type: ignore[arg-type]  # it is only asked for what it would write
    for upload in history.uploads(Past(), run=run, results=results, docs_prefix=None, manifest=manifest):
        assert isinstance(upload.source, bytes)
        path = folder / upload.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(upload.source)


def _write_bucket(bucket: Path) -> None:
    shutil.copytree(REPOSITORY / "pages/dist", bucket / "_pages")
    projects = []
    small = Shop(20)
    for number in range(_PORTAL_PROJECTS):
        name = "bookshop" if number == 0 else f"project_{number:03d}"
        shop, runs = (Shop(2500), 1000) if number == 0 else (small, 12)
        projects.append(
            {"name": name, "schedule": f"{number % 60} 5 * * *", "time_zone": "Europe/Berlin", "deadline_seconds": 7200}
        )
        if number == 1:
            continue
        if number == _REAL_PROJECT:
            _write_real_history(bucket / name)
            continue
        ends = {2: "failed", 3: "interrupted"}.get(number, "success")
        began = BEGAN - timedelta(days=500 if number == 50 else 0, hours=number % 9)
        files, _ = history_files(shop, project=name, runs=runs, seed=number + 1, ends=ends, began=began)
        for key, body in files.items():
            path = bucket / name / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        if number == 4:
            overview = bucket / name / "history/overview.json"
            content = json.loads(overview.read_text())
            content["begun"] = [{"run_id": "manual-1", "attempt": 1, "started_at": iso(1800)}]
            overview.write_text(json.dumps(content))
        if number == 5:
            (bucket / name / "history/overview.json").write_text(
                json.dumps({"format_version": 1, "last": {"headline": EVIL, "outcome": EVIL}})
            )
    listed = {"format_version": 1, "environment": "live", "records_retention_days": 400, "projects": projects}
    (bucket / "_pages/projects.json").write_text(json.dumps(listed))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
