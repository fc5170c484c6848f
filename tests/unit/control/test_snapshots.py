"""What workers are told."""

import json
from dataclasses import replace
from ipaddress import ip_address

import pytest

from hagw.control.snapshots import congestion_control, cpe_snapshot, decides_alike, hag_snapshot
from hagw.model.facts import Facts, UplinkFacts
from hagw.model.health import GatewayHealth, UplinkHealth
from hagw.model.intent import BindCookies, RuleIntent, SendingIntent, TrafficDescriptor
from hagw.model.snapshot import CpeSnapshot, from_json, to_json
from tests.fakes import ALL_UP, CPE, FACTS, HAG

REACH = {"hag1": GatewayHealth("up", rtt_ms=20.0, clock_offset_s=3.0)}


def test_all_of_a_rules_steering_reaches_the_workers() -> None:
    rule = RuleIntent(
        "r", 1, TrafficDescriptor(), "load-balancing", ("dsl", "lte"), weights=(30, 70),
        sending=SendingIntent("priority-based", ("lte", "dsl")),
    )  # fmt: skip
    snapshot = cpe_snapshot(replace(CPE, rules=(rule,)), FACTS, ALL_UP, REACH, {})
    received = from_json(json.loads(json.dumps(to_json(snapshot))))
    assert isinstance(received, CpeSnapshot)
    assert received.rules == (rule,)


def test_uplinks_carry_facts_and_health() -> None:
    snapshot = cpe_snapshot(CPE, FACTS, ALL_UP, REACH, {"hag1": 5.0})
    dsl, lte = snapshot.uplinks
    assert (dsl.slot, dsl.ifindex, dsl.address4, dsl.state, dsl.rtt_ms) == (1, 3, "10.1.0.2", "up", 24.0)
    assert lte.metered
    assert snapshot.gateways[0].heard_at == 5.0
    assert snapshot.congestion_control == "bbr"
    assert from_json(to_json(snapshot)) == snapshot


def test_an_uplink_without_interface_is_left_out_and_one_without_route_has_no_address() -> None:
    lost = UplinkFacts("dsl", None)
    unrouted = replace(FACTS.uplinks["lte"], onlink4=False)
    snapshot = cpe_snapshot(CPE, replace(FACTS, uplinks={"dsl": lost, "lte": unrouted}), ALL_UP, REACH, {})
    assert [(u.name, u.address4) for u in snapshot.uplinks] == [("lte", None)]


def test_what_was_never_measured_is_not_used() -> None:
    snapshot = cpe_snapshot(CPE, FACTS, {}, {}, {})
    assert {u.state for u in snapshot.uplinks} == {"down"}
    assert snapshot.gateways[0].reach == "unknown"


def test_a_disabled_uplink_is_disabled_whatever_its_health() -> None:
    intent = replace(CPE, uplinks=(replace(CPE.uplinks[0], enabled=False), CPE.uplinks[1]))
    assert cpe_snapshot(intent, FACTS, ALL_UP, REACH, {}).uplinks[0].state == "disabled"


def test_measurements_alone_do_not_decide() -> None:
    a = cpe_snapshot(CPE, FACTS, ALL_UP, REACH, {"hag1": 5.0})
    measured = {**ALL_UP, "dsl": replace(ALL_UP["dsl"], rtt_ms=99.0)}
    b = replace(cpe_snapshot(CPE, FACTS, measured, REACH, {"hag1": 6.0}), generation=4)
    assert decides_alike(a, b)
    c = cpe_snapshot(CPE, FACTS, {**ALL_UP, "dsl": UplinkHealth("suspect")}, REACH, {})
    assert not decides_alike(a, c)


def test_learning_the_gateways_clock_decides() -> None:
    untold = {"hag1": replace(REACH["hag1"], clock_offset_s=None)}
    corrected = {"hag1": replace(REACH["hag1"], clock_offset_s=3.1)}
    a = cpe_snapshot(CPE, FACTS, ALL_UP, REACH, {})
    assert not decides_alike(a, cpe_snapshot(CPE, FACTS, ALL_UP, untold, {}))
    assert decides_alike(a, cpe_snapshot(CPE, FACTS, ALL_UP, corrected, {}))


def test_a_hag_tells_its_own_addresses_and_whether_ipv6_leaves_it() -> None:
    facts = Facts(uplinks={}, own_addresses=(ip_address("198.51.100.1"),), ipv6_egress=True)
    snapshot = hag_snapshot(HAG, facts)
    assert snapshot.own_addresses == ("198.51.100.1",)
    assert snapshot.ipv6_egress
    assert snapshot.congestion_control == "cubic"
    assert from_json(to_json(snapshot)) == snapshot


@pytest.mark.parametrize(("bind", "told"), [("off", (False, False)), ("auto", (False, True)), ("on", (True, False))])
def test_an_older_worker_that_knows_no_middle_binds_nobody_by_it(bind: BindCookies, told: tuple[bool, bool]) -> None:
    snapshot = hag_snapshot(replace(HAG, bind_cookies=bind), Facts(uplinks={}))
    assert (snapshot.bind_cookies, snapshot.bind_renewing) == told
    assert from_json(to_json(snapshot)) == snapshot


def test_a_wanted_congestion_control_wins() -> None:
    assert congestion_control("reno", FACTS) == "reno"
