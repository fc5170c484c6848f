"""Which gateway of a pool takes a flow: spread by weight, the same for a pair of addresses, next best when one goes."""

from collections import Counter
from dataclasses import replace

import pytest

from hagw.model.snapshot import GatewayView
from hagw.policy.gateways import NEAR_MS, Gateways, hindrance

A, B, C = (GatewayView(name, (f"198.51.100.{i}",), 5124, "home", "00" * 32, "up") for i, name in enumerate("abc"))
PAIRS = [(f"192.168.77.{host}", f"203.0.113.{server}") for host in range(40) for server in range(50)]


def chosen(*gateways: GatewayView) -> dict[tuple[str, str], str]:
    pool = Gateways(gateways)
    found = {pair: pool.choose(*pair) for pair in PAIRS}
    return {pair: gateway.name for pair, gateway in found.items() if gateway is not None}


def shares(*gateways: GatewayView) -> dict[str, float]:
    return {name: count / len(PAIRS) for name, count in Counter(chosen(*gateways).values()).items()}


def test_equal_gateways_share_equally_and_a_pair_stays_whatever_the_order() -> None:
    assert shares(A, B, C) == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, abs=0.04)
    assert chosen(A, B, C) == chosen(C, A, B)


def test_when_a_gateway_goes_only_its_own_pairs_move() -> None:
    before, after = chosen(A, B, C), chosen(A, replace(B, reach="down"), C)
    assert {after[pair] for pair in PAIRS if before[pair] == "b"} == {"a", "c"}
    assert all(after[pair] == before[pair] for pair in PAIRS if before[pair] != "b")


def test_weight_and_distance_make_shares() -> None:
    assert shares(replace(A, weight=300), B)["a"] == pytest.approx(0.75, abs=0.03)
    near, far = replace(A, rtt_floor_ms=10.0), replace(B, rtt_floor_ms=10.0 + NEAR_MS)
    assert shares(near, far)["a"] == pytest.approx(2 / 3, abs=0.03)
    assert shares(near, replace(B, rtt_floor_ms=9.0 + NEAR_MS))["a"] == pytest.approx(1 / 2, abs=0.03)
    assert shares(near, replace(B, rtt_floor_ms=2_000.0))["a"] > 0.98


@pytest.mark.parametrize(
    "away",
    [replace(A, reach="down"), replace(A, draining=True), replace(A, overloaded=True), replace(A, blocked="used up")],
    ids=["down", "draining", "overloaded", "blocked"],
)
def test_one_that_takes_no_flows_gets_none(away: GatewayView) -> None:
    assert set(chosen(away, B).values()) == {"b"}
    assert chosen(away) == {}
    assert hindrance(away)
    assert not hindrance(B)


def test_unheard_ones_and_those_of_weight_zero_serve_only_when_no_other_does() -> None:
    unheard, spare = replace(B, reach="unknown"), replace(C, weight=0)
    assert set(chosen(A, unheard, spare).values()) == {"a"}
    assert set(chosen(unheard, spare).values()) == {"c"}  # who is heard goes before who may not be there
    assert set(chosen(replace(A, draining=True), replace(B, weight=0)).values()) == {"b"}


def test_another_is_never_one_that_was_tried() -> None:
    pool = Gateways((A, B, replace(C, weight=0)))
    for pair in PAIRS[:50]:
        first = pool.choose(*pair)
        assert first is not None
        second = pool.another(*pair, (first.name,))
        assert second is not None
        assert {first.name, second.name} == {"a", "b"}
        last = pool.another(*pair, (first.name, second.name))
        assert last is not None
        assert last.name == "c"
        assert pool.another(*pair, "abc") is None
