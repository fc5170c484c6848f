"""Policy to the one nftables table of a CPE, as the JSON of libnftables-json(5).

What the table does with a packet, in the order of chain `prerouting` (after conntrack, before NAT and routing):

1. From an uplink: a new flow gets that uplink's mark, so that its answers leave where it came in. Nothing else is
   done with packets from uplinks, nor with those from interfaces that are neither uplink nor LAN.
2. From the LAN: packets of connections we proxy are delivered locally. They are known by their socket, so a
   connection older than the table, or one in the opposite direction, can never be taken for one.
3. Flows with a mark go where the mark says, for all their life.
4. What is for this machine or for a connected network is none of our business.
5. New TCP connections (nothing but SYN set) are handed to the listener. `tproxy` comes first and the mark second in
   the rule: when nobody listens, `tproxy` ends the rule before the mark is set, and the packet goes on to 7.
6. What remains of flows older than the table is marked to be left alone. An intercepted connection that has lost
   its socket (its worker died) is reset: the server never heard of it. The IPv4 stack would not do that by itself
   for an address that is not the machine's own.
7. Everything new is pinned to the best uplink: conntrack remembers it, so that a flow keeps its line and its source
   address when another line becomes the best one.

The sets `refused4` and `refused6` are filled while running and survive when the rules are replaced. Chains hold no
state of their own: replacing all rules in one transaction is invisible to traffic.
"""

import json
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any, Final

from hagw.model.facts import Facts
from hagw.model.ids import MARK_INTERCEPT, MARK_KEEP, MARK_MASK, PORT_TPROXY, uplink_mark
from hagw.model.intent import CpeIntent, IPNetwork, UplinkIntent
from hagw.model.resources import NftTable

REFUSED_TIMEOUT_S: Final = 30
REFUSED_MAX: Final = 16_384
COUNTERS: Final = (
    "intercepted4",
    "intercepted6",
    "proxied",
    "pinned",
    "kept",
    "inbound",
    "bypassed",
    "refused",
    "orphaned",
)

# Never worth intercepting, whatever the machine's own prefixes are: loopback, link-local, multicast, "this network".
_ALWAYS_LOCAL: Final = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "::/127", "fe80::/10", "ff00::/8")
_KEEP_BITS: Final = 0xFFFFFFFF ^ MARK_MASK
_ETHERNET_MTU: Final = 1500
_HEADERS4: Final = 40
_HEADERS6: Final = 60

Expression = dict[str, Any]
Rule = list[Expression]

_ACCEPT: Final[Expression] = {"accept": None}
_RETURN: Final[Expression] = {"return": None}
_META_MARK: Final[Expression] = {"meta": {"key": "mark"}}
_CT_MARK: Final[Expression] = {"ct": {"key": "mark"}}


def cpe_table(
    intent: CpeIntent,
    facts: Facts,
    *,
    best4: UplinkIntent | None,
    best6: UplinkIntent | None,
    intercept4: bool,
    intercept6: bool,
) -> NftTable:
    """Build the table. `best4` and `best6` are the uplinks that new unconverted flows are pinned to."""
    uplinks = [uplink for uplink in intent.uplinks if uplink.enabled]
    lan = _interfaces(intent.lan_interfaces)
    chains = [
        _chain("intercept", _intercept(intercept4, intercept6)),
        _hooked("prerouting", "filter", "prerouting", -150, _prerouting(uplinks, lan, best4, best6)),
        _hooked("input", "filter", "input", 0, _input()),
        _hooked("forward", "filter", "forward", -150, _forward(uplinks, facts)),
        _hooked("postrouting", "nat", "postrouting", 100, _postrouting(uplinks, lan)),
    ]
    local = [*facts.local_prefixes, *(ip_network(text) for text in _ALWAYS_LOCAL)]
    sets = [
        *_prefix_sets("local", local),
        *_prefix_sets("bypass", intent.bypass),
        *(_refused_set(family) for family in (4, 6)),
    ]
    table = {"counters": list(COUNTERS), "sets": sets, "chains": chains}
    return NftTable(json.dumps(table, separators=(",", ":")))


