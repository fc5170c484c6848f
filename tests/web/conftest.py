"""One gateway and one browser for the tests of a module; each test has windows of its own."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.pretended import Pretended
from tests.web.windows import PASSWORD, PATIENCE_MS, Scheme, Site, Visitor, chromium, served

Visit = Callable[..., Visitor]
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def gateway() -> Iterator[tuple[Site, Pretended]]:
    """A pretended gateway with its page, whose lines stay up."""
    with served("--no-pretend-outages") as found:
        yield found


@pytest.fixture(scope="module")
def site(gateway: tuple[Site, Pretended], browser: Browser) -> Site:
    """The page, its first password changed as it must be."""
    site, _ = gateway
    visitor = Visitor(browser, site)
    page = visitor.page
    page.goto(site.url)
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(site.first_password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Choose a password")).to_be_visible()
    visitor.picture("first-password")
    assert visitor.axe() == []
    page.get_by_label("Password you came with").fill(site.first_password)
    page.get_by_label("New password", exact=True).fill("short")
    page.get_by_label("New password again").fill("short")
    page.get_by_role("button", name="Save and go on").click()
    expect(page.get_by_text("at least 10 characters", exact=False).first).to_be_visible()
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password again").fill(PASSWORD)
    page.get_by_role("button", name="Save and go on").click()
    expect(page.get_by_role("navigation", name="Pages")).to_be_attached()
    visitor.leave()
    return site


@pytest.fixture(scope="module")
def daemon(gateway: tuple[Site, Pretended]) -> Pretended:
    """The daemon behind the page."""
    return gateway[1]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with chromium() as found:
        yield found


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Visit]:
    """Open windows; none of them may have complained by the end."""
    visitors: list[Visitor] = []

    def come(size: str = "wide", scheme: Scheme = "light", log_in: bool = True) -> Visitor:
        visitor = Visitor(browser, site, size, scheme)
        visitors.append(visitor)
        if log_in:
            visitor.log_in()
        return visitor

    yield come
    complaints = [each for visitor in visitors for each in visitor.complaints]
    for visitor in visitors:
        visitor.leave()
    assert complaints == []
