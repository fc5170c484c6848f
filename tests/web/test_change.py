"""A change from the form to its confirmation, one that takes itself back, and two people who change the same thing."""

import re
from collections.abc import Sequence

from playwright.sync_api import Page, expect

from tests.pretended import Pretended
from tests.web.conftest import Visit
from tests.web.windows import Visitor


def add_rule(
    visitor: Visitor,
    name: str,
    traffic: str,
    *,
    field: str = "Domain",
    mode: str = "load-balancing",
    lines: Sequence[str] = (),
    precedence: str = "",
) -> Page:
    """Add a rule by the form; nothing is applied."""
    page = visitor.go("policy")
    page.get_by_role("button", name="Add a rule").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label(field, exact=True).fill(traffic)
    dialog.get_by_label("Mode").first.select_option(mode)
    for line in lines:
        dialog.get_by_role("checkbox", name=line).first.check()
    if precedence:
        dialog.get_by_label("Precedence").fill(precedence)
    dialog.get_by_role("button", name="Add the rule").click()
    expect(dialog).to_have_count(0)
    return page


def apply(visitor: Visitor, within: str = "60") -> Page:
    page = visitor.go("changes")
    page.get_by_label("Take it back unless confirmed within").select_option(within)
    page.get_by_role("button", name="Apply").click()
    return page


def rules(daemon: Pretended) -> list[str]:
    return [rule["name"] for rule in daemon.get("/rules")["rules"]]


def test_a_rule_is_added_planned_applied_and_confirmed(visit: Visit, daemon: Pretended) -> None:
    visitor = visit()
    page = add_rule(visitor, "web-on-dsl", "*.web.example")
    expect(page.locator("ol.rules .what > strong").filter(has_text="web-on-dsl")).to_be_visible()
    assert "web-on-dsl" in page.get_by_label("Configuration as YAML").input_value()
    assert "web-on-dsl" not in rules(daemon)
    page = visitor.go("changes")
    expect(page.get_by_text(re.compile("rule web-on-dsl"))).to_be_visible()
    expect(page.get_by_role("region", name="Your edits line by line")).to_contain_text("web-on-dsl")
    visitor.picture("change-planned")
    assert visitor.axe() == []
    apply(visitor)
    timer = page.get_by_role("timer")
    expect(timer).to_contain_text("Not confirmed yet.")
    visitor.go("overview")
    expect(timer).to_contain_text(re.compile(r"0:[0-5]\d"))
    visitor.picture("change-pending")
    assert visitor.axe() == []
    page.get_by_role("button", name="Keep it").click()
    expect(timer).to_have_count(0)
    assert "web-on-dsl" in rules(daemon)
    assert daemon.get("/status")["pending_confirm_s"] is None


def test_a_change_that_nobody_confirms_takes_itself_back_and_its_text_stays(visit: Visit, daemon: Pretended) -> None:
    visitor = visit()
    add_rule(visitor, "short-lived", "*.short.example")
    page = visitor.go("changes")
    # Shorter than the page offers: the test need not wait for half a minute.
    page.get_by_label("Take it back unless confirmed within").evaluate(
        "select => { const option = new Option('10 s', '10'); select.append(option); option.__value = '10'; "
        "select.value = '10'; select.dispatchEvent(new Event('change', { bubbles: true })); }"
    )
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("timer")).to_contain_text("Not confirmed yet.")
    assert "short-lived" in rules(daemon)
    expect(page.get_by_role("timer")).to_have_count(0)
    expect(page.get_by_role("alert").filter(has_text="was taken back")).to_be_visible()
    assert "short-lived" not in rules(daemon)
    visitor.picture("change-taken-back")
    page.get_by_role("button", name="Edit it again").click()
    expect(page.get_by_role("region", name="Your edits line by line")).to_contain_text("short-lived")
    page.get_by_role("button", name="Discard all").click()
    expect(page.get_by_text("No edits to apply.")).to_be_visible()


def test_two_admins_edit_at_once_and_nothing_is_lost(visit: Visit, daemon: Pretended) -> None:
    first, second = visit(), visit()
    add_rule(first, "first-admins", "*.first.example")
    second.go("policy").get_by_role("button", name="Remove voice-not-on-lte").click()
    expect(second.page.get_by_role("link", name="Review and apply").first).to_be_visible()
    apply(second, "")
    expect(second.page.get_by_text(re.compile(r"Generation \d+ is in force"))).to_be_visible()
    page = first.go("changes")
    stale = page.get_by_role("alert").filter(has_text="Somebody else changed the configuration")
    expect(stale).to_be_visible()
    expect(page.get_by_role("button", name="Apply")).to_be_disabled()
    first.picture("change-stale")
    assert first.axe() == []
    page.get_by_role("button", name="Put my edits on top of theirs").click()
    expect(stale).to_have_count(0)
    apply(first, "")
    expect(page.get_by_text(re.compile(r"Generation \d+ is in force"))).to_be_visible()
    assert "first-admins" in rules(daemon)
    assert "voice-not-on-lte" not in rules(daemon)


