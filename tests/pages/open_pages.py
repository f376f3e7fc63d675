"""`python open_pages.py REPEAT NAME=FILE=SELECTOR …`, where playwright is: seconds until each page can be used, as JSON by name."""

import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import sync_playwright


def main(repeat: int, pages: Sequence[Sequence[str]]) -> None:
    """Open the pages in turn, each time in a new profile, until what SELECTOR names is there and the page answers."""
    seconds: dict[str, list[float]] = {name: [] for name, _, _ in pages}
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        # A browser does not start its own sandbox as root, as which benchmarks run.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for _ in range(repeat):
            for name, file, selector in pages:
                context = browser.new_context(viewport={"width": 1280, "height": 900})
                page = context.new_page()
                began = time.perf_counter()
                page.goto(Path(file).as_uri(), wait_until="commit")
                page.wait_for_selector(selector, timeout=120_000)
                # Answered when the main thread has nothing before it.
                page.evaluate("new Promise(answer => requestAnimationFrame(() => setTimeout(answer)))")
                seconds[name].append(time.perf_counter() - began)
                context.close()
        browser.close()
    sys.stdout.write(json.dumps(seconds))


if __name__ == "__main__":
    main(int(sys.argv[1]), [argument.split("=", 2) for argument in sys.argv[2:]])
