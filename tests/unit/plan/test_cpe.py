"""What a CPE's kernel must hold, whatever is true of its lines."""

import json
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from states import GATEWAY, all_facts, healths, intents

from hagw.model.facts import Facts, UplinkFacts
from hagw.model.health import UplinkHealth
from hagw.model.ids import PRIORITIES, TABLE_BEST, uplink_table
from hagw.model.intent import CpeIntent, InterfaceMatch, UplinkIntent
from hagw.model.resources import NftTable, Route, Rule, Sysctl
from hagw.plan.cpe import desired
from hagw.plan.ranking import usable

UP = UplinkFacts(
    "dsl", 2, admin_up=True, carrier=True, address4=ip_address("192.0.2.2"), gateway4=ip_address("192.0.2.1")
)
NAMES = ("dsl", "lte", "wifi")
THREE = CpeIntent(
    lan_interfaces=("lan0",),
    uplinks=tuple(UplinkIntent(name, "dsl", f"{name}0", slot) for slot, name in enumerate(NAMES, start=1)),
    gateways=(GATEWAY,),
)
FACTS = Facts(uplinks={name: replace(UP, name=name, ifindex=number) for number, name in enumerate(NAMES, start=2)})


@given(intents(), all_facts(), healths, st.booleans(), st.booleans())
def test_rules_and_routes_fit_together(
    intent: CpeIntent, facts: Facts, health: Mapping[str, UplinkHealth], four: bool, six: bool
) -> None:
    state = desired(intent, facts, health, intercept4=four, intercept6=six)
    routes = {(route.family, route.table) for route in state.values() if isinstance(route, Route)}
    rules = [rule for rule in state.values() if isinstance(rule, Rule)]
    assert all(rule.priority in PRIORITIES for rule in rules)
    assert all((rule.family, rule.table) in routes for rule in rules if rule.source is not None)
    for family in (4, 6) if facts.ipv6 else (4,):
        best = usable(intent, facts, health, family)  # type: ignore[arg-type]  # 4 and 6 are what it takes
        assert ((family, TABLE_BEST) in routes) == bool(best)
        assert all((family, uplink_table(uplink.slot)) in routes for uplink in best)
    table = state[NftTable("").key]
    assert isinstance(table, NftTable)
    assert ('"tproxy":{"family":"ip",' in table.text) == four
    assert ('"tproxy":{"family":"ip6",' in table.text) == six
    if not facts.ipv6:
        assert {route.family for route in state.values() if isinstance(route, (Route, Rule))} == {4}


def best(health: Mapping[str, UplinkHealth] | None = None, **changes: dict[str, object]) -> list[str]:
    uplinks = tuple(replace(uplink, **changes.get(uplink.name, {})) for uplink in THREE.uplinks)
    return [uplink.name for uplink in usable(replace(THREE, uplinks=uplinks), FACTS, health or {}, 4)]


def test_uplinks_are_ranked_by_cost_then_metering_then_order() -> None:
    assert best() == ["dsl", "lte", "wifi"]
    assert best(dsl={"cost": 1}) == ["lte", "wifi", "dsl"]
    assert best(dsl={"metered": True}) == ["lte", "wifi", "dsl"]
    assert best(dsl={"metered": True}, lte={"cost": 5}, wifi={"cost": 5}) == ["dsl", "lte", "wifi"]


def test_a_suspect_uplink_is_the_last_resort_and_a_dead_one_none() -> None:
    assert best({"dsl": UplinkHealth("suspect")}) == ["lte", "wifi", "dsl"]
    assert best({"dsl": UplinkHealth("down"), "lte": UplinkHealth("disabled")}) == ["wifi"]
    assert best(dsl={"enabled": False}) == ["lte", "wifi"]


