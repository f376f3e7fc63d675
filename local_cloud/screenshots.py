"""`python -m local_cloud.screenshots`: runs the sample project with one broken model and takes pictures of Airflow's page of it."""

import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from local_cloud.browser import ensure_browser
from local_cloud.cdk_cli import REPOSITORY_ROOT
from local_cloud.cloud import DEFAULT_FOLDER, LocalCloud, share_installed
from local_cloud.demo import Choice, start_and_deploy
from local_cloud.local_settings import read_local_settings
from local_cloud.progress import Steps

FOLDER = DEFAULT_FOLDER / "screenshots"
_PICTURES = REPOSITORY_ROOT / "docs"
_SAMPLE = REPOSITORY_ROOT / "projects/bookshop"
_BROKEN_MODEL = "models/marts/core/fct_orders.sql"
_MOST_BYTES = 300_000


def main() -> int:
    """Make `docs/airflow-graph.png` and `docs/airflow-grid.png` anew; nothing is left running."""
    for signal_ in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_, _interrupt)
    share_installed(FOLDER)
    project = _project_with_a_broken_model()
    choice = Choice(
        settings=read_local_settings(project),
        app=("python", "-m", "local_cloud.app", shlex.quote(str(project))),
        raw_data=REPOSITORY_ROOT / "local_cloud/sources/bookshop.sql",
    )
    with Steps() as steps, LocalCloud(FOLDER, steps=steps) as cloud:
        with steps.step("Find a browser") as step:
            browser = ensure_browser(step.say)
        cloud.install_venv("screenshots")
        deployed = start_and_deploy(cloud, steps, choice)
        with steps.step("Airflow runs the DAG; one model fails") as step:
            state, _ = deployed.run(step)
            if state != "failed":
                raise RuntimeError(f"the run must fail with a broken model, it ended {state}")
        with steps.step("Take the pictures"):
            subprocess.run(
                [
                    FOLDER / "venvs/screenshots/bin/python",
                    Path(__file__).with_name("take_screenshots.py"),
                    browser,
                    f"{cloud.airflow.url}/dags/{deployed.dag_id}",
                    _PICTURES,
                ],
                check=True,
            )
    for picture in sorted(_PICTURES.glob("airflow-*.png")):
        size = picture.stat().st_size
        sys.stdout.write(f"{picture.relative_to(REPOSITORY_ROOT)}: {size:,} bytes\n")
        if size > _MOST_BYTES:
            sys.stderr.write(f"error: a picture may have {_MOST_BYTES:,} bytes, {picture.name} has {size:,}\n")
            return 1
    return 0


def _project_with_a_broken_model() -> Path:
    folder = FOLDER / "bookshop"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_SAMPLE, folder)
    model = folder / _BROKEN_MODEL
    model.write_text(model.read_text().replace("getdate() as built_at", "no_such_column, getdate() as built_at"))
    return folder


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
