"""What the kernel of a CPE must hold, given what the owner wants and what is true of the lines."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from hagw.model.facts import Facts
from hagw.model.health import UplinkHealth
from hagw.model.ids import (
    MARK_INTERCEPT,
    MARK_KEEP,
    PRIORITY_INTERCEPT,
    PRIORITY_KEEP,
    PRIORITY_LOCAL,
    PRIORITY_MARK_BASE,
    PRIORITY_OWN_BEST,
    PRIORITY_SOURCE_BASE,
    TABLE_BEST,
    TABLE_INTERCEPT,
    TABLE_MAIN,
    uplink_mark,
    uplink_table,
)
from hagw.model.intent import CpeIntent, UplinkIntent
from hagw.model.resources import (
    Address,
    Family,
    KernelState,
    LinkSetting,
    Resource,
    Route,
    Rule,
    Sysctl,
    state_of,
)
from hagw.plan.nft import cpe_table
from hagw.plan.ranking import existing, routable, usable
from hagw.policy import quic
from hagw.uplinks.interfaces import resolved

BRIDGE_SYSCTLS: Final = ("net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables")
ICMP_SYSCTLS: Final = ("net/ipv4/icmp_ratelimit", "net/ipv6/icmp/ratelimit")
FAMILIES: Final[tuple[Family, ...]] = (4, 6)


def desired(
    intent: CpeIntent,
    facts: Facts,
    health: Mapping[str, UplinkHealth],
    *,
    intercept4: bool,
    intercept6: bool,
) -> KernelState:
    """Return the state. Without interception everything is forwarded, pinned to the best uplink that works."""
    intent = resolved(intent, facts)
    intent = replace(intent, uplinks=tuple(uplink for uplink in intent.uplinks if uplink.interface))
    able = {family: usable(intent, facts, health, family) for family in FAMILIES}
    families: tuple[Family, ...] = FAMILIES if facts.ipv6 else (4,)
    table = cpe_table(
        intent,
        facts,
        usable=able,
        intercept4=intercept4,
        intercept6=intercept6,
        healthy=_healthy(intent, facts, health),
        health=health,
    )
    resources: list[Resource] = [*_sysctls(intent, facts), *_links(intent, facts), table]
    for family in families:
        resources += _common(family)
        for uplink in intent.uplinks:
            if uplink.enabled:
                resources += _uplink(uplink, facts, family)
        chosen = next(iter(able[family]), None)
        if chosen is not None:
            resources.append(_route(chosen, facts, family, TABLE_BEST))
    return state_of(*resources)


def _healthy(intent: CpeIntent, facts: Facts, health: Mapping[str, UplinkHealth]) -> frozenset[str]:
    """Return the uplinks that can carry something and that nobody doubts."""
    found = {uplink.name for family in FAMILIES for uplink in usable(intent, facts, health, family)}
    return frozenset(name for name in found if name not in health or health[name].state == "up")


def _common(family: Family) -> Iterator[Resource]:
    """Yield what does not depend on the lines."""
    yield Route(family, TABLE_INTERCEPT, "lo", kind="local")
    yield Rule(family, PRIORITY_INTERCEPT, TABLE_INTERCEPT, mark=MARK_INTERCEPT)
    yield Rule(family, PRIORITY_KEEP, TABLE_MAIN, mark=MARK_KEEP)
    # Before the rules by source address: an answer from a line's address to a LAN host belongs into the LAN.
    yield Rule(family, PRIORITY_LOCAL, TABLE_MAIN, incoming="lo", suppress_default=True)
    yield Rule(family, PRIORITY_OWN_BEST, TABLE_BEST, incoming="lo")


def _uplink(uplink: UplinkIntent, facts: Facts, family: Family) -> Iterator[Resource]:
    """Yield an uplink's route and rules. Health does not matter: probes need the way of a line that is down."""
    table = uplink_table(uplink.slot)
    yield Rule(family, PRIORITY_MARK_BASE + uplink.slot, table, mark=uplink_mark(uplink.slot))
    fact = facts.uplinks.get(uplink.name)
    if fact is None or not routable(fact, family):
        return
    yield _route(uplink, facts, family, table)
    address = fact.address4 if family == 4 else fact.address6
    yield Rule(family, PRIORITY_SOURCE_BASE + uplink.slot, table, source=address)


def _route(uplink: UplinkIntent, facts: Facts, family: Family, table: int) -> Route:
    fact = facts.uplinks[uplink.name]
    return Route(family, table, uplink.interface, via=fact.gateway4 if family == 4 else fact.gateway6)


