"""Health of uplinks and gateways as decided by `hagw.health` and used by plan, policy and status."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

UplinkState = Literal["up", "suspect", "down", "disabled"]
MptcpState = Literal["unknown", "ok", "stripped", "join-stripped"]
GatewayReach = Literal["up", "down", "unknown"]
# What data caps leave of a line: everything; what the others cannot carry; nothing while another one works; the same,
# and slowly; nothing.
CapStage = Literal["normal", "overflow", "standby", "throttle", "cut"]


@dataclass(frozen=True, slots=True)
class UplinkHealth:
    """`suspect`: subflows are withdrawn at once, reversible, no outage yet. RTT is the smoothed echo RTT.

    `rtt_floor_ms` is the line's round trip without load: what it was at best lately, while the other rises with queues.
    Loss and jitter are of the round trip, and of each direction where the gateway tells what it received. `broken` are
    the address families (4 or 6) that lead nowhere although the other one works, each with its reason.
    """

    state: UplinkState
    reason: str = ""
    rtt_ms: float | None = None
    loss: float | None = None
    rtt_floor_ms: float | None = None
    jitter_ms: float | None = None
    jitter_up_ms: float | None = None
    jitter_down_ms: float | None = None
    loss_up: float | None = None
    loss_down: float | None = None
    cap: CapStage = "normal"
    broken: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MptcpHealth:
    """What Multipath TCP meets on a line, and how often; `at` is CLOCK_MONOTONIC of the newest evidence.

    `capable_*` count connections begun over it, `joins_*` its subflows: established, never established, ended by
    themselves.
    """

    state: MptcpState = "unknown"
    reason: str = ""
    at: float | None = None
    capable_ok: int = 0
    capable_failed: int = 0
    joins_ok: int = 0
    joins_failed: int = 0
    joins_lost: int = 0


@dataclass(frozen=True, slots=True)
class GatewayHealth:
    """`ipv6` says whether the gateway told us that it can reach IPv6 servers; None = it did not say.

    One that is `draining` or `overloaded` said so itself: it answers, but takes no new flows.
    """

    reach: GatewayReach
    reason: str = ""
    rtt_ms: float | None = None
    ipv6: bool | None = None
    clock_offset_s: float | None = None  # gateway's clock minus our CLOCK_BOOTTIME, from authenticated echoes
    rtt_floor_ms: float | None = None
    draining: bool = False
    overloaded: bool = False
