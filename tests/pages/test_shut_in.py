"""What a project's own container has written is shut in, with the headers that hosted pages and `make docs` have."""

import json
from pathlib import Path

import pytest
from conftest import REPOSITORY, Open
from playwright.sync_api import Browser

_EVIL = """<!doctype html><title>evil</title><h1>evil</h1><script>
const tried = {};
const attempt = async (name, what) => { try { tried[name] = String(await what()); } catch (error) { tried[name] = "refused"; } };
(async () => {
  await attempt("fetch", async () => (await fetch("/project_002/history/overview.json")).status);
  await attempt("image", () => new Promise((resolve, reject) => {
    const image = new Image(); image.onload = () => resolve("loaded"); image.onerror = reject; image.src = "/favicon.ico";
  }));
  await attempt("frame", () => new Promise((resolve, reject) => {
    const frame = document.createElement("iframe");
    frame.onload = () => frame.contentDocument ? resolve(frame.contentDocument.title) : reject(new Error());
    frame.src = "/_pages/index.html"; document.body.append(frame);
  }));
  await attempt("window", async () => { const other = open("/_pages/index.html"); return other.document.title; });
  await attempt("cookie", async () => document.cookie);
  await attempt("storage", async () => localStorage.length);
  window.tried = tried;
})();
</script>
"""


@pytest.mark.parametrize("key", ["bookshop/docs/evil/index.html", "bookshop/runs/evil/attempts/0001/report.html"])
def test_page_that_a_project_wrote_reads_no_other(made: Path, site: str, browser: Browser, key: str) -> None:
    """Whatever its docs or its report hold: another project's history and the reader's session are out of reach."""
    page_file = made / "bucket" / key
    page_file.parent.mkdir(parents=True)
    page_file.write_text(_EVIL)
    page = browser.new_page()

    page.goto(site.replace("_pages/", key))
    page.wait_for_function("window.tried")

    assert page.evaluate("window.origin") == "null"
    assert page.evaluate("window.tried") == dict.fromkeys(
        ("fetch", "image", "frame", "window", "cookie", "storage"), "refused"
    )
    page.close()


def test_dbts_own_page_works_where_it_is_shut_in(made: Path, site: str, open_page: Open) -> None:
    """It runs what stands in it, and nothing else: neither eval nor storage is needed."""
    (template,) = (REPOSITORY / ".venv/lib").glob("python3*/site-packages/dbt/task/docs/index.html")
    overview = {"name": "__overview__", "block_contents": "# The bookshop"}
    manifest = {
        "metadata": {"project_name": "bookshop", "adapter_type": "redshift"},
        "docs": {"doc.dbt.__overview__": {**overview, "package_name": "dbt"}},
        **{kind: {} for kind in ("nodes", "sources", "macros", "exposures", "metrics", "groups", "disabled")},
        **{
            kind: {}
            for kind in ("selectors", "parent_map", "child_map", "semantic_models", "saved_queries", "unit_tests")
        },
    }
    text = template.read_text().replace('"MANIFEST.JSON INLINE DATA"', json.dumps(manifest))
    text = text.replace('"CATALOG.JSON INLINE DATA"', json.dumps({"nodes": {}, "sources": {}}))
    page_file = made / "bucket/bookshop/docs/real/index.html"
    page_file.parent.mkdir(parents=True)
    page_file.write_text(text)

    page = open_page(site.replace("_pages/", "bookshop/docs/real/index.html")).page

    page.wait_for_selector("text=The bookshop")
    assert page.evaluate("window.origin") == "null"
