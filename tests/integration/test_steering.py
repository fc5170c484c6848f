"""Steering modes over emulated lines: the cheap line first, the next one only for what it cannot carry."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ends import Ends
from plane_lab import INET, Server, connect, own_lab, read_line, until

from hagw.lab.lab import Lab
from tests.attentive import metered

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.alone]

RACED_PORT = 5330
POOLED = 9  # three connections each: the default rule's, and two for either line's requests
RULES = """
rules:
  - name: cheap-first
    precedence: 1
    traffic: {destination: [203.0.113.10]}
    steering: {mode: MODE, uplinks: LINES}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("steering", preset="adsl") as made:
        yield made


def steer(lab: Lab, base: str, mode: str, lines: str = "[dsl, lte]") -> None:
    """Put the rule in force; `mode` may be followed by more of the steering."""
    base = base.partition("\nrules:\n  - name: cheap-first")[0]
    file = lab.directory / "steered.yaml"
    file.write_text(base + RULES.replace("MODE", mode).replace("LINES", lines), encoding="utf-8")
    lab.apply("cpe", file)


def carried(lab: Lab, direction: str = "down") -> dict[str, int]:
    """Return the IP bytes each line has carried."""
    return {name: int(link[f"bytes_{direction}"]) for name, link in lab.status()["links"].items()}


def status(lab: Lab) -> dict[str, Any]:
    shown = lab.run("cpe", ["hagw", "status", "--json"], capture_output=True, text=True, check=True).stdout
    document: dict[str, Any] = json.loads(shown)
    return document


def moved(before: dict[str, int], after: dict[str, int]) -> dict[str, float]:
    return {name: (after[name] - before[name]) / 1e6 for name in before}


def test_a_rule_moves_a_living_download_and_bulk_overflows(lab: Lab) -> None:
    base = lab.config("cpe")
    with metered(lab) as streams:
        steer(lab, base, "active-standby")
        stream = streams.download("lan1", INET[4])
        until(lambda: rate(lab, "down")["dsl"] > 10.0, 10.0)
        before = carried(lab)
        time.sleep(2.0)
        kept = moved(before, carried(lab))
        assert kept["dsl"] > 2.0, kept
        assert kept["lte"] < 0.1, kept
        steer(lab, base, "priority-based")
        until(lambda: rate(lab, "down")["lte"] > 10.0, 5.0)
        before = carried(lab)
        time.sleep(2.0)
        filled = moved(before, carried(lab))
        steer(lab, base, "load-balancing, weights: [60, 40]")
        time.sleep(3.0)
        before = carried(lab)
        time.sleep(6.0)  # the shares are kept by opening and closing a line, about once in two seconds
        split = moved(before, carried(lab))
        stream.stop()
    assert 0.5 < split["dsl"] / (split["dsl"] + split["lte"]) < 0.7, split
    assert filled["dsl"] > 2.5, filled
    assert filled["lte"] > 2.5, filled
    assert filled["wifi"] < 0.1, "the rule does not name it"
    until(lambda: next(u for u in status(lab)["uplinks"] if u["name"] == "lte")["kept_off_bytes"] > 2e6, 5.0)


def test_a_flow_that_mostly_sends_moves_to_the_lines_its_rule_names_for_these(lab: Lab) -> None:
    base = lab.config("cpe")
    with metered(lab) as streams:
        steer(lab, base, "load-balancing, sending: {mode: load-balancing, uplinks: [lte]}", "[dsl]")
        download = streams.download("lan2", INET[4])
        upload = streams.upload("lan1", INET[4])
        until(lambda: rate(lab, "up")["lte"] > 8.0, 12.0)
        down, up = rate(lab, "down", 2.0), rate(lab, "up", 1.0)
        download.stop()
        upload.stop()
    assert up["dsl"] < 0.6, f"acknowledgements of the download, and no more: {up}"
    assert down["dsl"] > 12.0, down
    assert down["lte"] < 2.0, f"acknowledgements of the upload, and no more: {down}"


def rate(lab: Lab, direction: str, span_s: float = 0.5) -> dict[str, float]:
    """Return what the lines carry now, in Mbit/s."""
    before, began = carried(lab, direction), time.monotonic()
    time.sleep(span_s)
    after, span = carried(lab, direction), time.monotonic() - began
    return {name: (after[name] - before[name]) * 8e-6 / span for name in before}


def test_a_race_is_won_by_the_line_that_answers_and_nothing_is_sent_twice(lab: Lab) -> None:
    heard: list[str] = []

    def answer(client: socket.socket) -> None:
        line = read_line(client)
        heard.append(line)
        client.sendall(f"{line}\n".encode())

    steer(lab, lab.config("cpe"), "redundant")
    ends = Ends(lab)
    until(lambda: all(sum(stats["pool"].values()) >= POOLED for stats in ends.stats("cpe")), 10.0)
    with lab.links_restored(), Server(lab, answer, port=RACED_PORT):
        lab.link("dsl", loss=0.1, delay=40)
        for number in range(20):
            with connect(lab, INET[4], RACED_PORT) as client:
                client.sendall(f"request {number}\n".encode())
                assert read_line(client) == f"request {number}"
            time.sleep(0.1)
        told = [flow["why"] for flow in ends.flows() if flow["server_port"] == RACED_PORT]
    assert sum("was first" in why for why in told) >= 4, "those with warm connections over both lines"
    assert any("lte was first" in why for why in told), told
    assert sorted(heard) == sorted(f"request {number}" for number in range(20)), "each of them once"
