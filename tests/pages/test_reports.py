"""The run report in a real browser, opened from disk."""

from pathlib import Path

import pytest
from conftest import REPORTS, Open, serious_findings
from playwright.sync_api import Page, expect


def canvas_of(page: Page) -> str:
    """What the timeline shows."""
    drawn: str = page.locator("canvas.lanes").evaluate("canvas => canvas.toDataURL()")
    return drawn


def canvas_after(page: Page, shown: str) -> str:
    """What the timeline shows as soon as it is no longer `shown`: it is drawn anew some time after what asks for it."""
    page.wait_for_function("shown => document.querySelector('canvas.lanes').toDataURL() !== shown", arg=shown)
    return canvas_of(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", REPORTS)
def test_every_report_is_one_file_without_errors_that_all_can_use(
    made: Path, open_report: Open, name: str, theme: str
) -> None:
    """No other request, nothing in the console, no serious finding of axe, in both themes."""
    seen = open_report(name, theme=theme)

    assert seen.requests[0] == (made / f"reports/{name}.html").as_uri()
    assert [request for request in seen.requests[1:] if not request.startswith("data:")] == []
    assert serious_findings(seen.page) == []
    assert seen.errors == []


@pytest.mark.parametrize("name", REPORTS)
def test_no_report_is_wider_than_a_phone(open_report: Open, name: str) -> None:
    """What is wide, such as tables and the graph, scrolls in itself."""
    page = open_report(name, width=360, height=740).page

    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_red_report_says_what_broke_and_what_to_do(open_report: Open) -> None:
    """The database's words, whether it is new, what was not built because of it, and the way on, before anything else."""
    page = open_report("failed").page

    expect(page.locator("h1")).to_contain_text('column "refund_total" does not exist')
    expect(page.locator(".next")).to_contain_text("clear the task “run” in Airflow: this builds only the 15 nodes that")
    expect(page.locator(".next a")).to_have_attribute("href", "https://airflow.example.com/dags/x")
    first = page.locator("article").first
    expect(first).to_contain_text("Database Error in model")
    expect(first).to_contain_text("new: it was in order in the")
    expect(first).to_contain_text("behind it were not built")
    assert page.locator("section").first.get_attribute("id") == "failures"


def test_a_failed_test_says_what_it_tests_and_where_it_is_written(open_report: Open) -> None:
    """Its name says little; the model that it is about, its description and its file say where to look."""
    page = open_report("failed").page
    test = page.locator("#failures article").nth(1)

    expect(test).to_contain_text("tests model mart_orders")
    expect(test).to_contain_text("An order without an id cannot be paid back.")
    expect(test).to_contain_text("in models/marts/_marts.yml")
    test.get_by_role("button", name="mart_orders", exact=True).click()
    expect(page.get_by_role("dialog").get_by_role("heading", level=2)).to_have_text("mart_orders")


def test_a_real_project_is_told_by_its_tables(open_report: Open) -> None:
    """255 sources and 624 tests, of which some have names of thousands of characters that no link can hold."""
    page = open_report("real").page
    failures = page.locator("#failures article")

    expect(page.locator("h1")).to_contain_text("failed: Got 3 results, configured to fail if != 0 (and 1 more)")
    expect(failures.nth(0)).to_contain_text("tests source pudl.out_eia__yearly_boilers")
    expect(failures.nth(0)).to_contain_text("in models/eia/out_eia__yearly_boilers/schema.yml")
    expect(failures.nth(1)).to_contain_text("tests source pudl.core_eia923__monthly_generation_fuel_nuclear")
    expect(page.locator("#graph svg .node.tests-failed")).to_have_count(1)
    for failure, links in ((failures.nth(0), 0), (failures.nth(1), 1)):
        failure.locator("h3 button").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("link", name="its page in the dbt docs")).to_have_count(links)
        dialog.get_by_role("button", name="Close").click()


def test_rows_of_a_failed_test_are_shown_unless_they_are_personal(open_report: Open) -> None:
    """Stored rows stand beside the test; where they are withheld, the page says why."""
    page = open_report("failed").page

    expect(page.locator("#failures").get_by_role("cell", name="-3.50")).to_be_visible()
    expect(page.locator("#warnings")).to_contain_text(
        "No rows are shown: column email of dim_customers is marked as personal data"
    )


