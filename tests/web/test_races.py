"""What happens when people are quicker than the browser or the daemon: the newest wish holds, and none is lost."""

import re
import threading

from playwright.sync_api import Page, Route, expect

from tests.web.conftest import Visit

PRESS = "element => element.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowDown', bubbles: true}))"


def names(page: Page) -> list[str]:
    return page.locator("ol.rules li .what > strong").all_inner_texts()


def test_a_choice_right_after_show_all_begins_from_all(visit: Visit) -> None:
    page = visit().go("flows?q=no+such+thing")
    show_all = page.get_by_role("button", name="Show all")
    expect(show_all).to_be_visible()
    # In one go: the browser tells of a new address only after this.
    show_all.evaluate(
        """button => {
            button.click();
            const group = document.querySelector('select[aria-label="Group by"]');
            group.value = "client";
            group.dispatchEvent(new Event("change", { bubbles: true }));
        }"""
    )
    table = page.get_by_role("table", name="Flows")
    expect(table.get_by_role("button", expanded=True).first).to_be_visible()
    expect(page.get_by_label("Search")).to_have_value("")
    assert page.evaluate("location.hash") == "#/flows?group=client"
    page.go_back()
    expect(show_all).to_be_visible()


def test_a_state_chosen_while_flows_are_asked_for_is_asked_for_at_once(visit: Visit) -> None:
    visitor = visit()
    page = visitor.page
    page.add_init_script("window.setInterval = () => 0")  # it does not look again by itself
    page.reload()
    held: list[Route] = []
    page.route("**/api/v1/flows?*", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/api/v1/flows?*"):
        visitor.go("flows")
    while not held:
        page.wait_for_timeout(20)
    page.get_by_label("State").select_option("all")
    with page.expect_request(re.compile(r"/flows\?recent=60")):
        held[0].continue_()


def test_keys_quicker_than_the_daemon_all_count(visit: Visit) -> None:
    page = visit().go("policy")
    grips = page.locator("button.grip")
    expect(grips.nth(2)).to_be_visible()
    before = names(page)
    grips.nth(0).evaluate(f"element => {{ const press = {PRESS}; press(element); press(element); }}")
    expect(page.locator("ol.rules li .what > strong").nth(2)).to_have_text(before[0])
    assert names(page)[:2] == before[1:3]
    expect(page.get_by_role("button", name=re.compile(f"^Move {before[0]}"))).to_be_focused()


def test_what_was_typed_a_moment_ago_is_kept_by_the_next_click(visit: Visit) -> None:
    page = visit().go("policy")
    text = page.get_by_label("Configuration as YAML")
    expect(page.get_by_role("button", name="Remove shell-direct")).to_be_visible()
    text.fill(f"# typed a moment ago\n{text.input_value()}")
    page.get_by_role("button", name="Remove shell-direct").click()
    expect(text).to_have_value(re.compile("^# typed a moment ago"))
    expect(page.get_by_role("button", name="Remove shell-direct")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Remove shell-direct")).to_be_visible()
    expect(text).to_have_value(re.compile("^# typed a moment ago"))


def test_only_what_was_planned_can_be_applied(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("policy")
    page.get_by_role("button", name="Remove shell-direct").click()
    expect(page.get_by_role("link", name="Review and apply").first).to_be_visible()
    held: list[Route] = []
    released = threading.Event()
    page.route("**/api/v1/config/plan", lambda route: route.continue_() if released.is_set() else held.append(route))
    visitor.go("changes")
    expect(page.get_by_text("Planning …")).to_be_visible()
    expect(page.get_by_role("button", name="Apply")).to_be_disabled()
    released.set()
    for route in held:
        route.continue_()
    expect(page.get_by_text("rule shell-direct", exact=False).first).to_be_visible()
    expect(page.get_by_role("button", name="Apply")).to_be_enabled()
