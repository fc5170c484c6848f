"""What a worker needs to know, frozen: sent by the daemon as JSON, replaced as a whole, never edited.

A worker keeps working from its last snapshot when the daemon is away.
"""

from dataclasses import asdict, dataclass, field, fields, replace
from ipaddress import ip_address, ip_network
from typing import Any, Literal

from hagw.model.health import CapStage, GatewayReach, MptcpState, UplinkState
from hagw.model.intent import (
    CustomerLimits,
    FlowLimits,
    IPAddress,
    PoolIntent,
    RuleIntent,
    SendingIntent,
    ServerMptcp,
    TimeWindow,
    TrafficDescriptor,
)

Direction = Literal["down", "up"]


@dataclass(frozen=True, slots=True)
class UplinkView:
    """An uplink as a worker may use it. Addresses as text, None where the family is not usable."""

    slot: int
    name: str
    interface: str
    ifindex: int
    address4: str | None
    address6: str | None
    state: UplinkState
    reason: str = ""
    rtt_ms: float | None = None
    metered: bool = False
    cost: int = 0
    rate_down_bps: int | None = None
    rate_up_bps: int | None = None
    rtt_floor_ms: float | None = None
    mptcp: MptcpState = "unknown"  # what some worker found out at CLOCK_MONOTONIC `mptcp_at`
    mptcp_reason: str = ""
    mptcp_at: float | None = None
    cap: CapStage = "normal"  # what data caps leave of it; `reason` says which


@dataclass(frozen=True, slots=True)
class GatewayView:
    """A gateway as a worker may use it; `key` is hex. `heard_at` is CLOCK_MONOTONIC of the last proof of life.

    `clock_offset_s` is its wall clock minus our CLOCK_BOOTTIME, None = it has not told: our own wall clock may be wrong
    and may step, and has no part in it.
    """

    name: str
    addresses: tuple[str, ...]
    port: int
    customer: str
    key: str
    reach: GatewayReach
    reason: str = ""
    rtt_ms: float | None = None
    heard_at: float | None = None
    clock_offset_s: float | None = None
    weight: int = 100
    rtt_floor_ms: float | None = None
    draining: bool = False
    overloaded: bool = False
    blocked: str = ""  # why it takes no new connections of ours, as it said over the control channel
    limits: CustomerLimits = field(default_factory=CustomerLimits)  # what it allows us, as it said there


@dataclass(frozen=True, slots=True)
class LearnedView:
    """What some worker found out about a line in one direction; times are CLOCK_MONOTONIC, None = nothing.

    `full` = seen while the line was full: all it can carry. `harmful` says how it held up a connection. What speaks
    against the line counts from `doubted_at` until `doubted_until`.
    """

    uplink: str
    direction: Direction
    bps: float | None = None
    full: bool = False
    at: float | None = None
    harmful: str = ""
    harmful_at: float | None = None
    doubted_at: float | None = None
    doubted_until: float | None = None

    def merged(self, other: "LearnedView") -> "LearnedView":
        """Return the newer rate and the newer doubt of the two."""
        rate = self if (self.at or 0.0) >= (other.at or 0.0) else other
        doubt = self if (self.doubted_until or 0.0) >= (other.doubted_until or 0.0) else other
        return replace(doubt, bps=rate.bps, full=rate.full, at=rate.at)


@dataclass(frozen=True, slots=True)
class CpeSnapshot:
    """Everything a CPE worker decides by."""

    generation: int
    uplinks: tuple[UplinkView, ...]
    gateways: tuple[GatewayView, ...]
    rules: tuple[RuleIntent, ...]
    pool: PoolIntent
    limits: FlowLimits
    congestion_control: str
    asleep: tuple[str, ...] = ()  # names of rules outside their hours now
    learned: tuple[LearnedView, ...] = ()
    workers: int = 1  # that share what a gateway allows


@dataclass(frozen=True, slots=True)
class EgressView:
    """Where a customer's connections leave from: an own address, and its ports of it, both ends included."""

    address: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class CustomerView:
    """A customer as a HAG worker knows it; keys are hex ("" = none), prefixes text."""

    name: str
    key: str
    sources: tuple[str, ...] = ()
    old_key: str = ""
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    limits: CustomerLimits = field(default_factory=CustomerLimits)
    blocked: str = ""
    accounted: bool = False  # what it uses is kept by the registry
    egress: tuple[EgressView, ...] = ()  # one a family


