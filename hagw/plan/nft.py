"""Policy to the one nftables table of a CPE, as the JSON of libnftables-json(5).

What the table does with a packet, in the order of chain `prerouting` (after conntrack, before NAT and routing):

1. From an uplink: a new flow gets that uplink's mark, so that its answers leave where it came in. What arrives for
   a connection that we terminate, and a reset for a host's connection that conntrack does not know, is dropped:
   while somebody had our table removed, the host's packets went to the server as they were, and the server, which
   has never heard of them, answers so when the table is back. Nothing else is done with packets from uplinks, nor
   with those from interfaces that are neither uplink nor LAN.
2. From the LAN: packets of connections we proxy are delivered locally. They are known by their socket, so a
   connection older than the table, or one in the opposite direction, can never be taken for one.
3. Flows with a mark go where the mark says, for all their life.
4. What is for this machine or for a connected network is none of our business.
5. New TCP connections (nothing but SYN set) are handed to the listener. `tproxy` comes first and the mark second in
   the rule: when nobody listens, `tproxy` ends the rule before the mark is set, and the packet goes on to 7.
6. What remains of flows older than the table is marked to be left alone. An intercepted connection that has lost
   its socket (its worker died) is reset: the server never heard of it. The IPv4 stack would not do that by itself
   for an address that is not the machine's own.
7. Everything new is pinned to an uplink, by the owner's rules (`plan/steer.py`) or to the best one: conntrack remembers
   it, so that a flow keeps its line and its source address when another line becomes the best one.

The sets `refused4`, `refused6` and those of `plan/named.py` are filled while running and survive when the rules are
replaced. Chains hold no state of their own: replacing all rules in one transaction is invisible to traffic.

The machine's own trial of all this enters by `lo`, marked: it meets the rules of 5 and nothing else of this.

What comes from uplinks to the machine or through it is judged by the chains of `plan/firewall.py`; what a line whose
data cap is used up may still carry, by those of `plan/capped.py`.
"""

import json
from collections.abc import Mapping
from ipaddress import ip_network
from types import MappingProxyType
from typing import Any, Final

from hagw.model.facts import Facts
from hagw.model.health import UplinkHealth
from hagw.model.ids import MARK_INTERCEPT, MARK_KEEP, MARK_MASK, PORT_TPROXY, uplink_mark
from hagw.model.intent import CpeIntent, UplinkIntent
from hagw.model.resources import Family, NftTable
from hagw.plan import capped, firewall, named, own_dns
from hagw.plan.expressions import (
    ACCEPT,
    CT_MARK,
    META_MARK,
    RETURN,
    Expression,
    Rule,
    carries,
    chain,
    count,
    ct,
    destination_port,
    differ,
    equal,
    hooked,
    interfaces,
    marked,
    meta,
    payload,
    prefix_sets,
    reset,
    segment_size,
    set_mark,
    syn,
    tcp_flags,
    within,
)
from hagw.plan.ranking import existing
from hagw.plan.steer import COUNTERS as COUNTERS_OF_STEER
from hagw.plan.steer import Usable, pin, steer
from hagw.policy.schedule import awake

FAMILIES: Final[tuple[Family, Family]] = (4, 6)
REFUSED_TIMEOUT_S: Final = 30
REFUSED_MAX: Final = 16_384
COUNTERS: Final = (
    "intercepted4",
    "intercepted6",
    "arrived4",
    "arrived6",
    "proxied",
    "pinned",
    "kept",
    "inbound",
    "bypassed",
    "refused",
    "orphaned",
    "strays",
    *COUNTERS_OF_STEER,
    *firewall.COUNTERS,
)

# Never worth intercepting, whatever the machine's own prefixes are: loopback, link-local, multicast, "this network".
_ALWAYS_LOCAL: Final = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "::/127", "fe80::/10", "ff00::/8")
_ETHERNET_MTU: Final = 1500
_BEHIND_ALL: Final = 1000  # firewalls filter at 0 or a little later, nat is at 100
_HEADERS4: Final = 40
_HEADERS6: Final = 60


