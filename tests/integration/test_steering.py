"""Steering modes over emulated lines: the cheap line first, the next one only for what it cannot carry."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from plane_lab import INET, own_lab, until

from hagw.lab.lab import Lab
from hagw.lab.traffic import Streams

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.alone]

RULES = """
rules:
  - name: cheap-first
    precedence: 1
    traffic: {destination: [203.0.113.10]}
    steering: {mode: MODE, uplinks: [dsl, lte]}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("steering", preset="adsl") as made:
        yield made


def steer(lab: Lab, base: str, mode: str) -> None:
    """Put the rule in force; `mode` may be followed by more of the steering."""
    base = base.partition("\nrules:\n  - name: cheap-first")[0]
    file = lab.directory / "steered.yaml"
    file.write_text(base + RULES.replace("MODE", mode), encoding="utf-8")
    lab.apply("cpe", file)


def carried(lab: Lab) -> dict[str, int]:
    """Return the IP bytes each line has carried towards the CPE."""
    return {name: int(link["bytes_down"]) for name, link in lab.status()["links"].items()}


def status(lab: Lab) -> dict[str, Any]:
    shown = lab.run("cpe", ["hagw", "status", "--json"], capture_output=True, text=True, check=True).stdout
    document: dict[str, Any] = json.loads(shown)
    return document


def moved(before: dict[str, int], after: dict[str, int]) -> dict[str, float]:
    return {name: (after[name] - before[name]) / 1e6 for name in before}


def test_a_rule_moves_a_living_download_and_bulk_overflows(lab: Lab) -> None:
    base = lab.config("cpe")
    with Streams(lab) as streams:
        steer(lab, base, "active-standby")
        stream = streams.download("lan1", INET[4])
        time.sleep(1.5)
        before = carried(lab)
        time.sleep(2.0)
        kept = moved(before, carried(lab))
        assert kept["dsl"] > 2.0, kept
        assert kept["lte"] < 0.1, kept
        steer(lab, base, "priority-based")
        time.sleep(3.0)
        before = carried(lab)
        time.sleep(2.0)
        filled = moved(before, carried(lab))
        steer(lab, base, "load-balancing, weights: [60, 40]")
        time.sleep(3.0)
        before = carried(lab)
        time.sleep(2.5)
        split = moved(before, carried(lab))
        stream.stop()
    assert 0.5 < split["dsl"] / (split["dsl"] + split["lte"]) < 0.7, split
    assert filled["dsl"] > 2.5, filled
    assert filled["lte"] > 2.5, filled
    assert filled["wifi"] < 0.1, "the rule does not name it"
    until(lambda: next(u for u in status(lab)["uplinks"] if u["name"] == "lte")["kept_off_bytes"] > 2e6, 5.0)
