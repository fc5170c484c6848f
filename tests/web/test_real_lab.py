"""The page end to end on the real gateway of the lab: a real browser, real workers, real lines, a real kernel."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from hagw.lab.lab import Lab
from hagw.lab.services import web_root
from tests.web.test_change import add_rule
from tests.web.windows import Site, Visitor

pytestmark = [pytest.mark.netns, pytest.mark.alone, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
SERVER = "203.0.113.10"
SMALL = f"http://{SERVER}/1k.bin"
LARGE_BYTES = 900_000_000
CONFIRM_S = 12


@pytest.fixture(scope="module")
def lab(browser: Browser) -> Iterator[tuple[Lab, Site]]:
    """`lab demo --ui`, its first password changed."""
    name = f"page-{os.getpid()}"
    argv = [sys.executable, "-m", "hagw", "lab", "--name", name, "demo", "--ui", "--port", "0"]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            assert demo.stderr is not None
            line = demo.stdout.readline()
            assert line, demo.stderr.read()
            document = json.loads(line)
            large = web_root(Lab(name).directory) / "large.bin"
            large.touch()
            os.truncate(large, LARGE_BYTES)  # holes: it takes no space
            site = Site(Lab(name).directory, document["url"], document["password"])
            visitor = Visitor(browser, site)
            visitor.enter()
            visitor.leave()
            yield Lab(name), site
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=30)


@pytest.fixture
def visitor(browser: Browser, lab: tuple[Lab, Site]) -> Iterator[Visitor]:
    found = Visitor(browser, lab[1])
    found.log_in()
    yield found
    found.leave()
    assert found.complaints == []


@contextmanager
def download(lab: Lab) -> Iterator[None]:
    """Fetch a large file from a LAN host, slowly enough to last: 24 Mbit/s, more than one line can carry."""
    curl = ["curl", "-s", "-o", "/dev/null", "--limit-rate", "3M", f"http://{SERVER}/large.bin"]
    fetching = lab.popen("lan1", curl)
    try:
        yield
        assert fetching.poll() is None, "the download ended"
    finally:
        fetching.kill()
        fetching.wait()


def is_reached(lab: Lab) -> bool:
    curl = ["curl", "-sf", "-m", "3", "-o", "/dev/null", SMALL]
    return bool(lab.run("lan2", curl, capture_output=True).returncode == 0)


def apply(visitor: Visitor, within_s: int) -> Page:
    """Apply what was edited, to be confirmed within a time that need not be one of those offered."""
    page = visitor.go("changes")
    page.get_by_label("Take it back unless confirmed within").evaluate(
        "(select, within) => { const option = new Option(within, within); select.append(option); "
        "option.__value = within; select.value = within; "
        "select.dispatchEvent(new Event('change', { bubbles: true })); }",
        str(within_s),
    )
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("timer")).to_contain_text("Not confirmed yet.")
    return page


def test_traffic_is_seen_and_follows_a_rule_made_on_the_page(lab: tuple[Lab, Site], visitor: Visitor) -> None:
    own, _ = lab
    page = visitor.page
    expect(page.get_by_role("status").filter(has_text="Bonded over dsl + lte + wifi")).to_be_visible()
    with download(own):
        visitor.go("flows")
        row = page.get_by_role("table", name="Flows").get_by_role("row").filter(has_text=SERVER)
        expect(row).to_contain_text("Mbit/s")
        expect(row).to_contain_text(re.compile("(dsl|lte|wifi) .*[+]"))  # more than one line
        visitor.picture("lab-flow-bonded")
        add_rule(visitor, "lab-on-lte", SERVER, field="Destination", lines=("lte",))
        apply(visitor, 60)
        page.get_by_role("button", name="Keep it").click()
        expect(page.get_by_role("timer")).to_have_count(0)
        visitor.go("flows")
        expect(row).to_contain_text("lab-on-lte")
        row.get_by_role("button").click()
        panel = page.get_by_role("complementary")
        expect(panel.get_by_role("link", name="lab-on-lte")).to_be_visible()
        lines = panel.get_by_role("table").get_by_role("row")
        expect(lines.filter(has_text=re.compile("^lte"))).to_contain_text("established")
        # The page draws what each line carried since it was opened: only one of them does now.
        expect(lines.filter(has_text="established")).to_have_count(1)
        visitor.picture("lab-flow-moved")
        assert visitor.axe() == []


def test_a_change_that_cuts_people_off_takes_itself_back(lab: tuple[Lab, Site], visitor: Visitor) -> None:
    own, _ = lab
    assert is_reached(own)
    add_rule(visitor, "no-web", SERVER, field="Destination", mode="block", precedence="1")
    page = apply(visitor, CONFIRM_S)
    assert not is_reached(own)
    expect(page.get_by_role("timer")).to_have_count(0)  # nobody confirmed
    expect(page.get_by_role("alert").filter(has_text="was taken back")).to_be_visible()
    assert is_reached(own)
    told = own.run("cpe", ["hagw", "status", "--json"], capture_output=True, text=True)
    assert json.loads(told.stdout)["pending_confirm_s"] is None
    visitor.picture("lab-taken-back")


def test_the_page_goes_on_while_every_line_is_down(lab: tuple[Lab, Site], visitor: Visitor) -> None:
    own, site = lab
    page = visitor.page
    elsewhere: list[str] = []
    page.on("request", lambda request: None if request.url.startswith(site.url) else elsewhere.append(request.url))
    try:
        for line in ("dsl", "lte", "wifi"):
            own.link(line, carrier="off")
        expect(page.get_by_role("status").filter(has_text="wifi is down (no carrier)")).to_be_visible()
        page.reload()
        for line in ("dsl", "lte", "wifi"):
            card = page.get_by_role("list", name="Lines").get_by_role("listitem").filter(has_text=line)
            expect(card).to_contain_text("no carrier")
        visitor.picture("lab-all-lines-down")
        assert visitor.axe() == []
    finally:
        for line in ("dsl", "lte", "wifi"):
            own.link(line, carrier="on")
    expect(page.get_by_role("status").filter(has_text="Bonded over dsl + lte + wifi")).to_be_visible()
    assert elsewhere == []


def test_after_logging_out_nothing_of_it_is_seen_any_more(lab: tuple[Lab, Site], visitor: Visitor) -> None:
    page = visitor.page
    assert page.evaluate("fetch('/api/v1/status').then(answer => answer.status)") == 200
    page.locator("header summary").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("You are logged out.")).to_be_visible()
    assert page.evaluate("fetch('/api/v1/status').then(answer => answer.status)") == 401
    page.reload()
    expect(page.get_by_label("User")).to_be_visible()
