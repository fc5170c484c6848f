"""The kernel's table and the decision function agree on every forwarded flow, whatever the rules and lines are."""

import json
import re
import sys
from collections.abc import Collection
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from hagw.control.snapshots import cpe_snapshot
from hagw.model.facts import Facts, UplinkFacts
from hagw.model.flow import WITH_PORTS, FlowKey
from hagw.model.health import UplinkHealth
from hagw.model.ids import MARK_MASK, MARK_SHIFT
from hagw.model.intent import CpeIntent, RuleIntent, TrafficDescriptor, UplinkIntent
from hagw.plan.named import NamedSets, sets
from hagw.plan.ranking import existing, usable
from hagw.plan.steer import steer
from hagw.policy.decide import Policy

sys.path.append(str(Path(__file__).parents[1] / "policy"))
from flows import INTERFACES, LINES, MACS, SERVERS, flows, rule_sets

INTENT = CpeIntent(
    INTERFACES,
    tuple(
        UplinkIntent(name, "dsl", f"{name}0", slot, cost=cost)
        for slot, (name, cost) in enumerate(zip(LINES, (5, 0, 5), strict=True), 1)
    ),
    (),
)
LINE = UplinkFacts("", 2, True, True, ip_address("192.0.2.2"), ip_address("2001:db8:1::2"), onlink4=True, onlink6=True)
ABSENT = UplinkFacts("", None)
facts = st.fixed_dictionaries(
    {
        name: st.sampled_from((LINE, replace(LINE, address6=None), replace(LINE, address4=None), ABSENT))
        for name in LINES
    }
)
intercepted = st.lists(st.sampled_from((4, 6)), unique=True)
bypassed = st.lists(st.sampled_from(SERVERS), unique=True, max_size=2)
healths = st.fixed_dictionaries({name: st.sampled_from(("up", "suspect", "down")).map(UplinkHealth) for name in LINES})


@settings(max_examples=400)
@given(rule_sets(), st.lists(flows(), min_size=1, max_size=8), facts, healths, intercepted, bypassed)
def test_the_table_and_the_decision_agree(
    rules: tuple[RuleIntent, ...],
    some: list[FlowKey],
    lines: dict[str, UplinkFacts],
    health: dict[str, UplinkHealth],
    families: list[Literal[4, 6]],
    bypass: list[str],
) -> None:
    intent = replace(INTENT, rules=rules)
    found = Facts(uplinks=lines)
    able = {family: usable(intent, found, health, family) for family in (4, 6)}  # type: ignore[arg-type]  # 4 and 6
    healthy = {name for name, judged in health.items() if judged.state == "up"}
    there = existing(intent, found)
    chain = json.loads(json.dumps(steer(rules, able, healthy, there, families)))  # type: ignore[arg-type]  # likewise
    policy = Policy(cpe_snapshot(intent, found, health, {}, {}))
    for flow in some:
        packet = replace(flow, dscp=flow.dscp or 0, mac=flow.mac or MACS[0], interface=flow.interface or INTERFACES[0])
        is_bypassed = packet.server in bypass
        intercepts = not is_bypassed and (6 if ":" in packet.server else 4) in families
        decision = policy.forward(packet, intercepts=intercepts)
        wanted = "reject" if decision.path == "blocked" else decision.uplinks[0] if decision.uplinks else "main"
        holding = sets_with(rules, packet) | ({"bypass4", "bypass6"} if is_bypassed else set())
        assert verdict(chain, packet, holding) == wanted


def sets_with(rules: tuple[RuleIntent, ...], packet: FlowKey) -> set[str]:
    """Return the sets that the server's address is in when DNS answers have told its names."""
    known = packet.names if packet.domain_source in ("dns", "given") else ()
    named = NamedSets(rules)
    return {each for name in known for each in named.of(name, 6 if ":" in packet.server else 4)}


def test_names_that_first_bytes_told_are_not_known_to_the_table() -> None:
    rules = (RuleIntent("r", 1, TrafficDescriptor(domains=("example.org",)), "block"),)
    chain = steer(rules, {4: INTENT.uplinks, 6: INTENT.uplinks}, LINES)
    named = FlowKey("192.168.77.11", 1, "203.0.113.10", 443, 17, domain="example.org", domain_source="sni")
    assert verdict(chain, named, sets_with(rules, named)) == 1
    told = replace(named, domain_source="dns")
    assert verdict(chain, told, sets_with(rules, told)) == "reject"