def cpe_table(
    intent: CpeIntent,
    facts: Facts,
    *,
    usable: Usable,
    intercept4: bool,
    intercept6: bool,
    healthy: frozenset[str] = frozenset(),
    health: Mapping[str, UplinkHealth] = MappingProxyType({}),
) -> NftTable:
    """Build the table. `usable` are the uplinks that can carry a family now, best first, `healthy` all that are up."""
    uplinks = [uplink for uplink in intent.uplinks if uplink.enabled]
    lan = interfaces(intent.lan_interfaces)
    guarded = firewall.guarded(intent.uplinks, facts)
    lines = existing(intent, facts)
    intercepted = [family for family, is_on in zip(FAMILIES, (intercept4, intercept6), strict=True) if is_on]
    chains = [
        chain("intercept", _intercept(intercept4, intercept6)),
        chain("steer", steer(awake(intent.rules, facts.local_time), usable, healthy, lines, intercepted)),
        *firewall.chains(intent.firewall, intent.uplinks),
        hooked("prerouting", "filter", "prerouting", -150, _prerouting(uplinks, lan)),
        hooked("input", "filter", "input", 0, [*_input(), *firewall.input_jumps(guarded)]),
        hooked("arrived", "filter", "input", _BEHIND_ALL, _arrived()),
        hooked("forward", "filter", "forward", -150, [*_forward(uplinks, facts), *firewall.forward_jumps(guarded)]),
        chain(own_dns.CHAIN, own_dns.pins(uplinks, facts, healthy, usable)),
        hooked("output", "route", "output", -150, own_dns.output(uplinks)),
        hooked("postrouting", "nat", "postrouting", 100, _postrouting(uplinks, lan)),
        *capped.chains(intent, health),
    ]
    local = [*facts.local_prefixes, *(ip_network(text) for text in _ALWAYS_LOCAL)]
    sets = [
        *prefix_sets("local", local),
        *prefix_sets("bypass", intent.bypass),
        *(_refused_set(family) for family in (4, 6)),
        *named.sets(intent.rules),
        firewall.settling_set(),
    ]
    table = {"counters": list(COUNTERS), "sets": sets, "chains": chains}
    return NftTable(json.dumps(table, separators=(",", ":")))


def _prerouting(uplinks: list[UplinkIntent], lan: Expression) -> list[Rule]:
    marks = [uplink_mark(uplink.slot) for uplink in uplinks]
    return [
        *_strays(uplinks),
        *(_inbound(uplink) for uplink in uplinks),
        _trial(),
        [differ(meta("iifname"), lan["match"]["right"]), RETURN],
        [carries("tcp"), *_settled_socket(), *_deliver()],
        [marked(CT_MARK, MARK_INTERCEPT), _any_socket(), *_deliver()],
        [within(ct("state"), ["invalid", "untracked"]), RETURN],
        *([marked(CT_MARK, mark), set_mark(META_MARK, mark), ACCEPT] for mark in (*marks, MARK_KEEP)),
        [equal({"fib": {"result": "type", "flags": ["daddr"]}}, {"set": ["local", "broadcast", "multicast"]}), RETURN],
        [equal(payload("ip", "daddr"), "@local4"), RETURN],
        [equal(payload("ip6", "daddr"), "@local6"), RETURN],
        [equal(tcp_flags(), "syn"), within(ct("state"), "new"), {"jump": {"target": "intercept"}}],
        # A port used again: of what was reset a moment ago conntrack keeps the entry, and calls it established.
        [equal(tcp_flags(), "syn"), marked(CT_MARK, MARK_INTERCEPT), {"jump": {"target": "intercept"}}],
        [marked(CT_MARK, MARK_INTERCEPT), carries("tcp"), count("orphaned"), reset()],
        [within(ct("state"), ["established", "related"]), marked(CT_MARK, 0), *pin(MARK_KEEP, "kept")],
        [differ(tcp_flags(), "syn"), within(ct("state"), "new"), marked(CT_MARK, 0), *pin(MARK_KEEP, "kept")],
        [{"jump": {"target": "steer"}}],
    ]