def test_the_sql_that_was_sent_unfolds(open_report: Open) -> None:
    """It is there, and not in the way."""
    page = open_report("failed").page
    sql = page.locator("article").first.locator("pre.code")

    expect(sql).to_be_hidden()
    page.locator("article").first.get_by_text("The SQL that was sent").click()
    expect(sql).to_contain_text("o.refund_total")


def test_a_green_report_has_no_alarm(open_report: Open) -> None:
    """Nothing to do, nothing wrong; the slowest models stand beside what they usually take."""
    page = open_report("green").page

    expect(page.locator(".headline .state")).to_contain_text("success")
    assert page.locator(".next").count() == page.locator("#failures").count() == 0
    expect(page.locator("#slowest")).to_contain_text("as usual")


def test_a_resumed_run_tells_of_the_killed_attempt(open_report: Open) -> None:
    """What was done before it was killed counts, and is told apart."""
    page = open_report("resumed").page

    expect(page.locator("#attempts li").first).to_contain_text("killed attempt 1")
    expect(page.locator(".figures")).to_contain_text("from earlier attempts")
    page.get_by_label("Search by name").fill("stg_")
    expect(page.locator("#nodes table")).to_contain_text("attempt 1")


def test_an_interrupted_run_says_that_nothing_is_wrong_with_its_nodes(open_report: Open) -> None:
    """The node that was cut off is named, and the next attempt goes on from there."""
    page = open_report("interrupted").page

    expect(page.locator(".next")).to_contain_text("Nothing is wrong with the nodes themselves")
    expect(page.locator(".next")).to_contain_text("wait some minutes for the next attempt, which begins by itself")
    expect(page.locator("#failures article")).to_have_count(1)
    expect(page.locator("#failures article")).to_contain_text("cut off while it ran")


@pytest.mark.parametrize(
    ("name", "words"), [("empty", "the selection matches no node"), ("before_dbt", "lacks glue:GetConnection")]
)
def test_a_run_without_nodes_tells_its_reason(open_report: Open, name: str, words: str) -> None:
    """No empty charts, but the reason in full."""
    page = open_report(name).page

    expect(page.locator("#failures pre")).to_contain_text(words)
    assert page.locator("canvas").count() == page.locator("svg").count() == 0


def test_without_airflow_the_way_on_is_a_command(open_report: Open) -> None:
    """Whole, to be copied; a name that a shell could take for more than a word is not in it."""
    command = "make retry ENV=live PROJECT=bookshop"
    expect(open_report("before_dbt").page.locator(".next code")).to_have_text(f"{command} RUN=by-hand-1")
    expect(open_report("hostile").page.locator(".next code")).to_have_text(command)


def test_nothing_of_others_runs_or_leads_anywhere(open_report: Open) -> None:
    """Names, messages, rows and links of others are texts: no element, no script, no address of theirs."""
    page = open_report("hostile").page
    page.locator("article summary").first.click()

    assert page.title() == "bookshop on live: failed"
    assert page.locator("img, iframe, object, form").count() == 0
    assert page.locator("script").count() == 2
    addresses = page.eval_on_selector_all("a", "links => links.map(link => link.getAttribute('href'))")
    assert [address for address in addresses if not address.startswith(("#", "../", "end.json"))] == []
    expect(page.locator("article").first).to_contain_text("9,980,000 characters more stand in the record")


def test_right_to_left_marks_end_where_their_text_ends(open_report: Open) -> None:
    """Every name of others is isolated, so that what follows it stays in order."""
    page = open_report("hostile").page
    bare = page.evaluate(
        """() => [...document.querySelectorAll('body *')].filter(element =>
             !['SCRIPT', 'STYLE', 'OPTION', 'TSPAN', 'NOSCRIPT'].includes(element.tagName.toUpperCase()) &&
             [...element.childNodes].some(child => child.nodeType === 3 && child.data.includes('\\u202e')) &&
             getComputedStyle(element).unicodeBidi === 'normal').map(element => element.outerHTML.slice(0, 200))"""
    )

    assert bare == []


