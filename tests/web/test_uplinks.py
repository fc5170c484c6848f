"""What a line's page tells of its past and its path, what can be done to it there, and gateways with their versions."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Locator, Page, expect

from tests.pretended import Pretended
from tests.soak.api_load import fill
from tests.web.conftest import Visit
from tests.web.windows import Site, served

OLDER = "  - name: older\n    addresses: [198.51.100.11]\n\nrules:\n"
RANGES = (("24 hours", "24h", 60), ("30 days", "30d", 3_600), ("1 year", "1y", 21_600), ("1 hour", "1h", 1))


@pytest.fixture(scope="module")
def gateway() -> Iterator[tuple[Site, Pretended]]:
    """A pretended gateway that has run for a year; joins are stripped on wifi, and one of two gateways is older."""

    def past(state: Path) -> None:
        fill(state / "history")

    options = ("--no-pretend-outages", "--pretend-stripped", "wifi")
    with served(*options, edit=lambda text: text.replace("rules:\n", OLDER, 1), past=past) as found:
        yield found


def keep(page: Page, button: Locator) -> None:
    """Do what a button of a line's page offers, and confirm it."""
    button.click()
    page.get_by_role("dialog").get_by_role("button", name="Apply").click()
    expect(page.get_by_role("timer")).to_be_visible()
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("timer")).to_have_count(0)


def line(daemon: Pretended, name: str) -> dict[str, Any]:
    """Return a line as it is configured."""
    found: list[dict[str, Any]] = yaml.safe_load(daemon.get("/config")["text"])["uplinks"]
    return next(each for each in found if each["name"] == name)


def test_each_range_shows_what_is_kept_of_it(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("uplinks?name=lte")
    panel = page.get_by_role("region", name="Line lte")
    graphs = panel.get_by_role("img")
    expect(graphs).to_have_count(3)
    for word, asked, step_s in RANGES:
        with page.expect_response(lambda answer, asked=asked: f"/history?range={asked}&" in answer.url) as told:
            panel.get_by_role("button", name=word).click()
        history = told.value.json()
        values = history["series"]["uplink.lte.down_bps"]
        assert history["step_s"] == step_s
        assert sum(value is not None for value in values) > 0.9 * len(values)
        expect(panel.get_by_role("button", name=word)).to_have_attribute("aria-pressed", "true")
        expect(graphs).to_have_count(3)
        expect(graphs.locator("canvas")).to_have_count(3)
        visitor.picture(f"uplink-{asked}")
    panel.get_by_role("button", name="30 days").click()
    assert visitor.axe() == []
    page.reload()  # the range is in the address
    expect(panel.get_by_role("button", name="30 days")).to_have_attribute("aria-pressed", "true")


def test_a_line_is_preferred_and_the_choice_is_kept(visit: Visit, daemon: Pretended) -> None:
    page = visit().go("uplinks?name=lte")
    panel = page.get_by_role("region", name="Line lte")
    assert line(daemon, "lte")["cost"] == 10
    panel.get_by_role("button", name="Prefer").click()
    expect(page.get_by_role("dialog", name="Prefer lte?")).to_contain_text("Its cost becomes 0")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert line(daemon, "lte")["cost"] == 10
    keep(page, panel.get_by_role("button", name="Prefer"))
    assert line(daemon, "lte")["cost"] == 0
    judged = daemon.get("/explain?client=192.168.77.10&server=203.0.113.95&port=443")["uplinks"]
    assert {each["name"]: each["cost"] for each in judged}["lte"] == 0


def test_a_line_is_disabled_and_enabled_again(visit: Visit, daemon: Pretended) -> None:
    page = visit().go("uplinks?name=dsl")
    panel = page.get_by_role("region", name="Line dsl")
    keep(page, panel.get_by_role("button", name="Disable"))
    assert line(daemon, "dsl")["enabled"] is False
    expect(panel.get_by_text("disabled").first).to_be_visible()
    expect(panel.get_by_role("button", name="Prefer")).to_have_count(0)
    expect(page.get_by_role("region", name="Speed test")).to_have_count(0)
    keep(page, panel.get_by_role("button", name="Enable"))
    assert "enabled" not in line(daemon, "dsl")
    expect(panel.get_by_role("button", name="Disable")).to_be_visible()
    daemon.wait("/status", lambda status: status["uplinks"][0]["state"] == "up")


def test_a_line_that_strips_joins_says_so_wherever_it_is_shown(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go("uplinks?name=wifi")
    row = page.get_by_role("region", name="All lines").get_by_role("row").filter(has_text="wifi")
    expect(row).to_contain_text("join-stripped")
    expect(row).to_contain_text("limited")
    panel = page.get_by_role("region", name="Line wifi")
    expect(panel.locator("dd").filter(has_text="join-stripped: no connection can join over it")).to_be_visible()
    expect(panel.locator("dd").filter(has_text=re.compile(r"^0 made, \d+ not, \d+ lost$"))).to_be_visible()
    visitor.picture("uplink-stripped")
    assert visitor.axe() == []
    row.get_by_role("button", name="Why? wifi").click()
    expect(page.get_by_role("complementary")).to_contain_text("MP_JOIN is stripped or refused on the way")
    page = visitor.go("uplinks?name=dsl")
    expect(page.get_by_role("region", name="Line dsl").locator("dd").filter(has_text="join-stripped")).to_have_count(0)
    page = visitor.go("overview")
    card = page.get_by_role("list", name="Lines").get_by_role("listitem").filter(has_text="wifi")
    expect(card).to_contain_text("limited")


def test_a_gateway_of_another_version_is_marked(visit: Visit, daemon: Pretended) -> None:
    visitor = visit()
    page = visitor.go("gateways")
    rows = page.get_by_role("region", name="Gateways").get_by_role("row")
    ours = daemon.get("/status")["version"]
    expect(rows.filter(has_text="older")).to_contain_text(f"not ours ({ours})")
    expect(rows.filter(has_text="older")).to_contain_text("connected over dsl")
    expect(rows.filter(has_text="198.51.100.10")).to_contain_text("not needed: key in the configuration")
    expect(rows.filter(has_text="198.51.100.10")).not_to_contain_text("not ours")
    expect(page.get_by_role("region", name="Workers").get_by_text("listening")).to_have_count(2)
    visitor.picture("gateways-versions")
    assert visitor.axe() == []
    page.get_by_role("button", name="Why? older").click()
    expect(page.get_by_role("complementary")).to_contain_text(f"not ours ({ours})")
