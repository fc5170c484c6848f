"""What one connection found out about a slow line spares the next one, whichever worker it comes to."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from plane_lab import INET, figures, own_lab, until

from hagw.lab.lab import Lab
from hagw.lab.traffic import Streams

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


def first_second_bps(streams: Streams, direction: str) -> float:
    stream = (streams.upload if direction == "up" else streams.download)("lan1", INET[4])
    time.sleep(2.0)
    rate_bps = stream.meter.rate_bps(0.0, 1.0)
    stream.stop()
    time.sleep(1.0)
    return rate_bps


def test_later_uploads_are_fast_from_the_start_and_downloads_stay_so(lab: Lab) -> None:
    with Streams(lab) as streams:
        stream = streams.upload("lan1", INET[4])
        time.sleep(8.0)
        stream.stop()
        until(lambda: all(("dsl", "up") in known for known in learned(lab)), 8.0, every_s=0.5)
        time.sleep(4.0)  # until warm connections have been tended
        up = [first_second_bps(streams, "up") / 1e6 for _ in range(4)]
        down = [first_second_bps(streams, "down") / 1e6 for _ in range(3)]
    figures("first second of an upload", "Mbit/s", up)
    figures("first second of a download", "Mbit/s", down)
    assert sorted(up)[1] > 15.0, "all but one; 2 to 4 without what is known"
    assert max(down) > 30.0, "the line is withheld for uploads only"
