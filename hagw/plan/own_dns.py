"""The gateway's own DNS queries leave over a line that works, whatever line their socket was made for.

A datagram socket keeps the source address that it was given when it was connected: once that line has died, its
queries would leave over it for ever. So a query is pinned like a LAN host's flow, and gets its line's address on the
way out. A query from a working line's own address keeps that line: somebody may have meant it. One whose socket is
bound to an interface leaves there, as the routes of the other lines do not fit it.
"""

from typing import Final

from hagw.model.facts import Facts
from hagw.model.ids import uplink_mark
from hagw.model.intent import UplinkIntent
from hagw.plan.expressions import (
    ACCEPT,
    CT_MARK,
    META_MARK,
    RETURN,
    Expression,
    Rule,
    equal,
    interfaces,
    marked,
    meta,
    payload,
    set_mark,
)
from hagw.plan.steer import Usable

CHAIN: Final = "own_dns"
_PORT: Final = 53


def output(uplinks: list[UplinkIntent]) -> list[Rule]:
    """Return the rules of the hook for the machine's own packets, which are routed again when their mark changes."""
    if not uplinks:
        return []
    return [[interfaces((uplink.interface for uplink in uplinks), "oifname"), _query(), {"jump": {"target": CHAIN}}]]


def pins(
    uplinks: list[UplinkIntent],
    facts: Facts,
    healthy: frozenset[str],
    usable: Usable,
) -> list[Rule]:
    """Return the rules that choose a query's line. `healthy` are the uplinks that are up, `usable` the best first."""
    rules: list[Rule] = [[equal(payload("ip", "daddr"), "@local4"), RETURN]]
    rules.append([equal(payload("ip6", "daddr"), "@local6"), RETURN])
    for uplink in uplinks:
        mark = uplink_mark(uplink.slot)
        rules.append([marked(CT_MARK, mark), set_mark(META_MARK, mark), ACCEPT])
    for uplink in uplinks:
        fact = facts.uplinks.get(uplink.name)
        if fact is not None and uplink.name in healthy:
            for protocol, address in (("ip", fact.address4), ("ip6", fact.address6)):
                if address is not None:
                    rules.append([equal(payload(protocol, "saddr"), str(address)), *_pin(uplink)])
    for protocol, best in (("ipv4", usable[4]), ("ipv6", usable[6])):
        if best:
            rules.append([equal(meta("nfproto"), protocol), *_pin(best[0])])
    return rules


def source(uplinks: list[UplinkIntent]) -> list[Rule]:
    """Return the rule that gives a query that was led to another line that line's address."""
    out = interfaces((uplink.interface for uplink in uplinks), "oifname")
    own = equal({"fib": {"result": "type", "flags": ["saddr"]}}, "local")
    elsewhere = {"fib": {"result": "type", "flags": ["saddr", "oif"]}}
    return [[out, _query(), own, {"match": {"op": "!=", "left": elsewhere, "right": "local"}}, {"masquerade": None}]]


def _query() -> Expression:
    return equal(payload("udp", "dport"), _PORT)


def _pin(uplink: UplinkIntent) -> Rule:
    mark = uplink_mark(uplink.slot)
    return [set_mark(CT_MARK, mark), set_mark(META_MARK, mark), ACCEPT]
