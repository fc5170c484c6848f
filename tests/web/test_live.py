"""The overview and the flows live, and survive a daemon that goes away."""

import re
import signal

from playwright.sync_api import Browser, Page, expect

from tests.pretended import Pretended, pretended
from tests.web.conftest import Visit
from tests.web.windows import Visitor, served


def rates(page: Page) -> str:
    return page.locator("header .rates").inner_text()


def test_the_overview_lives(visit: Visit) -> None:
    visitor = visit()
    page = visitor.page
    expect(page.get_by_role("status").filter(has_text="Bonded over dsl + lte + wifi")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Rates of the last five minutes"))).to_be_visible()
    for line in ("dsl", "lte", "wifi"):
        expect(page.get_by_role("list", name="Lines").get_by_role("link", name=line)).to_be_visible()
    before = rates(page)
    page.wait_for_function("before => document.querySelector('header .rates').innerText !== before", arg=before)
    expect(page.get_by_text(re.compile(r"%\s*of capacity"))).to_be_visible()
    page.get_by_label("Busiest now").get_by_role("button").first.click()
    expect(page.get_by_role("complementary").get_by_text("Subflows over time")).to_be_visible()


def test_flows_are_filtered_grouped_and_explained_by_their_rule(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("flows")
    table = page.get_by_role("table", name="Flows")
    expect(table.get_by_role("row").nth(3)).to_be_visible()
    page.get_by_label("Rule").select_option("default")
    rules = table.locator('[role="row"]:not(.head) [role="cell"]:nth-child(3)')
    expect(rules.filter(has_not_text="default")).to_have_count(0)
    expect(rules.filter(has_text=re.compile("^default$")).first).to_be_visible()
    page.get_by_label("Search").fill("no such thing")
    expect(page.get_by_text("No flow fits what you asked for.")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    page.get_by_label("Group by").select_option("client")
    expect(table.get_by_role("button", expanded=True).first).to_be_visible()
    visitor.picture("flows-grouped")


def test_the_order_stands_still_under_the_pointer_and_pause_stops_it(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("flows")
    table = page.get_by_role("table", name="Flows")
    expect(table.get_by_role("row").nth(5)).to_be_visible()
    table.hover()
    flows = '[...document.querySelectorAll("[data-flow]")].map(row => row.dataset.flow)'
    page.wait_for_timeout(300)
    before: list[str] = page.evaluate(flows)
    page.wait_for_timeout(2_500)
    after: list[str] = page.evaluate(flows)
    assert [each for each in before if each in after] == [each for each in after if each in before]
    assert len(set(before) & set(after)) > 3
    page.get_by_role("button", name="Pause").click()
    still = table.inner_text()
    page.wait_for_timeout(2_500)
    ages = re.compile(r"\d+\s?(s|min)\b.*")
    assert ages.sub("", still) == ages.sub("", table.inner_text())


def test_a_line_is_tested_from_its_page_and_the_test_can_be_cancelled(visit: Visit, daemon: Pretended) -> None:
    visitor = visit()
    page = visitor.go("uplinks?name=lte")
    test = page.get_by_role("region", name="Speed test")
    expect(test).to_contain_text("counts against cap lte-plan")
    test.get_by_role("button", name="Test download").click()
    expect(test).to_contain_text(re.compile(r"Mbit/s down .*used"))
    assert visitor.axe() == []
    visitor.go("uplinks?name=dsl")
    expect(test).not_to_contain_text("counts against cap")
    test.get_by_role("button", name="Test download").click()
    expect(test.get_by_role("progressbar")).to_be_visible()
    expect(test.get_by_role("button", name="Test upload")).to_be_disabled()
    test.get_by_role("button", name="Cancel").click()
    expect(test.get_by_role("progressbar")).to_have_count(0)
    expect(test).to_contain_text("cancelled")
    expect(test.get_by_role("button", name="Test upload")).to_be_enabled()
    visitor.picture("speedtest-cancelled")


def test_what_happened_is_found_by_its_kind_and_its_words(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("events")
    events = page.get_by_role("region", name="Events").get_by_role("listitem")
    expect(events.filter(has_text="Line lte is up.")).not_to_have_count(0)
    page.get_by_label("Kind").select_option("gateway")
    expect(events.filter(has_text="Line lte is up.")).to_have_count(0)
    expect(events.filter(has_text="Gateway hag is up.")).not_to_have_count(0)
    page.get_by_label("Search").fill("no such thing")
    expect(page.get_by_text("No event fits what you asked for.")).to_be_visible()
    page.reload()  # what was asked for is in the address
    expect(page.get_by_label("Search")).to_have_value("no such thing")


def test_more_tabs_than_a_browser_opens_connections_live_at_once(visit: Visit) -> None:
    visitor = visit()
    tabs = [visitor.page, *(visitor.context.new_page() for _ in range(8))]
    for tab in tabs[1:]:
        tab.goto(visitor.site.url)
    for tab in tabs:
        before = rates(tab)
        tab.wait_for_function("before => document.querySelector('header .rates').innerText !== before", arg=before)


def test_a_lost_daemon_shows_a_banner_and_recovers(browser: Browser) -> None:
    options = ("--no-pretend-outages", "--pretend-flows", "20")
    with served(*options) as (site, daemon):  # its own: no other test is to meet one that is lost
        visitor = Visitor(browser, site)
        visitor.enter()
        page = visitor.page
        expect(page.get_by_role("status").filter(has_text="Bonded")).to_be_visible()
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(20) == 0
        banner = page.get_by_role("alert").filter(has_text="does not answer")
        expect(banner).to_be_visible()
        visitor.picture("daemon-lost")
        assert visitor.axe() == []
        with pretended(site.directory, "--config", str(site.directory / "hagw.yaml"), *options, rights=()):
            expect(banner).to_have_count(0)
            before = rates(page)
            page.wait_for_function("before => document.querySelector('header .rates').innerText !== before", arg=before)
        visitor.leave()
        assert visitor.complaints == []
