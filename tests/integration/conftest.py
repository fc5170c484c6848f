"""Of a red test that has a lab the state of both ends is told. Transfers over a module's own lab."""

from collections.abc import Iterator

import pytest
from both_ends import at_length, in_short

from hagw.lab.lab import Lab
from hagw.lab.traffic import Streams
from tests.attentive import metered
from tests.diagnosis import AT_LENGTH, IN_SHORT


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    report: pytest.TestReport = yield
    labs = [each for each in getattr(item, "funcargs", {}).values() if isinstance(each, Lab)]
    if report.when != "teardown" and report.failed and labs and labs[0].is_up():
        item.stash[IN_SHORT] = in_short(labs[0])
        item.stash[AT_LENGTH] = at_length(labs[0])
    return report


@pytest.fixture(scope="module")
def served(lab: Lab) -> Iterator[Streams]:
    with metered(lab) as found:
        yield found


@pytest.fixture
def streams(served: Streams) -> Iterator[Streams]:
    yield served
    served.stop()  # what a test that failed has left would load the lines of the next one
