"""From intent, facts and health to the frozen snapshot that workers decide by."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from hagw.control.ports import GatewayHealths, UplinkHealths
from hagw.model.facts import Facts, UplinkFacts
from hagw.model.health import GatewayHealth, MptcpHealth, UplinkHealth
from hagw.model.intent import CpeIntent, CustomerIntent, GatewayIntent, HagIntent, UplinkIntent
from hagw.model.snapshot import (
    CpeSnapshot,
    CustomerView,
    EgressView,
    GatewayView,
    HagSnapshot,
    LearnedView,
    Snapshot,
    UplinkView,
)
from hagw.model.told import Told
from hagw.policy.egress import Block
from hagw.policy.schedule import asleep

NO_INTERFACE = UplinkFacts(name="", ifindex=None)
UNKNOWN_UPLINK = UplinkHealth("down", "not measured yet")
UNKNOWN_GATEWAY = GatewayHealth("unknown", "not heard of yet")


def cpe_snapshot(
    intent: CpeIntent,
    facts: Facts,
    uplinks: UplinkHealths,
    gateways: GatewayHealths,
    heard_at: Mapping[str, float | None],
    mptcp: Mapping[str, MptcpHealth] = MappingProxyType({}),
    learned: tuple[LearnedView, ...] = (),
    told: Mapping[str, Told] = MappingProxyType({}),
    workers: int = 1,
) -> CpeSnapshot:
    """Return what CPE workers need to know, as generation 0; uplinks without an interface are left out."""
    return CpeSnapshot(
        generation=0,
        uplinks=tuple(
            _uplink(up, found, uplinks.get(up.name, UNKNOWN_UPLINK), mptcp.get(up.name, MptcpHealth()))
            for up in intent.uplinks
            if (found := facts.uplinks.get(up.name, NO_INTERFACE)).ifindex is not None
        ),
        gateways=tuple(
            _gateway(gw, gateways.get(gw.name, UNKNOWN_GATEWAY), heard_at.get(gw.name), told.get(gw.name, Told()))
            for gw in intent.gateways
        ),
        rules=intent.rules,
        pool=intent.pool,
        limits=intent.limits,
        congestion_control=congestion_control(intent.congestion_control, facts),
        asleep=asleep(intent.rules, facts.local_time),
        learned=learned,
        workers=workers,
    )


def hag_snapshot(
    intent: HagIntent,
    facts: Facts,
    registered: tuple[CustomerIntent, ...] = (),
    workers: int = 1,
    *,
    draining: bool = False,
    egress: Mapping[str, tuple[Block, ...]] = MappingProxyType({}),
) -> HagSnapshot:
    """Return what HAG workers need to know, as generation 0.

    Of two customers with one name, the configuration's is meant, not the registered one.
    """
    configured = {customer.name for customer in intent.customers}
    known = [*intent.customers, *(each for each in registered if each.name not in configured)]
    return HagSnapshot(
        generation=0,
        listen=tuple(str(a) for a in intent.listen),
        port=intent.port,
        probe_port=intent.probe_port,
        customers=tuple(
            _customer(each, egress.get(each.name, ()), accounted=each.name not in configured) for each in known
        ),
        allow=tuple(str(p) for p in intent.destinations.allow),
        deny=tuple(str(p) for p in intent.destinations.deny),
        own_addresses=tuple(str(a) for a in facts.own_addresses),
        server_mptcp=intent.destinations.server_mptcp,
        server_mptcp_prefixes=tuple(str(p) for p in intent.destinations.server_mptcp_prefixes),
        limits=intent.limits,
        congestion_control=congestion_control(intent.congestion_control, facts),
        ipv6_egress=facts.ipv6_egress,
        workers=workers,
        draining=draining,
        bind_cookies=intent.bind_cookies == "on",
        bind_renewing=intent.bind_cookies == "auto",
        egress_families=tuple(sorted({address.version for address in intent.egress.addresses})),
    )


def _customer(customer: CustomerIntent, egress: tuple[Block, ...], *, accounted: bool) -> CustomerView:
    return CustomerView(
        name=customer.name,
        key=customer.key.hex(),
        sources=tuple(str(prefix) for prefix in customer.sources),
        old_key="" if customer.old_key is None else customer.old_key.hex(),
        allow=tuple(str(prefix) for prefix in customer.allow),
        deny=tuple(str(prefix) for prefix in customer.deny),
        limits=customer.limits,
        blocked=customer.blocked,
        accounted=accounted,
        egress=tuple(EgressView(str(block.address), block.first, block.last) for block in egress),
    )


def congestion_control(wanted: str | None, facts: Facts) -> str:
    """Return the wanted congestion control, else bbr where the kernel has it, else cubic."""
    if wanted is not None:
        return wanted
    return "bbr" if "bbr" in facts.congestion_controls else "cubic"


def decides_alike(a: Snapshot, b: Snapshot) -> bool:
    """Say whether two snapshots differ in nothing but their generation and what is measured all the time.

    Such a difference can wait a moment; a new snapshot for every echo would be noise.
    """
    return _settled(a) == _settled(b)


def _settled(snapshot: Snapshot) -> Snapshot:
    if isinstance(snapshot, HagSnapshot):
        return replace(snapshot, generation=0)
    return replace(
        snapshot,
        generation=0,
        learned=(),
        uplinks=tuple(replace(u, rtt_ms=None, rtt_floor_ms=None, mptcp_at=None) for u in snapshot.uplinks),
        gateways=tuple(
            replace(
                g,
                rtt_ms=None,
                rtt_floor_ms=None,
                heard_at=None,
                clock_offset_s=None if g.clock_offset_s is None else 0.0,
            )
            for g in snapshot.gateways
        ),
    )


def _uplink(up: UplinkIntent, found: UplinkFacts, health: UplinkHealth, mptcp: MptcpHealth) -> UplinkView:
    assert found.ifindex is not None
    is_routed4 = (found.gateway4 is not None or found.onlink4) and 4 not in health.broken
    is_routed6 = (found.gateway6 is not None or found.onlink6) and 6 not in health.broken
    return UplinkView(
        slot=up.slot,
        name=up.name,
        interface=found.interface or up.interface,
        ifindex=found.ifindex,
        address4=str(found.address4) if found.address4 is not None and is_routed4 else None,
        address6=str(found.address6) if found.address6 is not None and is_routed6 else None,
        state=health.state if up.enabled else "disabled",
        reason=health.reason,
        rtt_ms=health.rtt_ms,
        rtt_floor_ms=health.rtt_floor_ms,
        metered=up.metered,
        cost=up.cost,
        rate_down_bps=up.rate_down_bps,
        rate_up_bps=up.rate_up_bps,
        mptcp=mptcp.state,
        mptcp_reason=mptcp.reason,
        mptcp_at=mptcp.at,
        cap=health.cap,
    )


def _gateway(gateway: GatewayIntent, health: GatewayHealth, heard_at: float | None, told: Told) -> GatewayView:
    return GatewayView(
        name=gateway.name,
        addresses=tuple(str(a) for a in gateway.addresses),
        port=gateway.port,
        customer=gateway.customer,
        key=gateway.key.hex(),
        reach=health.reach,
        reason=health.reason,
        rtt_ms=health.rtt_ms,
        heard_at=heard_at,
        clock_offset_s=health.clock_offset_s,
        weight=gateway.weight,
        rtt_floor_ms=health.rtt_floor_ms,
        draining=health.draining,
        overloaded=health.overloaded,
        blocked=told.blocked,
        limits=told.limits,
    )
