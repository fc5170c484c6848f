"""What one connection found out about a slow line spares the next one, whichever worker it comes to."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from plane_lab import INET, figures, own_lab, until

from hagw.lab.lab import Lab
from hagw.lab.traffic import Streams
from tests.attentive import metered

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("harm", preset="adsl") as made:
        yield made


def learned(lab: Lab) -> list[set[tuple[str, str]]]:
    """Return by worker which lines and directions it knows the limits of."""
    shown = lab.run("cpe", ["hagw", "status", "--json"], capture_output=True, text=True, check=True).stdout
    workers: list[dict[str, Any]] = json.loads(shown)["workers"]
    return [{(v["uplink"], v["direction"]) for v in w["stats"]["learned"] if v["full"]} for w in workers]


def seconds_mbps(streams: Streams, direction: str, span_s: float = 2.0) -> list[float]:
    """Return the rate of each second of a transfer, the first one first."""
    stream = (streams.upload if direction == "up" else streams.download)("lan1", INET[4])
    time.sleep(span_s)
    rates = [stream.meter.rate_bps(second, second + 1.0) / 1e6 for second in range(int(span_s))]
    stream.stop()
    time.sleep(1.0)
    return rates


def test_a_slow_line_is_found_out_at_once_and_known_to_later_uploads_and_no_matter_to_downloads(lab: Lab) -> None:
    with metered(lab) as streams:
        very_first = seconds_mbps(streams, "up", 4.0)
        until(lambda: all(("dsl", "up") in known for known in learned(lab)), 8.0, every_s=0.5)
        time.sleep(4.0)  # until warm connections have been tended
        up = [seconds_mbps(streams, "up")[0] for _ in range(4)]
        down = [seconds_mbps(streams, "down") for _ in range(3)]
    print(f"the very first upload by seconds: {[round(rate, 1) for rate in very_first]} Mbit/s")
    figures("first second of an upload", "Mbit/s", up)
    figures("first second of a download", "Mbit/s", [first for first, _ in down])
    figures("second second of a download over a connection that was warm for a while", "Mbit/s", [s for _, s in down])
    assert max(very_first[1:3]) > 25.0, "1 to 10 while the slow line jams it"
    assert sorted(up)[1] > 15.0, "all but one; 2 to 4 without what is known"
    assert max(first for first, _ in down) > 30.0, "the line is withheld for uploads only"
    assert sorted(second for _, second in down)[1] > 50.0, "20 to 28 with a receive window that the kernel tunes"
