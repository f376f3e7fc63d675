"""The report of a run of 5,000 nodes beside dbt's own docs page of the same project: how large, and how soon it can be used."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cloud import FOLDER
from benchmarks.generated_project import generate_project
from benchmarks.measure import Result, compare
from local_cloud.browser import ensure_browser
from local_cloud.cdk_cli import REPOSITORY_ROOT
from local_cloud.cloud import DEFAULT_FOLDER
from local_cloud.progress import Steps
from local_cloud.venvs import install_venv

_DBT_DOCS = "dbt's docs page"
_MODELS = 3334
"""With a test on every second one: 5,000 nodes."""
_MIB = 2**20
_PROFILE = {
    "generated": {
        "target": "dev",
        # Parsing asks no warehouse.
        "outputs": {
            "dev": {
                "type": "redshift",
                "host": "localhost",
                "user": "dbt",
                "password": "none",
                "port": 5439,
                "dbname": "warehouse",
                "schema": "analytics",
            }
        },
    }
}


def names() -> list[str]:
    """The figures, in order."""
    return ["pages_report_size_5000", "pages_report_usable_5000"]


def measure(*, repeat: int, steps: Steps) -> Iterator[Result]:
    """Yield both figures; the docs have no catalog, which makes them smaller than they are in practice."""
    folder = FOLDER / "pages"
    shutil.rmtree(folder, ignore_errors=True)
    with steps.step("pages: dbt makes its docs page of 5,000 nodes"):
        docs = _dbt_docs(folder)
    with steps.step("pages: the report of a run of the same project"):
        report = folder / "report.html"
        _run([sys.executable, "-m", "tests.pages.report_of", folder / "project/target/manifest.json", report])
    sizes = [[path.stat().st_size / _MIB] for path in (report, docs)]
    yield compare(names()[0], "MiB", ours=sizes[0], other=sizes[1], other_name=_DBT_DOCS)
    with steps.step(f"pages: open both, {repeat} times") as step:
        ensure_browser(step.say)
        requirements = REPOSITORY_ROOT / "local_cloud/screenshots-requirements.txt"
        python = install_venv(DEFAULT_FOLDER / "venvs/screenshots", requirements)
        opened = json.loads(
            _run(
                [
                    python,
                    REPOSITORY_ROOT / "tests/pages/open_pages.py",
                    str(repeat),
                    f"ours={report}=#nodes tbody tr",
                    f"other={docs}=text=Welcome to the auto-generated documentation",
                ]
            )
        )
    yield compare(names()[1], "s", ours=opened["ours"], other=opened["other"], other_name=_DBT_DOCS)


def _dbt_docs(folder: Path) -> Path:
    project = folder / "project"
    generate_project(project, models=_MODELS, sources_schema="raw")
    # JSON is YAML, and needs no second writer.
    (project / "profiles.yml").write_text(json.dumps(_PROFILE))
    dbt = Path(sys.executable).with_name("dbt")
    options: list[str | Path] = ["--project-dir", project, "--profiles-dir", project]
    # Docs that compile nothing take the manifest that is there.
    _run([dbt, "parse", *options])
    _run([dbt, "docs", "generate", *options, "--no-compile", "--empty-catalog", "--static"])
    return project / "target/static_index.html"


def _run(command: list[str | Path]) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{REPOSITORY_ROOT}:{REPOSITORY_ROOT / 'container'}",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY_ROOT
    ).stdout