@dataclass(frozen=True, slots=True)
class HagSnapshot:
    """Everything a HAG worker decides by."""

    generation: int
    listen: tuple[str, ...]
    port: int
    probe_port: int
    customers: tuple[CustomerView, ...]
    allow: tuple[str, ...]
    deny: tuple[str, ...]
    own_addresses: tuple[str, ...]
    server_mptcp: ServerMptcp
    server_mptcp_prefixes: tuple[str, ...]
    limits: FlowLimits
    congestion_control: str
    ipv6_egress: bool
    workers: int = 1  # that share a customer's limits
    draining: bool = False
    bind_cookies: bool = False  # of all customers that prove where they are
    egress_families: tuple[int, ...] = ()  # in which customers leave from blocks, and nobody from elsewhere
    bind_renewing: bool = False  # of those that renew it over the control channel


Snapshot = CpeSnapshot | HagSnapshot


def to_json(snapshot: Snapshot) -> dict[str, Any]:
    """Return the snapshot as JSON-ready values, with its role."""
    role = "cpe" if isinstance(snapshot, CpeSnapshot) else "hag"
    return {"role": role, **_plain(asdict(snapshot))}


def from_json(document: dict[str, Any]) -> Snapshot:
    """Rebuild a snapshot; keys unknown to this version are ignored, so that a newer daemon can talk to us."""
    if document["role"] == "cpe":
        return CpeSnapshot(
            generation=document["generation"],
            uplinks=tuple(_build(UplinkView, u) for u in document["uplinks"]),
            gateways=tuple(_gateway(g) for g in document["gateways"]),
            rules=tuple(_rule(r) for r in document["rules"]),
            pool=_build(PoolIntent, document["pool"]),
            limits=_build(FlowLimits, document["limits"]),
            congestion_control=document["congestion_control"],
            asleep=tuple(document.get("asleep", ())),
            learned=tuple(_build(LearnedView, entry) for entry in document.get("learned", ())),
            workers=document.get("workers", 1),
        )
    customers = tuple(_customer(c) for c in document["customers"])
    limits = _build(FlowLimits, document["limits"])
    hag: HagSnapshot = _build(HagSnapshot, {**document, "customers": customers, "limits": limits})
    return hag


def parse_address(text: str) -> IPAddress:
    """Parse an address written by `to_json`."""
    return ip_address(text)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _build(kind: type[Any], document: dict[str, Any]) -> Any:
    known = {field.name for field in fields(kind)}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in document.items() if k in known})


def _gateway(document: dict[str, Any]) -> GatewayView:
    limits = _build(CustomerLimits, document.get("limits", {}))
    gateway: GatewayView = _build(GatewayView, {**document, "limits": limits})
    return gateway


def _customer(document: dict[str, Any]) -> CustomerView:
    limits = _build(CustomerLimits, document.get("limits", {}))
    egress = tuple(_build(EgressView, block) for block in document.get("egress", ()))
    customer: CustomerView = _build(CustomerView, {**document, "limits": limits, "egress": egress})
    return customer


def _rule(document: dict[str, Any]) -> RuleIntent:
    traffic = document["traffic"]
    parsed = {
        "sources": tuple(ip_network(p) for p in traffic["sources"]),
        "destinations": tuple(ip_network(p) for p in traffic["destinations"]),
        "destination_ports": tuple((low, high) for low, high in traffic["destination_ports"]),
        "times": tuple(_build(TimeWindow, window) for window in traffic.get("times", ())),
    }
    return RuleIntent(
        name=document["name"],
        precedence=document["precedence"],
        traffic=_build(TrafficDescriptor, {**traffic, **parsed}),
        mode=document["mode"],
        uplinks=tuple(document["uplinks"]),
        standby=document.get("standby", "warm"),
        weights=tuple(document.get("weights", ())),
        quic=document.get("quic"),
        sending=None if document.get("sending") is None else _build(SendingIntent, document["sending"]),
    )
