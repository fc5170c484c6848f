"""The base firewall: what may come in from the uplinks, as rules of the one nftables table.

Only packets that arrive on an uplink are looked at, enabled or not; LAN, VPN and container interfaces are none of its
business. A verdict is "drop" or to go on with the chain that jumped here: other tables may still refuse what passes.

To the machine itself comes what belongs to a flow of ours, what IP needs to work (errors, neighbours, router
advertisements, DHCP answers), and what is allowed. TCP packets that begin nothing are left to the stack, which knows
its connections better than conntrack does: an established ssh session outlives the first start of hagw.

Into and through the LAN comes what belongs to a flow that began inside, what another table redirected on the
owner's behalf (`ct status dnat`: port forwardings, published container ports), and what is allowed. Flows that
conntrack has never seen pass for a while after the table was made.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network
from typing import Any, Final, assert_never

from hagw.model.facts import Facts
from hagw.model.flow import TCP
from hagw.model.intent import AllowIntent, FirewallIntent, FirewallProtocol, IPAddress, IPNetwork, UplinkIntent
from hagw.plan.expressions import (
    RETURN,
    Expression,
    Rule,
    carries,
    chain,
    count,
    ct,
    differ,
    element,
    equal,
    interfaces,
    meta,
    payload,
    tcp_flags,
    within,
)

SETTLING_S: Final = 120  # flows older than the table show themselves within this, or begin anew from inside
COUNTERS: Final = ("allowed", "blocked_input", "blocked_forward")
_INPUT: Final = "uplink_input"
_FORWARD: Final = "uplink_forward"

_ERRORS4: Final = ("destination-unreachable", "time-exceeded", "parameter-problem")
# RFC 4890, 4.4.1: without these IPv6 does not work. The kernel wants hop limit 255 of neighbour discovery itself.
_NEEDED6: Final = (
    "destination-unreachable",
    "packet-too-big",
    "time-exceeded",
    "parameter-problem",
    "nd-router-advert",
    "nd-neighbor-solicit",
    "nd-neighbor-advert",
    "mld-listener-query",
)


def chains(firewall: FirewallIntent, uplinks: tuple[UplinkIntent, ...]) -> list[dict[str, Any]]:
    """Return the chains that judge what comes from uplinks; empty ones when the firewall is off."""
    if not firewall.enabled:
        return [chain(_INPUT, []), chain(_FORWARD, [])]
    names = {uplink.name: uplink.interface for uplink in uplinks}
    to_us = [rule for entry in firewall.allow for rule in _allowed(entry, names)]
    beyond = [rule for entry in firewall.allow if entry.destinations for rule in _allowed(entry, names)]
    return [
        chain(_INPUT, [*_needed_by_us(), *to_us, [count("blocked_input"), {"drop": None}]]),
        chain(_FORWARD, [*_from_inside(), *beyond, [count("blocked_forward"), {"drop": None}]]),
    ]


def settling_set() -> dict[str, Any]:
    """Return the set that holds "tcp" for a while after the table was made, and is not filled again."""
    return {
        "name": "settling",
        "type": "inet_proto",
        "flags": ["timeout"],
        "timeout": SETTLING_S,
        "elem": [TCP],
    }


def guarded(uplinks: Iterable[UplinkIntent], facts: Facts) -> list[str]:
    """Return the interfaces that are judged: those of uplinks, and those that might be an uplink's."""
    candidates = (name for fact in facts.uplinks.values() for name in fact.candidates)
    return sorted({*(uplink.interface for uplink in uplinks), *candidates})


def input_jumps(names: list[str]) -> list[Rule]:
    """Return what the chain at the input hook ends with, for the guarded interfaces."""
    return _jump(names, _INPUT)


def forward_jumps(names: list[str]) -> list[Rule]:
    """Return what the chain at the forward hook ends with, for the guarded interfaces."""
    return _jump(names, _FORWARD)


def admits(firewall: FirewallIntent, uplink: str, protocol: FirewallProtocol, port: int, source: IPAddress) -> bool:
    """Tell whether `source` may begin a flow to this port of the machine itself over the uplink."""
    if not firewall.enabled:
        return True
    return any(
        entry.protocol == protocol
        and (not entry.uplinks or uplink in entry.uplinks)
        and (not entry.sources or any(source in prefix for prefix in entry.sources))
        and (not entry.destination_ports or any(low <= port <= high for low, high in entry.destination_ports))
        and not entry.destinations
        for entry in firewall.allow
    )


def _jump(names: list[str], target: str) -> list[Rule]:
    return [[interfaces(names), {"jump": {"target": target}}]] if names else []


def _needed_by_us() -> list[Rule]:
    link_local = {"prefix": {"addr": "fe80::", "len": 10}}
    return [
        [within(ct("state"), ["established", "related"]), RETURN],
        [differ(tcp_flags(), "syn"), RETURN],
        [equal(payload("icmp", "type"), {"set": list(_ERRORS4)}), RETURN],
        [equal(payload("icmpv6", "type"), {"set": list(_NEEDED6)}), RETURN],
        [carries("igmp"), RETURN],
        # Answers to what a DHCP client has broadcast belong to no flow that conntrack could know.
        [equal(payload("udp", "sport"), 67), equal(payload("udp", "dport"), 68), RETURN],
        [equal(payload("ip6", "saddr"), link_local), equal(payload("udp", "dport"), 546), RETURN],
    ]


def _from_inside() -> list[Rule]:
    return [
        [within(ct("state"), ["established", "related"]), RETURN],
        [within(ct("status"), "dnat"), RETURN],
        [differ(tcp_flags(), "syn"), equal(meta("l4proto"), "@settling"), RETURN],  # nft 1.1 refuses the other order
    ]


def _allowed(entry: AllowIntent, interface_of: dict[str, str]) -> Iterator[Rule]:
    known = [interface_of[name] for name in entry.uplinks if name in interface_of]
    if entry.uplinks and not known:
        return  # none of them has an interface now
    where = [interfaces(known)] if known else []
    for family in _families(entry):
        yield [
            *where,
            *_protocol(entry, family),
            *_addresses(family, "saddr", entry.sources),
            *_addresses(family, "daddr", entry.destinations),
            count("allowed"),
            RETURN,
        ]


def _families(entry: AllowIntent) -> list[str]:
    """Return the families that all given prefixes leave over; one rule serves both where nothing names an address."""
    if not entry.sources and not entry.destinations and entry.protocol != "icmp":
        return [""]
    given = [{_family(prefix) for prefix in each} for each in (entry.sources, entry.destinations) if each]
    return [family for family in ("ip", "ip6") if all(family in families for families in given)]


def _protocol(entry: AllowIntent, family: str) -> list[Expression]:
    match entry.protocol:
        case "tcp" | "udp":
            ports = [low if low == high else {"range": [low, high]} for low, high in entry.destination_ports]
            return [equal(payload(entry.protocol, "dport"), {"set": ports})]
        case "icmp":
            return [equal(payload("icmp" if family == "ip" else "icmpv6", "type"), "echo-request")]
        case "esp" | "gre":
            return [carries(entry.protocol)]
        case _:
            assert_never(entry.protocol)


def _addresses(family: str, field: str, prefixes: tuple[IPNetwork, ...]) -> list[Expression]:
    mine = [element(prefix) for prefix in prefixes if _family(prefix) == family]
    return [equal(payload(family, field), {"set": mine})] if mine else []


def _family(prefix: IPNetwork) -> str:
    return "ip" if isinstance(prefix, IPv4Network) else "ip6"
