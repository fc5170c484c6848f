"""A box on one line strips Multipath TCP: it is found out by evidence, shown, left alone, and tried again."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from plane_lab import INET, curl, own_lab, until

from hagw.health.stripping import DATA_LOST, JOIN_STRIPPED
from hagw.lab.lab import Lab
from hagw.lab.traffic import Streams

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.beside]

LINES = ("dsl", "lte", "wifi")


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with own_lab("strip") as made:
        yield made


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    yield shared
    for line in LINES:
        shared.link(line, strip_mptcp="none")


def status(lab: Lab) -> dict[str, Any]:
    shown = lab.run("cpe", ["hagw", "status", "--json"], capture_output=True, text=True, check=True).stdout
    document: dict[str, Any] = json.loads(shown)
    return document


def mptcp(lab: Lab, line: str) -> dict[str, Any]:
    found: dict[str, Any] = next(u for u in status(lab)["uplinks"] if u["name"] == line)["mptcp"]
    return found


def surf(lab: Lab) -> None:
    """Use up warm connections, so that new ones are opened."""
    for _ in range(6):
        assert curl(lab, f"http://{INET[4]}/1k.bin", "-o", "/dev/null").returncode == 0


def found_out(lab: Lab, line: str, reason: str, within_s: float) -> None:
    def look() -> bool:
        surf(lab)
        return bool(mptcp(lab, line)["reason"] == reason)

    until(look, within_s, every_s=0.3)


def test_every_line_is_known_to_pass_it_where_nothing_strips(lab: Lab) -> None:
    until(lambda: {mptcp(lab, line)["state"] for line in LINES} == {"ok"}, 10.0, every_s=0.3)
    assert status(lab)["state"] == "bonded"


def test_stripped_joins_are_found_out_left_alone_and_tried_again(lab: Lab) -> None:
    lab.link("lte", strip_mptcp="join")
    found_out(lab, "lte", JOIN_STRIPPED, 25.0)
    document = status(lab)
    assert document["state"] == "degraded"
    assert JOIN_STRIPPED in document["reason"]
    assert {mptcp(lab, line)["state"] for line in ("dsl", "wifi")} == {"ok"}
    failed = mptcp(lab, "lte")["joins_failed"]
    surf(lab)
    time.sleep(5.0)
    assert mptcp(lab, "lte")["joins_failed"] <= failed + 4  # those under way; each connection tried before
    capable = mptcp(lab, "lte")
    assert capable["capable_ok"] >= 1  # a connection was opened over it to see
    assert capable["capable_failed"] == 0
    lab.link("lte", strip_mptcp="none")
    until(lambda: mptcp(lab, "lte")["state"] == "ok", 75.0, every_s=1.0)


def test_data_lost_after_the_join_is_found_out(lab: Lab) -> None:
    lab.link("lte", strip_mptcp="data")
    with Streams(lab) as streams:
        stream = streams.download("lan1", INET[4])
        until(lambda: mptcp(lab, "lte")["reason"] in (DATA_LOST, JOIN_STRIPPED), 40.0, every_s=0.5)
        assert stream.is_alive()
        before = stream.elapsed_s()
        time.sleep(2.0)
        assert stream.meter.rate_bps(before, before + 2.0) > 20e6
        stream.stop()
