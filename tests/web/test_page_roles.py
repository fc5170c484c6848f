"""What operators and viewers can do on the page, and what they are not shown."""

import re

from playwright.sync_api import Browser, expect

from tests.pretended import Pretended
from tests.web.test_change import add_rule, apply, rules
from tests.web.windows import Site, Visitor

KEY = re.compile("[0-9a-f]{64}")


def as_user(browser: Browser, site: Site, daemon: Pretended, name: str, role: str) -> Visitor:
    visitor = Visitor(browser, site)
    visitor.enter(name, str(daemon.post("/users", {"name": name, "role": role})["password"]))
    return visitor


def test_an_operator_changes_rules_but_nothing_else(browser: Browser, site: Site, daemon: Pretended) -> None:
    visitor = as_user(browser, site, daemon, "olga", "operator")
    page = add_rule(visitor, "olgas-rule", "*.olga.example")
    text = page.get_by_label("Configuration as YAML")
    expect(text).to_have_value(re.compile("olgas-rule"))
    assert not KEY.search(text.input_value())
    visitor.picture("policy-operator")
    assert visitor.axe() == []
    apply(visitor)
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_text("No edits to apply.")).to_be_visible()
    assert "olgas-rule" in rules(daemon)
    visitor.go("policy")
    expect(text).to_have_value(re.compile("workers: 2"))
    text.fill(text.input_value().replace("workers: 2", "workers: 3"))
    text.blur()
    expect(page.get_by_text("Changing workers takes the role admin.").first).to_be_visible()
    visitor.go("changes")
    expect(page.get_by_role("alert").filter(has_text="takes the role admin")).to_be_visible()
    expect(page.get_by_role("button", name="Apply")).to_be_disabled()
    visitor.go("settings?part=users")
    expect(page.get_by_role("heading", name="Users")).to_have_count(0)
    visitor.leave()
    assert visitor.complaints == []


def test_a_viewer_sees_rules_and_lines_and_has_no_button_to_change_them(
    browser: Browser, site: Site, daemon: Pretended
) -> None:
    visitor = as_user(browser, site, daemon, "vera", "viewer")
    page = visitor.go("policy")
    expect(page.get_by_text("shell-direct")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Add|Edit|Remove|Move"))).to_have_count(0)
    assert visitor.axe() == []
    for place in ("uplinks", "changes", "usage"):
        visitor.go(place)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text("Loading", exact=False)).to_have_count(0)
        changing = re.compile("Prefer|Disable|Test|Roll back|Apply|Correct")
        expect(page.get_by_role("button", name=changing)).to_have_count(0)
    visitor.leave()
    assert visitor.complaints == []
