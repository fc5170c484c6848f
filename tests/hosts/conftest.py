"""What the tests on whole Debian hosts share. A red one prints the hosts' journals."""

from collections.abc import Iterator

import pytest
from host import Site


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    report: pytest.TestReport = yield
    site = getattr(item, "funcargs", {}).get("site")
    if report.when != "teardown" and report.failed and isinstance(site, Site):
        for name, host in site.hosts.items():
            report.sections.append((f"journal of {name}", host.journal(check=False)))
    return report


@pytest.fixture(scope="module")
def made() -> Iterator[list[Site]]:
    """Whatever sites a module makes, gone at its end."""
    sites: list[Site] = []
    try:
        yield sites
    finally:
        for site in sites:
            site.close()
