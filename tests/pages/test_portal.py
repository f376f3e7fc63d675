"""The portal and a project's page in a real browser, served as `make docs` does: 100 projects, 1,000 runs, 5,000 nodes."""

from urllib.parse import urlsplit

import pytest
from conftest import Open, serious_findings
from playwright.sync_api import expect

PAGES = (
    "index.html",
    "project.html?name=bookshop",
    "project.html?name=project_001",
    "project.html?name=project_005",
    "project.html?name=project_060",
)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_every_page_asks_its_own_host_only_and_all_can_use_it(
    site: str, open_page: Open, name: str, theme: str
) -> None:
    """Nothing in the console, no serious finding of axe, in both themes; a hostile or a missing history too."""
    seen = open_page(site + name, theme=theme)
    seen.page.wait_for_load_state("networkidle")

    assert {urlsplit(request).netloc for request in seen.requests if not request.startswith("data:")} == {
        urlsplit(site).netloc
    }
    assert serious_findings(seen.page) == []
    assert seen.errors == []
    assert seen.page.title().startswith("dbt project")


@pytest.mark.parametrize(
    "address",
    ["nothing.html", "../bookshop/docs/gone-0001/index.html", "../bookshop/runs/gone/attempts/0001/report.html"],
)
def test_what_is_not_there_is_a_page_that_leads_back(site: str, open_page: Open, address: str) -> None:
    """Under the policy of what was asked for: readable, nothing refused, and a link to the portal."""
    seen = open_page(site + address)

    expect(seen.page.locator("h1")).to_have_text("There is no such page")
    assert serious_findings(seen.page) == []
    assert [error for error in seen.errors if "404" not in error] == []
    seen.page.get_by_role("link", name="All projects").click()
    expect(seen.page.locator("h1")).to_have_text("1 project of 100 needs a look")


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_a_phone(site: str, open_page: Open, name: str) -> None:
    """Tables scroll in themselves."""
    page = open_page(site + name, width=360, height=740).page
    page.wait_for_load_state("networkidle")

    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_portal_begins_with_what_needs_a_look(site: str, open_page: Open) -> None:
    """State now, last run, next run and trend of each of 100 projects, the bad ones first."""
    page = open_page(f"{site}index.html").page
    table = page.get_by_role("region", name="Projects, table")

    expect(page.locator("h1")).to_have_text("1 project of 100 needs a look")
    expect(page.locator(".headline")).to_contain_text("1 run going on now")
    expect(table.locator("tbody tr").first).to_contain_text("project_002")
    expect(table.locator("tbody tr").first).to_contain_text("failed")
    assert table.locator("table").get_attribute("aria-rowcount") == "101"
    # 05:00 in Berlin is 04:00 in UTC.
    assert table.locator("tbody tr", has_text="bookshop").locator("span[title]").first.get_attribute("title") == (
        "2026-11-23T04:00:00.000Z"
    )


def test_models_of_all_projects_are_found(site: str, open_page: Open) -> None:
    """By name, column and description, each with a link into its project's docs; nothing found is said."""
    page = open_page(f"{site}index.html").page
    box = page.get_by_label("Name, column or words of the description")

    box.fill("books")
    expect(page.locator("#search .note")).to_contain_text("the first 50 of")
    box.fill("stg_books")
    link = page.locator("#search li a").first
    expect(link).to_contain_text("stg_books")
    assert "/index.html#!/model/model.shop.stg_books" in (link.get_attribute("href") or "")
    box.fill("mart_customers_227_amount")
    expect(page.locator("#search li").first).to_contain_text("column mart_customers_227_amount")
    box.fill("of the shop returns")
    expect(page.locator("#search li").first).to_contain_text("returns")
    box.fill("nothing is called so")
    expect(page.locator("#search .note")).to_have_text("0 models")