def _links(intent: CpeIntent, facts: Facts) -> Iterator[LinkSetting | Address]:
    """Yield what the owner has hagw itself configure on the uplinks' interfaces."""
    for uplink in intent.uplinks:
        fact = facts.uplinks.get(uplink.name)
        if not uplink.enabled or fact is None or fact.ifindex is None:
            continue
        # What the driver refuses would keep everything behind it from being done.
        if uplink.mtu is not None and fact.mtu_min <= uplink.mtu <= (fact.mtu_max or uplink.mtu):
            yield LinkSetting(uplink.interface, "mtu", uplink.mtu)
        if uplink.addressing == "static":
            yield LinkSetting(uplink.interface, "up", 1)
        for address in uplink.addresses:
            # One that somebody else has set is used as it is, and stays theirs.
            if address.ip not in fact.foreign_addresses and (address.version == 4 or facts.ipv6):
                yield Address(uplink.interface, address)


def _sysctls(intent: CpeIntent, facts: Facts) -> Iterator[Sysctl]:
    yield Sysctl("net/mptcp/enabled", "1")
    # The path manager of a socket is chosen when it is made; ours are told about paths one by one.
    if "net/mptcp/pm_type" in facts.sysctls:
        yield Sysctl("net/mptcp/pm_type", "1")
    elif "net/mptcp/path_manager" in facts.sysctls:
        yield Sysctl("net/mptcp/path_manager", "userspace")
    if intent.mptcp_scheduler is not None and "net/mptcp/scheduler" in facts.sysctls:
        yield Sysctl("net/mptcp/scheduler", intent.mptcp_scheduler)
    # Else one firewalled SYN would switch MPTCP off for an hour.
    if "net/mptcp/blackhole_timeout" in facts.sysctls:
        yield Sysctl("net/mptcp/blackhole_timeout", "0")
    # Hands a dead worker's unaccepted connections to the others.
    if "net/ipv4/tcp_migrate_req" in facts.sysctls:
        yield Sysctl("net/ipv4/tcp_migrate_req", "1")
    # br_netfilter has a bridge run our table a layer too early: IP then forgets the socket that tproxy has found.
    for name in BRIDGE_SYSCTLS:
        if name in facts.sysctls:
            yield Sysctl(name, "0")
    # Else the kernel would hand a forwarded packet to the socket that an intercepted connection of the same ports has
    # left in TIME_WAIT, and drop it: for a minute such a port would not fail open. Rules both families.
    if "net/ipv4/tcp_early_demux" in facts.sysctls:
        yield Sysctl("net/ipv4/tcp_early_demux", "0")
    yield Sysctl("net/ipv4/ip_forward", "1")
    if facts.ipv6:
        yield Sysctl("net/ipv6/conf/all/forwarding", "1")
    # A browser opens a page's connections at once: an answer a second to each LAN host would leave most of its QUIC
    # waiting for a time-out. The kernel's bound for all hosts together (icmp_msgs_per_sec) stays.
    if quic.refuses(intent.rules, existing(intent, facts)):
        yield from (Sysctl(name, "0") for name in ICMP_SYSCTLS if name in facts.sysctls)
    for uplink in intent.uplinks:
        if uplink.enabled:
            yield from _uplink_sysctls(uplink, facts)


def _uplink_sysctls(uplink: UplinkIntent, facts: Facts) -> Iterator[Sysctl]:
    fact = facts.uplinks.get(uplink.name)
    if fact is None or fact.ifindex is None:
        return
    # Packets arrive on every line, the main table knows one default. The kernel takes the larger of this and
    # conf/all, and 2 (loose) is the largest: this alone decides.
    yield Sysctl(f"net/ipv4/conf/{uplink.interface}/rp_filter", "2")
    if uplink.addressing == "static":
        # Else removing an address takes along those that were added to its network later, whoever added them.
        yield Sysctl(f"net/ipv4/conf/{uplink.interface}/promote_secondaries", "1")
    if not facts.ipv6:
        return
    # A line that goes down and comes back has its addresses at once, not after DAD and the next advertisement.
    yield Sysctl(f"net/ipv6/conf/{uplink.interface}/keep_addr_on_down", "1")
    if fact.accepts_ra or uplink.addressing == "ra":
        # 2 = also while forwarding, which we switch on. Where somebody else handles advertisements it stays 0.
        yield Sysctl(f"net/ipv6/conf/{uplink.interface}/accept_ra", "2")
