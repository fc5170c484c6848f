"""Every page as people see it: light, dark and on a phone, with axe's judgement, and by keyboard alone."""

import hashlib
import ssl

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Visit
from tests.web.windows import Scheme

PAGES = {
    "overview": "Overview",
    "uplinks": "Uplinks",
    "flows": "Flows",
    "policy": "Policy",
    "usage": "Usage & caps",
    "gateways": "Gateways",
    "changes": "Changes",
    "events": "Events",
    "settings": "Settings",
    "settings?part=users": "Settings",
    "settings?part=tokens": "Settings",
    "settings?part=audit": "Settings",
}
LOOKS: tuple[tuple[str, Scheme], ...] = (("wide", "light"), ("wide", "dark"), ("phone", "light"))


@pytest.mark.parametrize(("size", "scheme"), LOOKS, ids=lambda each: each)
def test_each_page_is_accessible_and_fits(visit: Visit, size: str, scheme: Scheme) -> None:
    visitor = visit(size, scheme)
    found: dict[str, list[str]] = {}
    for place, title in PAGES.items():
        page = visitor.go(place)
        expect(page.get_by_role("heading", level=1, name=title)).to_be_attached()
        expect(page.get_by_text("Loading", exact=False)).to_have_count(0)
        visitor.picture(f"{place.replace('?part=', '-')}-{size}-{scheme}")
        found[place] = visitor.axe()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{place} is wider than the screen"
    assert {place: wrong for place, wrong in found.items() if wrong} == {}


def test_the_login_page_is_accessible(visit: Visit) -> None:
    visitor = visit(log_in=False)
    visitor.page.goto(visitor.site.url)
    expect(visitor.page.get_by_label("User")).to_be_visible()
    visitor.picture("login")
    assert visitor.axe() == []


def test_the_certificate_is_told_to_be_compared(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("settings?part=certificate")
    port = int(visitor.site.url.rstrip("/").rpartition(":")[2])
    shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("localhost", port)))).hexdigest()
    told = page.locator(".print").inner_text()
    assert told.replace(":", "").lower() == shown
    visitor.picture("settings-certificate")
    assert visitor.axe() == []


def test_the_explain_panel_and_the_rule_form_are_accessible(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("flows")
    page.get_by_role("table", name="Flows").get_by_role("button").nth(9).click()
    panel = page.get_by_role("complementary")
    expect(panel.get_by_text("hagw explain --flow", exact=False)).to_be_visible()
    visitor.picture("explain-flow")
    assert visitor.axe() == []
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    page = visitor.go("policy")
    page.get_by_role("button", name="Add a rule").click()
    expect(page.get_by_role("dialog", name="New rule")).to_be_visible()
    visitor.picture("rule-form")
    assert visitor.axe() == []


def test_everything_is_reached_by_keyboard(visit: Visit) -> None:
    visitor = visit()
    page = visitor.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Flows").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Flows")).to_be_visible()
    page.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Enter")  # else the flow below may end between one key and the next
    expect(page.get_by_role("button", name="Go on")).to_be_focused()
    opened = page.get_by_role("table", name="Flows").get_by_role("button").nth(9)
    opened.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary")).to_have_count(0)
    visitor.go("policy")
    page.get_by_role("button", name="Add a rule").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Add a rule")).to_be_focused()
