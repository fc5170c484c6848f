"""A box on one line strips Multipath TCP off every connection: none begins there, and the others are bonded."""

import time
from collections.abc import Iterator

import pytest
from plane_lab import INET, own_lab, until
from test_stripped_lines import found_out, mptcp

from hagw.health.stripping import CAPABLE_STRIPPED
from hagw.lab.lab import Lab
from hagw.lab.traffic import Streams

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("fallback") as made:
        yield made


def test_a_line_whose_connections_fall_back_begins_none(lab: Lab) -> None:
    until(lambda: mptcp(lab, "wifi")["state"] == "ok", 10.0, every_s=0.3)
    lab.link("wifi", strip_mptcp="all")
    found_out(lab, "wifi", CAPABLE_STRIPPED, 25.0)
    time.sleep(3.0)
    with Streams(lab) as streams:
        stream = streams.download("lan1", INET[4])
        time.sleep(3.0)
        rate_bps = stream.meter.rate_bps(1.5, 3.0)
        stream.stop()
    assert rate_bps > 45e6, "dsl and lte are bonded without it"
    lab.link("wifi", strip_mptcp="none")
    until(lambda: mptcp(lab, "wifi")["state"] == "ok", 75.0, every_s=1.0)