def test_columns_of_a_real_project_are_found(site: str, open_page: Open) -> None:
    """One of 4,261, of a source that no other project has."""
    page = open_page(f"{site}index.html").page

    page.get_by_label("Name, column or words of the description").fill("so2_control_out_of_compliance_strategy_3")
    expect(page.locator("#search .note")).to_have_text("2 models", timeout=20_000)
    expect(page.locator("#search li").first).to_contain_text("source of project_060")


def test_a_single_run_stands_in_the_middle_of_its_day(site: str, open_page: Open) -> None:
    """And not at the left of an axis of years."""
    page = open_page(f"{site}project.html?name=project_060").page
    page.wait_for_selector("#trend canvas")
    place = page.evaluate(
        """() => {
            const canvas = document.querySelector('#trend canvas');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const green = [];
            for (let at = 0; at < data.length; at += 4)
                if (data[at + 3] > 200 && data[at + 1] > data[at] + 60) green.push((at / 4) % canvas.width);
            return green.length ? Math.min(...green) / canvas.width : null;
        }"""
    )

    assert place is not None
    assert 0.4 < place < 0.6


def test_a_project_shows_its_runs_over_time(site: str, open_page: Open) -> None:
    """Strip, trend, flaky tests, models that get slower, freshness, last good docs; 1,000 runs in a table of few rows."""
    page = open_page(f"{site}project.html?name=bookshop").page

    expect(page.locator("#runs .note")).to_have_text("1,000 runs")
    expect(page.locator("#strip a")).to_have_count(90)
    expect(page.locator("#trend canvas")).to_be_visible()
    expect(page.locator("#flaky tbody tr").first).to_contain_text("not_null_stg_orders")
    expect(page.locator("#slower tbody tr").first).to_contain_text("longer")
    expect(page.locator("#freshness tbody tr").first).to_contain_text("raw.")
    assert page.locator("#runs tbody tr").count() < 100
    assert (page.get_by_role("link", name="the last good ones").get_attribute("href") or "").startswith(
        "../bookshop/docs/"
    )


def test_the_docs_of_any_run_are_there_until_they_expire(site: str, open_page: Open) -> None:
    """Each run that made docs has a link to them, and says so once S3 has deleted them, 400 days later."""
    page = open_page(f"{site}project.html?name=bookshop").page
    table = page.get_by_role("region", name="All runs, table")
    newest = table.get_by_role("link", name="dbt docs of the run of 2026-11-22 05:00 UTC")

    assert newest.get_attribute("href") == (
        "../bookshop/docs/scheduled__2026-11-22T05%3A00%3A00%2B00%3A00-0001/index.html"
    )
    expect(table.get_by_text("expired")).to_have_count(0)
    table.evaluate("table => table.scrollTop = table.scrollHeight")
    expect(table.get_by_text("expired").first).to_be_visible()
    expect(table.get_by_role("link", name="dbt docs of the run of")).to_have_count(0)


def test_last_docs_that_have_expired_are_not_linked(site: str, open_page: Open) -> None:
    """Of a project that has not run for longer than its docs are kept."""
    page = open_page(f"{site}project.html?name=project_050").page

    expect(page.locator(".fact", has_text="dbt docs")).to_contain_text("expired")


def test_a_project_that_has_not_run_says_so(site: str, open_page: Open) -> None:
    """An empty state in words."""
    page = open_page(f"{site}project.html?name=project_001").page

    expect(page.locator("h1")).to_have_text("project_001 has not run yet")
    expect(page.locator("main")).to_contain_text("There is nothing to show before the first run has ended.")


def test_one_gets_from_the_portal_to_a_report_by_keyboard(site: str, open_page: Open) -> None:
    """By links alone."""
    page = open_page(f"{site}index.html").page
    page.get_by_role("link", name="bookshop").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#strip a")).to_have_count(90)
    last = page.locator("#strip a").last
    last.focus()

    assert (last.get_attribute("href") or "").endswith("/attempts/0001/report.html")
    expect(last).to_have_accessible_name("2026-11-22 05:00: success, 7 min 56 s")
