"""What every test has in common: what it needs of the machine, and what CI may expect of one."""

import os
from pathlib import Path
from typing import Final

import hypothesis
import pytest

from tests import diagnosis

# A busy machine is no defect of what is tested: how long an example takes is for the benches to say. The examples are
# the same each time, so that a change is judged by what it changed; HYPOTHESIS_PROFILE=roaming looks for new ones.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.register_profile("roaming", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

INTEGRATION: Final = Path(__file__).parent / "integration"
HOSTS: Final = Path(__file__).parent / "hosts"
HOSTS_TIMEOUT_S: Final = 400  # the first of a module's tests boots its hosts, and may have to make their file systems


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs alone, whole hosts last. Without root there are no namespaces, so such tests cannot run; elsewhere
    they must."""
    items.sort(key=lambda item: HOSTS in item.path.parents)
    for item in items:
        if HOSTS in item.path.parents:
            for marker in ("alone", "slow", "netns"):
                item.add_marker(marker)
            item.add_marker(pytest.mark.timeout(HOSTS_TIMEOUT_S))
        if INTEGRATION in item.path.parents and not item.get_closest_marker("beside"):
            item.add_marker(pytest.mark.alone)
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("netns"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


def pytest_configure(config: pytest.Config) -> None:
    """Record failures, in the process that hears of all tests."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(diagnosis.Diagnoses(config))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    """Describe what failed. Where HAGW_EXPECT names what the machine has (netns,mptcp,nft), a test that skips is a test
    that failed."""
    report: pytest.TestReport = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("HAGW_EXPECT"):
        report.outcome = "failed"
        report.longrepr = f"skipped although HAGW_EXPECT={os.environ['HAGW_EXPECT']}: {report.longrepr}"
    if report.failed:
        diagnosis.describe(item, call, report)
    return report
