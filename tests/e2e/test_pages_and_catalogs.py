"""
What people and catalogs read of the runs that the tests before have made: `make docs` and `make datahub`, against the account.

By a person with the permissions of docs/pages.md and no others.
"""

import gzip
import http.client
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.analyst import Person, ended
from tests.e2e.conftest import Story
from tests.runner import datahub_library


@pytest.fixture(scope="module")
def reader(story: Story) -> Person:
    """Who may read the pages."""
    return Person(story, name="reader", page="pages.md")


@pytest.fixture(scope="module")
def documented_run(story: Story) -> str:
    """The id of a run that made docs; where none of the other files was run before this one, there is none yet."""
    docs = f"{story.deployed.project}/docs/"
    if not story.deployed.records.keys(docs):
        story.run()
    return story.deployed.records.keys(docs)[-1].removeprefix(docs).partition("/")[0][: -len("-0001")]


@pytest.fixture(scope="module")
def address(reader: Person, documented_run: str) -> Iterator[str]:
    """What `make docs` says to open for a run's docs; it serves until Ctrl-C."""
    serving = reader.start("docs", RUN=documented_run, PORT=0)
    assert serving.stdout is not None
    yield next(line.strip() for line in serving.stdout if line.startswith("http://"))
    os.killpg(serving.pid, signal.SIGINT)
    _, output = ended(serving)
    assert "Traceback" not in output


def _get(address: str) -> tuple[int, bytes]:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    body = answer.read()
    return answer.status, gzip.decompress(body) if answer.headers["Content-Encoding"] == "gzip" else body


def _seen(address: str, folder: Path) -> str:
    """The page as a browser has it once its scripts have run."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "a browser is needed: apt-get install chromium"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}", "--virtual-time-budget=20000"]
    done = subprocess.run(
        [browser, *flags, "--dump-dom", address], check=True, capture_output=True, text=True, timeout=120
    )
    return done.stdout


def test_docs_of_a_run_are_served(address: str, documented_run: str) -> None:
    """The very page that the container has written."""
    status, body = _get(address)

    assert f"/docs/{documented_run}-" in address
    assert (status, b"dim_customers" in body) == (200, True)


def test_portal_and_project_page_tell_of_the_runs(
    story: Story, address: str, documented_run: str, tmp_path: Path
) -> None:
    """In a browser: the deployed pages over the history that the containers kept, with a link to that run's docs."""
    pages = f"http://{urlsplit(address).netloc}/_pages"
    project = story.deployed.project
    overview = story.deployed.records.json(f"{project}/history/overview.json")
    portal = _seen(f"{pages}/index.html", tmp_path / "portal")
    page = _seen(f"{pages}/project.html?name={project}", tmp_path / "project")

    assert f'href="project.html?name={project}"' in portal
    assert re.search(r"<h1[^>]*>(No project of 1 failed its last run|1 project of 1 needs a look)<", portal)
    assert overview["last"]["headline"] in page.replace("&quot;", '"').replace("&amp;", "&")
    assert f"../{project}/docs/{documented_run}-" in page


def test_what_is_missing_is_a_page_of_ours(address: str) -> None:
    """It is deployed beside the portal."""
    status, body = _get(f"http://{urlsplit(address).netloc}/nothing.html")

    assert (status, b"There is no such page" in body) == (404, True)


def test_datahub_reads_what_was_published(reader: Person, documented_run: str, tmp_path: Path) -> None:
    """`make datahub` and then DataHub's own command: models with columns and lineage, and results of tests."""
    assert documented_run
    code, output = reader.make("datahub", TO=tmp_path / "datahub", FABRIC="DEV")
    assert code == 0, output
    (recipe,) = re.findall(r"^datahub ingest --config (.+)$", output, re.MULTILINE)
    emitted = datahub_library.emitted(Path(recipe))
    schema = datahub_library.of_model(datahub_library.aspects(emitted, "schemaMetadata"), "dim_customers")
    lineage = datahub_library.of_model(datahub_library.aspects(emitted, "upstreamLineage"), "dim_customers")

    assert "customer_name" in {field["fieldPath"].rpartition(".")[2] for field in schema["fields"]}
    assert any("stg_bookshop__customers" in upstream["dataset"] for upstream in lineage["upstreams"])
    assert datahub_library.aspects(emitted, "assertionRunEvent")