def _trial() -> Rule:
    """Treat as a LAN host's what this machine sends itself with the mark of what is intercepted: `control.lan_trial`.

    Only who may change this table can set a mark, and such a packet never leaves the machine.
    """
    taken = marked(META_MARK, MARK_INTERCEPT)
    return [equal(meta("iifname"), "lo"), taken, equal(tcp_flags(), "syn"), {"jump": {"target": "intercept"}}]


def _strays(uplinks: list[UplinkIntent]) -> list[Rule]:
    """Drop what servers answer to packets of LAN hosts that left as they were."""
    if not uplinks:
        return []
    arriving = interfaces([uplink.interface for uplink in uplinks])
    is_reset = equal({"&": [payload("tcp", "flags"), "rst"]}, "rst")
    unknown = within(ct("state"), ["invalid", "new", "untracked"])
    forwarded = differ({"fib": {"result": "type", "flags": ["daddr"]}}, "local")
    return [
        [arriving, marked(CT_MARK, MARK_INTERCEPT), *_drop("strays")],
        [arriving, is_reset, unknown, forwarded, *_drop("strays")],
    ]


def _inbound(uplink: UplinkIntent) -> Rule:
    """Mark a flow that begins on an uplink, unless it is marked already (an answer of one of ours never is new)."""
    return [
        equal(meta("iifname"), uplink.interface),
        within(ct("state"), "new"),
        marked(CT_MARK, 0),
        set_mark(CT_MARK, uplink_mark(uplink.slot)),
        count("inbound"),
    ]


def _intercept(intercept4: bool, intercept6: bool) -> list[Rule]:
    """Rules for pure SYNs of new connections; returning leaves them to be forwarded."""
    rules: list[Rule] = [
        [equal(payload("ip", "daddr"), "@bypass4"), count("bypassed"), RETURN],
        [equal(payload("ip6", "daddr"), "@bypass6"), count("bypassed"), RETURN],
        [equal(destination_port("ip"), "@refused4"), count("refused"), RETURN],
        [equal(destination_port("ip6"), "@refused6"), count("refused"), RETURN],
    ]
    if intercept4:
        rules.append(_tproxy("ipv4", "ip", "127.0.0.1", "intercepted4"))
    if intercept6:
        rules.append(_tproxy("ipv6", "ip6", "::1", "intercepted6"))
    return rules


def _tproxy(protocol: str, family: str, listener: str, counter: str) -> Rule:
    """Hand a SYN to the listener. The order matters: nothing behind `tproxy` happens when nobody listens."""
    return [
        equal(meta("nfproto"), protocol),
        carries("tcp"),
        {"tproxy": {"family": family, "addr": listener, "port": PORT_TPROXY}},
        set_mark(META_MARK, MARK_INTERCEPT),
        set_mark(CT_MARK, MARK_INTERCEPT),
        count(counter),
        ACCEPT,
    ]


def _input() -> list[Rule]:
    """Nobody speaks to the transparent listener's port itself."""
    return [
        [
            differ(meta("iifname"), "lo"),
            equal(payload("tcp", "dport"), PORT_TPROXY),
            differ({"&": [META_MARK, MARK_MASK]}, MARK_INTERCEPT),
            {"drop": None},
        ]
    ]


def _arrived() -> list[Rule]:
    """Count the intercepted SYNs that no other input chain has dropped: `control.arrivals` compares."""
    taken = equal({"&": [META_MARK, MARK_MASK]}, MARK_INTERCEPT)
    ways = (("ipv4", "arrived4"), ("ipv6", "arrived6"))
    return [[taken, equal(tcp_flags(), "syn"), equal(meta("nfproto"), protocol), count(way)] for protocol, way in ways]