def test_every_set_that_a_rule_looks_into_is_made() -> None:
    rules = (
        RuleIntent("a", 1, TrafficDescriptor(domains=("b.org", "a.org")), "block"),
        RuleIntent("b", 2, TrafficDescriptor(domains=("a.org", "b.org", "a.org"), protocols=(17,)), "block"),
        RuleIntent("c", 3, TrafficDescriptor(applications=("video",)), "block"),
    )
    made = {each["name"] for each in sets(rules)}
    text = json.dumps(steer(rules, {4: (), 6: ()}, LINES))
    assert set(re.findall(r"@(named_\w+)", text)) == made
    assert len(made) == 4  # the first two rules share theirs
    assert all(len(name) < 32 for name in made)


def test_a_port_is_looked_for_only_where_there_is_one() -> None:
    rules = (RuleIntent("r", 1, TrafficDescriptor(destination_ports=((80, 80),)), "block"),)
    chain = steer(rules, {4: INTENT.uplinks, 6: INTENT.uplinks}, LINES)
    esp = FlowKey("192.168.77.11", 0, "203.0.113.10", 80, protocol=50, dscp=0, mac=MACS[0], interface="lan0")
    assert verdict(chain, esp) == 1
    assert verdict(chain, replace(esp, protocol=17)) == "reject"


def verdict(chain: list[list[dict[str, Any]]], packet: FlowKey, holding: Collection[str] = ()) -> int | str:
    """Return what the kernel would do: the slot it pins to, "reject", or "main".

    `holding` are the sets that hold the packet's destination.
    """
    for rule in chain:
        slot: int | None = None
        for expression in rule:
            match expression:
                case {"match": {"op": "==", "right": str(name)}} if name.startswith("@"):
                    if name[1:] not in holding:
                        break
                case {"match": {"op": "!=", "right": str(name)}} if name.startswith("@"):
                    if name[1:] in holding:
                        break
                case {"match": {"op": "==", "left": left, "right": right}}:
                    if not fits(value(left, packet), right):
                        break
                case {"mangle": {"key": {"ct": {"key": "mark"}}, "value": {"|": [_, mark]}}}:
                    slot = (mark & MARK_MASK) >> MARK_SHIFT
                case {"accept": None}:
                    assert slot is not None
                    return slot
                case {"reject": _}:
                    return "reject"
                case {"return": None}:
                    return "main"
                case {"mangle": {"key": {"meta": _}}} | {"counter": _}:
                    pass
                case _:
                    raise AssertionError(expression)
    return "main"


def value(left: dict[str, Any], packet: FlowKey) -> object:
    """Return what the packet has there, None where it has no such header."""
    family = "ip6" if ":" in packet.server else "ip"
    match left:
        case {"meta": {"key": "nfproto"}}:
            return "ipv6" if family == "ip6" else "ipv4"
        case {"meta": {"key": "l4proto"}}:
            return packet.protocol
        case {"meta": {"key": "iifname"}}:
            return packet.interface
        case {"payload": {"protocol": "ether", "field": "saddr"}}:
            return packet.mac
        case {"payload": {"protocol": "ip" | "ip6" as protocol, "field": field}}:
            found = {"saddr": ip_address(packet.client), "daddr": ip_address(packet.server), "dscp": packet.dscp}
            return found[field] if protocol == family else None
        case {"payload": {"protocol": "th", "field": "dport"}}:
            assert packet.protocol in WITH_PORTS, "the header of another protocol is read as if it had ports"
            return packet.server_port
    raise AssertionError(left)


def fits(found: object, right: object) -> bool:
    match right:
        case {"set": list(several)}:
            return any(fits(found, each) for each in several)
        case {"range": [low, high]}:
            return isinstance(found, int) and low <= found <= high
        case {"prefix": {"addr": address, "len": length}}:
            return found is not None and found in ip_network(f"{address}/{length}")  # type: ignore[operator]  # an address
        case str(text) if not isinstance(found, str):
            return found is not None and found == ip_address(text)
        case _:
            return found == right