def _prerouting(
    uplinks: list[UplinkIntent], lan: Expression, best4: UplinkIntent | None, best6: UplinkIntent | None
) -> list[Rule]:
    marks = [uplink_mark(uplink.slot) for uplink in uplinks]
    return [
        *(_inbound(uplink) for uplink in uplinks),
        [_not(_meta("iifname"), lan["match"]["right"]), _RETURN],
        [_is(_meta("l4proto"), "tcp"), *_settled_socket(), *_deliver()],
        [_marked(_CT_MARK, MARK_INTERCEPT), _any_socket(), *_deliver()],
        [_in(_ct("state"), ["invalid", "untracked"]), _RETURN],
        *([_marked(_CT_MARK, mark), _set(_META_MARK, mark), _ACCEPT] for mark in (*marks, MARK_KEEP)),
        [_is({"fib": {"result": "type", "flags": ["daddr"]}}, {"set": ["local", "broadcast", "multicast"]}), _RETURN],
        [_is(_payload("ip", "daddr"), "@local4"), _RETURN],
        [_is(_payload("ip6", "daddr"), "@local6"), _RETURN],
        [_is(_tcp_flags(), "syn"), _in(_ct("state"), "new"), {"jump": {"target": "intercept"}}],
        [_marked(_CT_MARK, MARK_INTERCEPT), _is(_meta("l4proto"), "tcp"), _count("orphaned"), _reset()],
        [_in(_ct("state"), ["established", "related"]), _marked(_CT_MARK, 0), *_pin(MARK_KEEP, "kept")],
        [_not(_tcp_flags(), "syn"), _in(_ct("state"), "new"), _marked(_CT_MARK, 0), *_pin(MARK_KEEP, "kept")],
        *_pin_best("ipv4", best4),
        *_pin_best("ipv6", best6),
    ]


def _inbound(uplink: UplinkIntent) -> Rule:
    """Mark a flow that begins on an uplink, unless it is marked already (an answer of one of ours never is new)."""
    return [
        _is(_meta("iifname"), uplink.interface),
        _in(_ct("state"), "new"),
        _marked(_CT_MARK, 0),
        _set(_CT_MARK, uplink_mark(uplink.slot)),
        _count("inbound"),
    ]


def _intercept(intercept4: bool, intercept6: bool) -> list[Rule]:
    """Rules for pure SYNs of new connections; returning leaves them to be forwarded."""
    rules: list[Rule] = [
        [_is(_payload("ip", "daddr"), "@bypass4"), _count("bypassed"), _RETURN],
        [_is(_payload("ip6", "daddr"), "@bypass6"), _count("bypassed"), _RETURN],
        [_is(_destination("ip"), "@refused4"), _count("refused"), _RETURN],
        [_is(_destination("ip6"), "@refused6"), _count("refused"), _RETURN],
    ]
    if intercept4:
        rules.append(_tproxy("ipv4", "ip", "127.0.0.1", "intercepted4"))
    if intercept6:
        rules.append(_tproxy("ipv6", "ip6", "::1", "intercepted6"))
    return rules


def _tproxy(protocol: str, family: str, listener: str, counter: str) -> Rule:
    """Hand a SYN to the listener. The order matters: nothing behind `tproxy` happens when nobody listens."""
    return [
        _is(_meta("nfproto"), protocol),
        _is(_meta("l4proto"), "tcp"),
        {"tproxy": {"family": family, "addr": listener, "port": PORT_TPROXY}},
        _set(_META_MARK, MARK_INTERCEPT),
        _set(_CT_MARK, MARK_INTERCEPT),
        _count(counter),
        _ACCEPT,
    ]


def _input() -> list[Rule]:
    """Nobody speaks to the transparent listener's port itself."""
    return [
        [
            _not(_meta("iifname"), "lo"),
            _is(_payload("tcp", "dport"), PORT_TPROXY),
            _not({"&": [_META_MARK, MARK_MASK]}, MARK_INTERCEPT),
            {"drop": None},
        ]
    ]


def _forward(uplinks: list[UplinkIntent], facts: Facts) -> list[Rule]:
    """Clamp the segment size of unconverted TCP to what the lines carry: both ends' announcements.

    The kernel only ever lowers it. `rt mtu` knows about learnt path MTUs, but on the way into the LAN it would be
    the LAN's: there the line's own MTU is written out.
    """
    if not uplinks:
        return []
    out = _interfaces([uplink.interface for uplink in uplinks], "oifname")
    rules: list[Rule] = [[out, _syn(), _segment_size({"rt": {"key": "mtu"}})]]
    for uplink in uplinks:
        fact = facts.uplinks.get(uplink.name)
        if fact is not None and fact.ifindex is not None and fact.mtu < _ETHERNET_MTU:
            for protocol, headers in (("ipv4", _HEADERS4), ("ipv6", _HEADERS6)):
                arriving = [_is(_meta("iifname"), uplink.interface), _is(_meta("nfproto"), protocol)]
                rules.append([*arriving, _syn(), _segment_size(fact.mtu - headers)])
    return rules


def _postrouting(uplinks: list[UplinkIntent], lan: Expression) -> list[Rule]:
    """Give LAN hosts' unconverted flows the line's address. Flows older than the table keep what they have."""
    if not uplinks:
        return []
    out = _interfaces([uplink.interface for uplink in uplinks], "oifname")
    return [[lan, out, _not({"&": [_CT_MARK, MARK_MASK]}, MARK_KEEP), {"masquerade": None}]]