def test_a_name_of_an_object_is_a_name(open_report: Open) -> None:
    """`__proto__` and its like are nodes as others are, with their own past."""
    page = open_report("hostile").page

    page.locator("#failures").get_by_role("button", name="__proto__").click()
    expect(page.get_by_role("dialog")).to_contain_text("__proto__")
    expect(page.get_by_role("dialog").get_by_role("img", name="2 of the last 3 runs failed")).to_be_visible()


def test_5000_nodes_are_a_page_of_few_rows(open_report: Open) -> None:
    """Only what is in sight is in the page; scrolling, searching and sorting reach all."""
    page = open_report("large").page
    table = page.get_by_role("region", name="All nodes, table")

    expect(page.locator("#nodes .note")).to_have_text("5,011 nodes")
    assert table.locator("tbody tr").count() < 100
    table.evaluate("box => box.scrollTo(0, box.scrollHeight)")
    expect(table.locator("tbody tr[aria-rowindex='5012']")).to_be_visible()
    page.get_by_label("Search by name").fill("mart_books_2")
    expect(page.locator("#nodes .note")).to_contain_text("of 5,011 nodes")
    expect(table.locator("tbody")).to_contain_text("mart_books_2")
    page.get_by_label("Status").select_option("bad")
    page.get_by_label("Search by name").fill("")
    expect(page.locator("#nodes .note")).to_have_text("1 of 5,011 nodes")


def test_a_large_graph_shows_what_matters(open_report: Open) -> None:
    """What failed and what surrounds it; another node can be chosen."""
    page = open_report("large").page
    graph = page.locator("#graph")

    assert 1 < graph.locator("svg .node").count() <= 150
    assert graph.locator("svg .node.error").count() == 1
    graph.get_by_role("combobox").select_option(label="raw.authors")
    expect(graph.locator("svg .node.success").first).to_be_visible()


def test_the_timeline_looks_closer_by_button_and_key(open_report: Open) -> None:
    """Plus, minus, arrows and 0 do what the buttons do."""
    page = open_report("large").page
    whole = canvas_of(page)

    page.locator("#timeline").get_by_role("button", name="Closer").click()
    closer = canvas_after(page, whole)
    page.locator("canvas.lanes").focus()
    page.keyboard.press("ArrowRight")
    aside = canvas_after(page, closer)
    assert aside != whole
    page.keyboard.press("0")
    page.wait_for_function("whole => document.querySelector('canvas.lanes').toDataURL() === whole", arg=whole)


def test_the_theme_can_be_switched(open_report: Open) -> None:
    """Against what the system says, and with the canvas."""
    page = open_report("green", theme="light").page
    before, paper = canvas_of(page), page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.get_by_role("button", name="Dark").click()
    expect(page.locator("body")).not_to_have_css("background-color", paper)
    canvas_after(page, before)


def test_a_keyboard_is_enough(open_report: Open) -> None:
    """From the first tab to a node's dialog and back, with its neighbours on the way."""
    page = open_report("failed").page

    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the nodes")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_attribute("type", "search")
    page.keyboard.type("int_orders")
    # The table is made anew after each letter, and a row that goes takes the focus with it.
    expect(page.locator("#nodes .note")).to_contain_text(" of ")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.locator(":focus").inner_text() == "int_orders":
            break
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", level=2)).to_have_text("int_orders")
    assert dialog.get_by_role("link", name="its page in the dbt docs").get_attribute("href") == (
        "../../../../docs/scheduled__2026-11-22T05:00:00+00:00-0001/index.html#!/model/model.shop.int_orders"
    )
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator(":focus")).to_have_text("int_orders")


def test_links_lead_to_the_log_the_task_and_airflow(open_report: Open) -> None:
    """Made of what start.json says; nothing else leads out of the page."""
    page = open_report("failed").page
    links = {
        link.get_attribute("href")
        for link in page.locator("#facts a").all()
        if (link.get_attribute("href") or "").startswith("https:")
    }

    log = "$252Flive$252Fdbt$252Fbookshop/log-events/dbt$252Fdbt$252F0f3b6c1d2e"
    assert links == {
        "https://airflow.example.com/dags/x",
        "https://eu-central-1.console.aws.amazon.com/ecs/v2/clusters/live/tasks/0f3b6c1d2e?region=eu-central-1",
        f"https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1#logsV2:log-groups/log-group/{log}",
    }