@pytest.mark.parametrize(
    "change",
    [{"carrier": False}, {"admin_up": False}, {"ifindex": None}, {"address4": None}, {"gateway4": None}],
    ids=str,
)
def test_an_uplink_without_what_it_needs_is_not_used(change: dict[str, object]) -> None:
    facts = Facts(uplinks={"dsl": replace(UP, **change)})  # type: ignore[arg-type]  # fields of UplinkFacts
    assert usable(THREE, facts, {}, 4) == ()


def test_a_dead_uplink_keeps_its_route_for_probes() -> None:
    state = desired(THREE, FACTS, {"dsl": UplinkHealth("down")}, intercept4=True, intercept6=False)
    assert state["route", 4, uplink_table(1)] == Route(4, uplink_table(1), "dsl0", UP.gateway4)


def test_no_line_at_all_leaves_the_main_table_in_charge() -> None:
    state = desired(THREE, Facts(uplinks={}), {}, intercept4=False, intercept6=False)
    assert ("route", 4, TABLE_BEST) not in state
    table = state[NftTable("").key]
    assert isinstance(table, NftTable)
    assert '"pinned"]' not in json.dumps([chain["rules"] for chain in json.loads(table.text)["chains"]])
    assert '{"counter":"pinned"}' not in table.text


def test_advertisements_are_only_touched_where_the_kernel_takes_them() -> None:
    name = "net/ipv6/conf/dsl0/accept_ra"
    takes = Facts(uplinks={"dsl": replace(UP, accepts_ra=True)})
    assert desired(THREE, takes, {}, intercept4=True, intercept6=True)["sysctl", name] == Sysctl(name, "2")
    assert ("sysctl", name) not in desired(THREE, FACTS, {}, intercept4=True, intercept6=True)


def test_marks_of_others_are_never_overwritten() -> None:
    state = desired(THREE, FACTS, {}, intercept4=True, intercept6=True)
    table = state[NftTable("").key]
    assert isinstance(table, NftTable)
    written = json.loads(table.text, object_hook=_mangled)
    assert written is not None


def _mangled(value: dict[str, object]) -> dict[str, object]:
    mangle = value.get("mangle")
    if isinstance(mangle, dict) and mangle["key"] in ({"meta": {"key": "mark"}}, {"ct": {"key": "mark"}}):
        (masked, bits) = mangle["value"]["|"]
        assert masked == {"&": [mangle["key"], 0xC0FFFFFF]}
        assert bits & ~0x3F000000 == 0
    return value


def test_an_mtu_beyond_the_driver_is_not_tried() -> None:
    for mtu, is_set in ((1400, True), (1500, True), (1501, False), (1300, False)):
        line = replace(THREE.uplinks[0], mtu=mtu)
        fact = replace(UP, ifindex=3, mtu_min=1400, mtu_max=1500)
        state = desired(
            replace(THREE, uplinks=(line,)), Facts({line.name: fact}), {}, intercept4=False, intercept6=False
        )
        assert (("link", line.interface, "mtu") in state) is is_set


def test_a_line_without_an_interface_leaves_no_trace() -> None:
    lost = replace(THREE.uplinks[0], interface="", match=InterfaceMatch(name="x*"))
    facts = Facts({lost.name: UplinkFacts(lost.name, None, problem="no interface has name x*")})
    state = desired(replace(THREE, uplinks=(lost,)), facts, {}, intercept4=True, intercept6=True)
    nobody = desired(replace(THREE, uplinks=()), Facts({}), {}, intercept4=True, intercept6=True)
    assert state == nobody


def test_advertisements_are_taken_where_the_owner_wants_them() -> None:
    line = replace(THREE.uplinks[0], addressing="ra")
    facts = Facts({line.name: replace(UP, ifindex=3, accepts_ra=False)})
    state = desired(replace(THREE, uplinks=(line,)), facts, {}, intercept4=False, intercept6=False)
    wanted = Sysctl(f"net/ipv6/conf/{line.interface}/accept_ra", "2")
    assert state[wanted.key] == wanted
