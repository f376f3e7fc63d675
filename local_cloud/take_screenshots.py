"""`python take_screenshots.py BROWSER DAG_URL FOLDER`, where playwright is: pictures of the newest run of a DAG."""

import json
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

_SIZE = {"width": 1440, "height": 900}
# The page asks the API all the time, so what it shows tells when it is ready.
_DRAWN = {"graph": ".react-flow__node", "grid": "a[href*='/tasks/']"}
_SECONDS_TO_LOAD = 300
_SECONDS_TO_DRAW = 8


def main(browser_file: str, dag_url: str, folder: Path) -> None:
    """Write airflow-graph.png and airflow-grid.png."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_file,
            # A browser does not start its own sandbox as root, as which the local cloud may run.
            args=["--no-sandbox"],
        )
        page = browser.new_page(viewport=_SIZE)
        page.set_default_timeout(_SECONDS_TO_LOAD * 1000)
        page.goto(dag_url)
        for view, drawn in _DRAWN.items():
            # Where Airflow's page keeps what a person chose last.
            page.evaluate("view => localStorage.setItem('default_dag_view', JSON.stringify(view))", view)
            page.evaluate(
                "([key, groups]) => localStorage.setItem(key, JSON.stringify(groups))",
                [f"{dag_url.rpartition('/')[2]}/open-groups", _groups(page, dag_url)],
            )
            page.goto(f"{dag_url}/runs/{_newest_run(page, dag_url)}")
            page.wait_for_selector(drawn, timeout=_SECONDS_TO_LOAD * 1000)
            page.wait_for_timeout(_SECONDS_TO_DRAW * 1000)
            page.screenshot(path=folder / f"airflow-{view}.png")
        browser.close()


def _api(page: Page, dag_url: str, path: str) -> dict[str, Any]:
    base, _, dag_id = dag_url.partition("/dags/")
    answer = page.request.get(f"{base}/api/v2/dags/{dag_id}/{path}")
    content: dict[str, Any] = json.loads(answer.body())
    return content


def _newest_run(page: Page, dag_url: str) -> str:
    runs = _api(page, dag_url, "dagRuns?order_by=-run_after&limit=1")["dag_runs"]
    return str(runs[0]["dag_run_id"])


def _groups(page: Page, dag_url: str) -> list[str]:
    tasks = _api(page, dag_url, "tasks")["tasks"]
    parts = [str(task["task_id"]).split(".")[:-1] for task in tasks]
    return sorted({".".join(part[: depth + 1]) for part in parts for depth in range(len(part))})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
