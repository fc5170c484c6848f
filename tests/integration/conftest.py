"""A red test that has a lab prints the state of both ends."""

import pytest
from plane_lab import explain

from hagw.lab.lab import Lab


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    report: pytest.TestReport = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.when != "teardown" and report.failed and isinstance(lab, Lab) and lab.is_up():
        report.sections.append(("both ends", explain(lab)))
    return report