def _pin_best(protocol: str, best: UplinkIntent | None) -> list[Rule]:
    if best is None:
        return []  # no line works: the main table decides, as without us
    return [[_is(_meta("nfproto"), protocol), *_pin(uplink_mark(best.slot), "pinned")]]


def _pin(mark: int, counter: str) -> Rule:
    return [_set(_CT_MARK, mark), _set(_META_MARK, mark), _count(counter), _ACCEPT]


def _deliver() -> Rule:
    return [_set(_META_MARK, MARK_INTERCEPT), _count("proxied"), _ACCEPT]


def _settled_socket() -> Rule:
    """Match an established socket of ours, whatever conntrack knows: it may have been flushed.

    `wildcard` keeps listeners out; on sockets in their handshake and in TIME_WAIT it matches nothing.
    """
    return [_any_socket(), _is({"socket": {"key": "wildcard"}}, 0)]


def _any_socket() -> Expression:
    """Match a socket of ours in any state; for flows that conntrack knows as intercepted, which no listener is."""
    return _is({"socket": {"key": "transparent"}}, 1)


def _reset() -> Expression:
    return {"reject": {"type": "tcp reset"}}


def _segment_size(value: Any) -> Expression:
    return {"mangle": {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": value}}


def _syn() -> Expression:
    return _is({"&": [_payload("tcp", "flags"), ["syn", "rst"]]}, "syn")


def _tcp_flags() -> Expression:
    return {"&": [_payload("tcp", "flags"), ["fin", "syn", "rst", "ack"]]}


def _destination(protocol: str) -> Expression:
    return {"concat": [_payload(protocol, "daddr"), _payload("tcp", "dport")]}


def _interfaces(names: Iterable[str], key: str = "iifname") -> Expression:
    found = sorted(names)
    return _is(_meta(key), found[0] if len(found) == 1 else {"set": found})


def _marked(where: Expression, mark: int) -> Expression:
    return _is({"&": [where, MARK_MASK]}, mark)


def _set(where: Expression, mark: int) -> Expression:
    """Write our bits of a mark, and no others."""
    return {"mangle": {"key": where, "value": {"|": [{"&": [where, _KEEP_BITS]}, mark]}}}


def _count(name: str) -> Expression:
    return {"counter": name}


def _meta(key: str) -> Expression:
    return {"meta": {"key": key}}


def _ct(key: str) -> Expression:
    return {"ct": {"key": key}}


def _payload(protocol: str, field: str) -> Expression:
    return {"payload": {"protocol": protocol, "field": field}}


def _is(left: Expression, right: Any) -> Expression:
    return {"match": {"op": "==", "left": left, "right": right}}


def _not(left: Expression, right: Any) -> Expression:
    return {"match": {"op": "!=", "left": left, "right": right}}


def _in(left: Expression, right: Any) -> Expression:
    return {"match": {"op": "in", "left": left, "right": right}}


def _chain(name: str, rules: list[Rule]) -> dict[str, Any]:
    return {"name": name, "rules": rules}


def _hooked(name: str, kind: str, hook: str, priority: int, rules: list[Rule]) -> dict[str, Any]:
    return {"name": name, "type": kind, "hook": hook, "prio": priority, "policy": "accept", "rules": rules}


def _prefix_sets(name: str, prefixes: Iterable[IPNetwork]) -> list[dict[str, Any]]:
    every = list(prefixes)
    four = collapse_addresses([prefix for prefix in every if isinstance(prefix, IPv4Network)])
    six = collapse_addresses([prefix for prefix in every if isinstance(prefix, IPv6Network)])
    return [
        {"name": f"{name}4", "type": "ipv4_addr", "flags": ["interval"], "elem": [_element(prefix) for prefix in four]},
        {"name": f"{name}6", "type": "ipv6_addr", "flags": ["interval"], "elem": [_element(prefix) for prefix in six]},
    ]


def _element(prefix: IPNetwork) -> Any:
    if prefix.prefixlen == prefix.max_prefixlen:
        return str(prefix.network_address)
    return {"prefix": {"addr": str(prefix.network_address), "len": prefix.prefixlen}}


def _refused_set(family: int) -> dict[str, Any]:
    """A destination that refused or did not answer; no `elem`, since its elements are added while running."""
    return {
        "name": f"refused{family}",
        "type": [f"ipv{family}_addr", "inet_service"],
        "flags": ["timeout"],
        "timeout": REFUSED_TIMEOUT_S,
        "size": REFUSED_MAX,
    }