def _forward(uplinks: list[UplinkIntent], facts: Facts) -> list[Rule]:
    """Clamp the segment size of unconverted TCP to what the lines carry: both ends' announcements.

    The kernel only ever lowers it. `rt mtu` knows about learnt path MTUs, but on the way into the LAN it would be
    the LAN's: there the line's own MTU is written out.
    """
    if not uplinks:
        return []
    out = interfaces([uplink.interface for uplink in uplinks], "oifname")
    rules: list[Rule] = [[out, syn(), segment_size({"rt": {"key": "mtu"}})]]
    for uplink in uplinks:
        fact = facts.uplinks.get(uplink.name)
        if fact is not None and fact.ifindex is not None and fact.mtu < _ETHERNET_MTU:
            for protocol, headers in (("ipv4", _HEADERS4), ("ipv6", _HEADERS6)):
                arriving = [equal(meta("iifname"), uplink.interface), equal(meta("nfproto"), protocol)]
                rules.append([*arriving, syn(), segment_size(fact.mtu - headers)])
    return rules


def _postrouting(uplinks: list[UplinkIntent], lan: Expression) -> list[Rule]:
    """Give LAN hosts' unconverted flows a source of the line's. Flows older than the table keep what they have.

    Where the line's own IPv6 prefix is known, a host that has an address out of it keeps it, and any other has its
    own bits behind that prefix. Else all share the line's address.
    """
    if not uplinks:
        return []
    managed = differ({"&": [CT_MARK, MARK_MASK]}, MARK_KEEP)
    out = interfaces([uplink.interface for uplink in uplinks], "oifname")
    delegated = [rule for uplink in uplinks for rule in _delegated(uplink, lan, managed)]
    return [*delegated, [lan, out, managed, {"masquerade": None}], *own_dns.source(uplinks)]


def _delegated(uplink: UplinkIntent, lan: Expression, managed: Expression) -> list[Rule]:
    """Have hosts use the prefix that leads to us over the line (NPTv6, but remembered by conntrack)."""
    if uplink.prefix6 is None:
        return []
    prefix = {"prefix": {"addr": str(uplink.prefix6.network_address), "len": uplink.prefix6.prefixlen}}
    leaving = [lan, equal(meta("oifname"), uplink.interface), managed, equal(meta("nfproto"), "ipv6")]
    translate = {"snat": {"family": "ip6", "addr": prefix, "flags": "netmap", "type_flags": "prefix"}}
    return [[*leaving, equal(payload("ip6", "saddr"), prefix), ACCEPT], [*leaving, translate]]


def _drop(counter: str) -> Rule:
    return [count(counter), {"drop": None}]


def _deliver() -> Rule:
    return [set_mark(META_MARK, MARK_INTERCEPT), count("proxied"), ACCEPT]


def _settled_socket() -> Rule:
    """Match an established socket of ours, whatever conntrack knows: it may have been flushed.

    `wildcard` keeps listeners out; on sockets in their handshake and in TIME_WAIT it matches nothing.
    """
    return [_any_socket(), equal({"socket": {"key": "wildcard"}}, 0)]


def _any_socket() -> Expression:
    """Match a socket of ours in any state; for flows that conntrack knows as intercepted, which no listener is."""
    return equal({"socket": {"key": "transparent"}}, 1)


def _refused_set(family: int) -> dict[str, Any]:
    """A destination that refused or did not answer; no `elem`, since its elements are added while running."""
    return {
        "name": f"refused{family}",
        "type": [f"ipv{family}_addr", "inet_service"],
        "flags": ["timeout"],
        "timeout": REFUSED_TIMEOUT_S,
        "size": REFUSED_MAX,
    }
