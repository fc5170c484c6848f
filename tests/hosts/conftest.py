"""What the tests on whole Debian hosts share. Of a red one the hosts' journals are told."""

from collections.abc import Iterator

import pytest
from host import Site

from tests.diagnosis import AT_LENGTH, IN_SHORT


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    report: pytest.TestReport = yield
    site = getattr(item, "funcargs", {}).get("site")
    if report.when != "teardown" and report.failed and isinstance(site, Site):
        journals = {name: host.journal(check=False) for name, host in site.hosts.items()}
        item.stash[IN_SHORT] = [f"{name}: {line}" for name, text in journals.items() for line in text.splitlines()[-3:]]
        item.stash[AT_LENGTH] = "\n".join(f"--- journal of {name}\n{text}" for name, text in journals.items())
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
