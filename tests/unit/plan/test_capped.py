"""What the kernel keeps from lines that are cut or throttled."""

import json
from typing import Any

from hagw.model.health import CapStage, UplinkHealth
from hagw.model.intent import CpeIntent, DataCapIntent, UplinkIntent
from hagw.plan.capped import chains

UPLINKS = (UplinkIntent("dsl", "dsl", "dsl0", 1), UplinkIntent("lte", "wwan", "lte0", 2))
CAPS = (
    DataCapIntent("plan", ("lte",), 10**9, throttle=0.9, throttle_rate_bps=800_000),
    DataCapIntent("other", ("lte",), 10**9, throttle_rate_bps=8_000),
)
INTENT = CpeIntent(("lan0",), UPLINKS, (), data_caps=CAPS)


def made(stage: CapStage) -> dict[str, list[Any]]:
    health = {"dsl": UplinkHealth("up"), "lte": UplinkHealth("down", cap=stage)}
    found = {chain["name"]: chain["rules"] for chain in chains(INTENT, health)}
    # Always both: a table that is updated in place empties only chains that it is to have.
    assert list(found) == ["capped_in", "capped_out"]
    return found


def test_nothing_is_kept_from_lines_that_may_carry_something() -> None:
    stages: list[CapStage] = ["normal", "overflow", "standby"]
    assert all(made(stage) == {"capped_in": [], "capped_out": []} for stage in stages)


def test_nothing_begins_over_a_line_that_is_cut() -> None:
    found = made("cut")
    assert found["capped_in"] == []
    *_, last = found["capped_out"]
    assert "lte0" in json.dumps(last)
    assert "original" in json.dumps(last)
    assert last[-1] == {"drop": None}
    assert all(rule[-1] == {"return": None} for rule in found["capped_out"][:-1])
    assert "dsl0" not in json.dumps(found)


def test_a_throttled_line_is_limited_both_ways_by_its_own_cap() -> None:
    found = made("throttle")
    for rules in found.values():
        assert rules[-1][1]["limit"]["rate"] == 100_000
        assert rules[-1][-1] == {"drop": None}