def test_a_mistake_is_told_at_its_field_and_nothing_is_kept_of_it(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("policy")
    page.get_by_role("button", name="Edit shell-direct").click()
    dialog = page.get_by_role("dialog")
    port = dialog.get_by_label("Destination port")
    port.fill("70000")
    port.press("Tab")
    dialog.get_by_role("button", name="Keep the change").click()
    expect(port).to_have_attribute("aria-invalid", "true")
    expect(dialog.get_by_role("alert").first).to_contain_text("70000")
    visitor.picture("rule-mistake")
    dialog.get_by_role("button", name="Close").click()
    expect(dialog.get_by_text("Close without keeping what you typed?")).to_be_visible()
    dialog.get_by_role("button", name="Discard").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("link", name="Review and apply")).to_have_count(0)


def test_rules_are_moved_by_keyboard_and_by_drag_and_undone(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("policy")
    names = page.locator("ol.rules li .what > strong")
    expect(names.nth(1)).to_be_visible()
    before = names.all_inner_texts()
    page.get_by_role("button", name=re.compile(f"^Move {before[0]}")).focus()
    page.keyboard.press("ArrowDown")
    expect(names.nth(1)).to_have_text(before[0])
    expect(page.get_by_role("button", name=re.compile(f"^Move {before[0]}"))).to_be_focused()
    grip = page.get_by_role("button", name=re.compile(f"^Move {before[0]}"))
    start, goal = grip.bounding_box(), names.nth(0).bounding_box()
    assert start is not None
    assert goal is not None
    page.mouse.move(start["x"] + 8, start["y"] + 8)
    page.mouse.down()
    page.mouse.move(start["x"] + 8, goal["y"] - 4, steps=6)
    page.mouse.up()
    expect(names.nth(0)).to_have_text(before[0])
    page.get_by_role("button", name="Undo").click()
    expect(names.nth(1)).to_have_text(before[0])
    page.get_by_role("button", name="Undo").click()
    expect(names.nth(0)).to_have_text(before[0])
    assert names.all_inner_texts() == before


def test_what_becomes_of_a_connection_is_told_with_its_rule(visit: Visit, daemon: Pretended) -> None:
    visitor = visit()
    page = visitor.go("policy")
    page.get_by_label("From (LAN host)").fill("192.168.77.2")
    page.get_by_label("To (server)").fill("203.0.113.10")
    page.get_by_label("Port").fill("22")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_text("This one decides the connection you asked about.")).to_be_visible()
    text = daemon.get("/explain?client=192.168.77.2&server=203.0.113.10&port=22")["text"]
    assert page.locator("details pre").text_content() == "\n".join(text), "the very text of the command line"
    visitor.picture("policy-explained")
    assert visitor.axe() == []
    add_rule(visitor, "one-host-blocked", "203.0.113.10", field="Destination", mode="block", precedence="1")
    decides = page.get_by_text("This one decides the connection you asked about.")
    expect(decides).to_have_count(0)  # what was said is of another text
    page.get_by_role("button", name="Explain").click()
    expect(page.locator("ol.rules li").filter(has=decides)).to_contain_text("one-host-blocked")
    expect(page.get_by_text("by the rules as you have edited them")).to_be_visible()
    page.get_by_label("By which rules").select_option("in force")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_text("by the rules in force")).to_be_visible()
    expect(page.locator("ol.rules li").filter(has=decides)).to_contain_text("shell-direct")
    page.get_by_label("To (server)").fill("nowhere")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_label("To (server)")).to_have_attribute("aria-invalid", "true")


def test_a_double_click_applies_once(visit: Visit, daemon: Pretended) -> None:
    visitor = visit()
    add_rule(visitor, "only-once", "*.once.example")
    page = visitor.go("changes")
    before = daemon.get("/status")["config_generation"]
    page.get_by_label("Take it back unless confirmed within").select_option("")
    page.get_by_role("button", name="Apply").dblclick()
    expect(page.get_by_text("No edits to apply.")).to_be_visible()
    assert daemon.get("/status")["config_generation"] == before + 1


def test_an_older_generation_is_compared_and_rolled_back_to(visit: Visit, daemon: Pretended) -> None:
    visitor = visit()
    page = add_rule(visitor, "newer-one", "*.newer.example")
    apply(visitor, "")
    expect(page.get_by_text(re.compile(r"Generation \d+ is in force"))).to_be_visible()
    before = daemon.get("/status")["config_generation"]
    page.get_by_role("button", name=re.compile("^Compare with generation 1$")).click()
    expect(page.get_by_role("dialog")).to_contain_text("newer-one")
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("^Roll back to generation 1$")).click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_text(re.compile(f"Generation {before + 1} is in force"))).to_be_visible()
    assert "newer-one" not in rules(daemon)


def test_a_line_is_disabled_from_its_page_until_it_is_taken_back(visit: Visit, daemon: Pretended) -> None:
    visitor = visit()
    page = visitor.go("uplinks?name=wifi")
    page.get_by_role("button", name="Disable").click()
    page.get_by_role("dialog").get_by_role("button", name="Apply").click()
    expect(page.get_by_role("timer")).to_be_visible()
    expect(page.get_by_label("Line wifi").get_by_text("disabled").first).to_be_visible()
    page.get_by_role("button", name="Take it back now").click()
    expect(page.get_by_role("timer")).to_have_count(0)
    daemon.wait("/status", lambda status: all(each["state"] != "disabled" for each in status["uplinks"]))


def test_logging_out_ends_the_page_and_what_was_there(visit: Visit) -> None:
    visitor = visit()
    page = visitor.page
    page.locator("header summary").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("You are logged out.")).to_be_visible()
    page.reload()
    expect(page.get_by_label("User")).to_be_visible()
