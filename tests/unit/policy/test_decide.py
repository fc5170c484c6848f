"""The decision for a flow: which rule, which lines in which order, and the reason given."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from hagw.model.flow import FlowKey
from hagw.model.intent import FlowLimits, PoolIntent, RuleIntent, SendingIntent, TrafficDescriptor
from hagw.model.snapshot import CpeSnapshot, GatewayView, UplinkView
from hagw.policy.decide import Policy

DSL = UplinkView(1, "dsl", "dsl0", 11, "192.0.2.1", None, "up", rtt_ms=24.0)
LTE = UplinkView(2, "lte", "lte0", 12, "192.0.2.2", None, "up", rtt_ms=20.0, metered=True)
WIFI = UplinkView(3, "wifi", "wifi0", 13, "192.0.2.3", None, "up", rtt_ms=16.0)
HAG = GatewayView("hag", ("198.51.100.10",), 5124, "home", "00" * 32, "up")
SNAPSHOT = CpeSnapshot(1, (DSL, LTE, WIFI), (HAG,), (), PoolIntent(), FlowLimits(), "cubic")
FLOW = FlowKey("192.168.77.11", 40_000, "203.0.113.10", 443)


def rule(
    name: str, precedence: int = 1, mode: str = "direct", uplinks: tuple[str, ...] = (), **traffic: object
) -> RuleIntent:
    return RuleIntent(name, precedence, TrafficDescriptor(**traffic), mode, uplinks)  # type: ignore[arg-type]


def policy(*rules: RuleIntent) -> Policy:
    return Policy(replace(SNAPSHOT, rules=rules))


def test_without_rules_all_lines_are_bonded_over_the_gateway() -> None:
    decision = policy().decide(FLOW)
    assert (decision.path, decision.gateway, decision.rule, decision.mode) == (
        "converted",
        HAG,
        "default",
        "load-balancing",
    )
    assert decision.uplinks == (3, 1, 2)
    assert decision.why == "rule default bonds wifi, dsl, lte"


def test_a_rule_may_carry_otherwise_what_mostly_sends() -> None:
    given = replace(
        rule("r", mode="priority-based", uplinks=("dsl", "lte")), sending=SendingIntent("load-balancing", ("wifi",))
    )
    decision = policy(given).decide(FLOW)
    assert decision.plan.tiers == ((1,), (2,))
    assert decision.sending is not None
    assert decision.sending.tiers == ((3,),)
    assert decision.why == "rule r fills dsl, then lte; while it mostly sends, it bonds wifi"
    assert policy(replace(given, sending=None)).decide(FLOW).sending is None


@pytest.mark.parametrize(
    ("uplinks", "order"),
    [
        ((DSL, LTE, WIFI), (3, 1, 2)),
        ((replace(DSL, cost=1), LTE, replace(WIFI, cost=2)), (2, 1, 3)),
        ((DSL, LTE, replace(WIFI, state="down")), (1, 2, 3)),
        ((DSL, LTE, replace(WIFI, state="suspect")), (1, 2, 3)),
        ((DSL, LTE, replace(WIFI, rtt_ms=None)), (1, 3, 2)),
        ((replace(DSL, rtt_ms=16.0), WIFI), (1, 3)),
        ((replace(DSL, rtt_ms=60.0, rtt_floor_ms=24.0), replace(WIFI, rtt_ms=90.0, rtt_floor_ms=16.0)), (3, 1)),
    ],
    ids=[
        "unmetered, quick",
        "cheap",
        "up before down",
        "up before suspect",
        "known before unknown",
        "as written",
        "unloaded",
    ],
)
def test_the_best_line_carries_the_first_subflow(uplinks: tuple[UplinkView, ...], order: tuple[int, ...]) -> None:
    assert Policy(replace(SNAPSHOT, uplinks=uplinks)).decide(FLOW).uplinks == order


def test_a_disabled_line_is_never_used() -> None:
    uplinks = (DSL, replace(LTE, state="disabled"), WIFI)
    decided = Policy(
        replace(SNAPSHOT, uplinks=uplinks, rules=(rule("r", mode="load-balancing", uplinks=("lte", "dsl")),))
    )
    assert decided.decide(FLOW).uplinks == (1,)


@pytest.mark.parametrize(
    ("traffic", "matches"),
    [
        ({}, True),
        ({"sources": (ip_network("192.168.77.0/24"),)}, True),
        ({"sources": (ip_network("192.168.78.0/24"), ip_network("192.168.77.11/32"))}, True),
        ({"sources": (ip_network("192.168.78.0/24"),)}, False),
        ({"sources": (ip_network("fd77::/64"),)}, False),
        ({"destinations": (ip_network("203.0.113.0/24"),)}, True),
        ({"destinations": (ip_network("203.0.114.0/24"),)}, False),
        ({"destination_ports": ((443, 443),)}, True),
        ({"destination_ports": ((1, 442), (444, 65535))}, False),
        ({"destination_ports": ((400, 443),)}, True),
        ({"destinations": (ip_network("203.0.113.0/24"),), "destination_ports": ((80, 80),)}, False),
    ],
)
def test_a_rule_is_for_what_it_describes(traffic: dict[str, object], matches: bool) -> None:
    decision = policy(rule("mine", **traffic)).decide(FLOW)
    assert decision.rule == ("mine" if matches else "default")


def test_the_lowest_precedence_that_matches_wins() -> None:
    decided = policy(
        rule("last", 30, "block"), rule("not mine", 5, "block", destination_ports=((80, 80),)), rule("first", 10)
    )
    assert decided.decide(FLOW).rule == "first"


@pytest.mark.parametrize(
    ("mode", "path"), [("direct", "direct"), ("block", "blocked"), ("load-balancing", "converted")]
)
def test_each_mode_has_its_path(mode: str, path: str) -> None:
    decision = policy(rule("mine", mode=mode, uplinks=("dsl",))).decide(FLOW)
    assert (decision.path, decision.mode) == (path, mode)
    assert decision.uplinks == (() if mode == "block" else (1,))
    assert (decision.gateway is not None) == (mode == "load-balancing")


def test_the_first_gateway_not_known_to_be_down_is_taken() -> None:
    second = replace(HAG, name="hag2", reach="unknown")
    gateways = (replace(HAG, reach="down", reason="silent"), second)
    assert Policy(replace(SNAPSHOT, gateways=gateways)).decide(FLOW).gateway == second


@pytest.mark.parametrize(
    ("gateways", "reason"),
    [((), "none is configured"), ((replace(HAG, reach="down", reason="it is silent"),), "it is silent")],
)
def test_without_a_gateway_everything_goes_direct_and_says_why(gateways: tuple[GatewayView, ...], reason: str) -> None:
    decision = Policy(replace(SNAPSHOT, gateways=gateways)).decide(FLOW)
    assert (decision.path, decision.uplinks) == ("direct", (3, 1, 2))
    assert decision.why == f"no gateway is reachable: {reason}"


def test_every_decision_is_known_beforehand() -> None:
    decided = policy(
        rule("a", 1, uplinks=("dsl",), destination_ports=((1, 1),)), rule("b", 2, "block", destination_ports=((2, 2),))
    )
    steered = decided.steered()
    assert [decision.rule for decision in steered] == ["a", "b", "default"]
    assert all(decided.decide(replace(FLOW, server_port=port)) in steered for port in (1, 2, 3))


def test_the_preferred_line_of_a_rule_begins_whatever_its_round_trip() -> None:
    found = policy(rule("cheap", mode="priority-based", uplinks=("dsl", "wifi", "lte"))).decide(FLOW)
    assert (found.uplinks, found.plan.tiers) == ((1, 3, 2), ((1,), (3,), (2,)))
    assert found.why == "rule cheap fills dsl, then wifi, then lte"


def test_a_preferred_line_that_is_down_does_not_begin() -> None:
    standby = rule("one", mode="active-standby", uplinks=("dsl", "lte"))
    snapshot = replace(SNAPSHOT, rules=(standby,), uplinks=(replace(DSL, state="down"), LTE, WIFI))
    found = Policy(snapshot).decide(FLOW)
    assert found.uplinks == (2, 1)
    assert found.why == "rule one keeps to dsl; in reserve: lte"


def test_a_rule_about_lines_that_are_not_there_says_so() -> None:
    found = policy(rule("gone", mode="active-standby", uplinks=("a", "b"))).decide(FLOW)
    assert (found.uplinks, found.plan.slots) == ((), ())


def test_the_quickest_line_begins_where_delay_counts() -> None:
    rules = (rule("quick", mode="smallest-delay"),)
    found = Policy(replace(SNAPSHOT, rules=rules, uplinks=(DSL, replace(LTE, rtt_ms=9.0), WIFI))).decide(FLOW)
    assert found.uplinks == (2, 3, 1)
    assert found.why == "rule quick keeps to the quickest of lte, wifi, dsl"
