"""A real browser, pages as the product's code writes them, and the server of `make docs` over them."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

REPOSITORY = Path(__file__).parents[2]
AXE = REPOSITORY / "pages/node_modules/axe-core/axe.min.js"
PRODUCT_PYTHON = REPOSITORY / ".venv/bin/python"
REPORTS = ("green", "failed", "resumed", "interrupted", "empty", "before_dbt", "hostile", "large", "real")
NOW = "2026-11-22T06:30:00Z"
"""The moment at which the made-up pages are looked at: an hour and a half after the last run began."""

_ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'container'}"}


@dataclass
class Seen:
    """An open page, and what must not have happened on it."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


Open = Callable[..., Seen]
"""Opens an address; keywords: theme ("light", "dark"), width, height."""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that make_pages has filled."""
    folder = tmp_path_factory.mktemp("pages") / "made"
    command = [PRODUCT_PYTHON, "-m", "tests.pages.make_pages", folder]
    subprocess.run(command, check=True, cwd=REPOSITORY, env=_ENVIRONMENT)
    return folder


@pytest.fixture(scope="session")
def site(made: Path) -> Iterator[str]:
    """The address of the pages over all runs, served as `make docs` does."""
    command = [PRODUCT_PYTHON, "-m", "tests.pages.serve", made / "bucket"]
    with subprocess.Popen(command, cwd=REPOSITORY, env=_ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"http://127.0.0.1:{port}/_pages/"
        process.terminate()


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """What drives the browser."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Chromium, as the machine has it."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "a browser is needed: apt-get install chromium"
    # A browser does not start its own sandbox as root, as which tests may run.
    started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
    yield started
    started.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens pages that are closed at the end, each in a profile of its own."""
    contexts = []

    def open_it(address: str, *, theme: str = "light", width: int = 1280, height: int = 900) -> Seen:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.clock.set_fixed_time(NOW)
        seen = Seen(page)
        page.on(
            "console",
            lambda message: seen.errors.append(message.text) if message.type in {"error", "warning"} else None,
        )
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.goto(address)
        page.wait_for_selector("h1")
        return seen

    yield open_it
    for context in contexts:
        context.close()


@pytest.fixture
def open_report(made: Path, open_page: Open) -> Open:
    """Opens a report by its name, from disk."""

    def open_it(name: str, **options: object) -> Seen:
        return open_page((made / f"reports/{name}.html").as_uri(), **options)

    return open_it


def serious_findings(page: Page) -> list[str]:
    """What axe finds serious or critical: the rule and the first element of each."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{finding['id']}: {finding['nodes'][0]['html'][:200]} {finding['nodes'][0]['failureSummary'][:300]}"
        for finding in found["violations"]
        if finding["impact"] in {"serious", "critical"}
    ]
