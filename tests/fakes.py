"""In-memory stand-ins for the ports of the control plane, and a small configuration for them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from hagw.control.drift import Drift
from hagw.control.ports import Interception, Preview, UplinkHealths
from hagw.control.status import StatusInputs
from hagw.control.workers import WorkerReport
from hagw.errors import HagwError
from hagw.model.facts import Facts, UplinkFacts
from hagw.model.health import GatewayHealth, UplinkHealth
from hagw.model.intent import (
    CpeIntent,
    CustomerIntent,
    GatewayIntent,
    HagIntent,
    Intent,
    IPAddress,
    PortalIntent,
    UplinkIntent,
)
from hagw.model.resources import KernelState

FAKE_WORKER = Path(__file__).parent / "fake_worker.py"

CPE = CpeIntent(
    lan_interfaces=("lan0",),
    uplinks=(
        UplinkIntent("dsl", "dsl", "dsl0", slot=1),
        UplinkIntent("lte", "wwan", "lte0", slot=2, metered=True),
    ),
    gateways=(GatewayIntent("hag1", (IPv4Address("198.51.100.1"),), 5124, 5124, "home", bytes(32)),),
)
HAG = HagIntent(
    listen=(IPv4Address("0.0.0.0"),),
    port=5124,
    probe_port=5124,
    control_port=5125,
    customers=(CustomerIntent("home", bytes(32)),),
)
FACTS = Facts(
    uplinks={
        "dsl": UplinkFacts("dsl", 3, True, True, IPv4Address("10.1.0.2"), gateway4=IPv4Address("10.1.0.1")),
        "lte": UplinkFacts("lte", 4, True, True, IPv4Address("10.2.0.2"), onlink4=True),
    },
    congestion_controls=("cubic", "bbr"),
)
ALL_UP = {"dsl": UplinkHealth("up", rtt_ms=24.0, loss=0.0), "lte": UplinkHealth("up", rtt_ms=50.0, loss=0.01)}


@dataclass
class FakeKernel:
    """A kernel that remembers what it was asked for."""

    now: Facts = FACTS
    held: Interception = field(default_factory=Interception)
    wanted: list[Interception] = field(default_factory=list)
    refused: list[tuple[IPAddress, int, float]] = field(default_factory=list)
    failure: HagwError | None = None
    named: dict[str, dict[IPAddress, float]] = field(default_factory=dict)
    pass_s: float = 0.0
    is_changed: bool = False
    begun: int = 0
    intents: list[Intent] = field(default_factory=list)

    def use(self, intent: Intent) -> None:
        self.intents.append(intent)

    async def preview(self, intent: Intent, uplinks: UplinkHealths, interception: Interception) -> Preview:
        return Preview(self.now, {}, {}, ())

    def verified(self) -> KernelState:
        return {}

    async def facts(self) -> Facts:
        return self.now

    async def interception(self) -> Interception:
        return self.held

    async def reconcile(self, facts: Facts, uplinks: UplinkHealths, interception: Interception) -> int:
        self.begun += 1
        await asyncio.sleep(self.pass_s)
        if self.failure is not None:
            raise self.failure
        self.wanted.append(interception)
        steps = int(interception != self.held)
        self.held = interception
        return steps

    def drift(self) -> Drift:
        return Drift()

    async def is_changed_unannounced(self) -> bool:
        changed, self.is_changed = self.is_changed, False
        return changed

    async def counters(self) -> Mapping[str, int]:
        return {"allowed": 1, "blocked_input": 2, "blocked_forward": 3}

    async def add_named(self, elements: Mapping[str, Mapping[IPAddress, float]]) -> None:
        if self.failure is not None:
            raise self.failure
        for name, own in elements.items():
            self.named.setdefault(name, {}).update(own)

    async def add_refused(self, address: IPAddress, port: int, timeout_s: float) -> None:
        self.refused.append((address, port, timeout_s))


@dataclass(frozen=True)
class Carried:
    """What an uplink carries."""

    bytes_down: int
    bytes_up: int
    down_bps: float
    up_bps: float
    probe_bytes: int = 0


@dataclass
class FakeHealth:
    """Health as the test sets it."""

    lines: Mapping[str, UplinkHealth] = field(default_factory=lambda: dict(ALL_UP))
    reach: dict[str, GatewayHealth] = field(default_factory=lambda: {"hag1": GatewayHealth("up", rtt_ms=20.0)})
    heard: dict[str, float] = field(default_factory=dict)
    reports: list[tuple[str, bool, str]] = field(default_factory=list)
    seen: list[Facts] = field(default_factory=list)
    portals: list[PortalIntent | None] = field(default_factory=list)
    updated: Sequence[UplinkIntent] = ()

    def update(self, uplinks: Sequence[UplinkIntent], facts: Facts, gateways: Sequence[GatewayIntent]) -> None:
        self.seen.append(facts)
        self.updated = uplinks

    def look_for_portals(self, portal_check: PortalIntent | None) -> None:
        self.portals.append(portal_check)

    def rates(self) -> Mapping[str, Carried]:
        return {}

    def uplinks(self) -> Mapping[str, UplinkHealth]:
        return self.lines

    def gateways(self) -> Mapping[str, GatewayHealth]:
        return self.reach

    def heard_at(self, gateway: str) -> float | None:
        return self.heard.get(gateway)

    def prove(self, gateway: str) -> None:
        """Nothing to prove here."""

    def report_gateway(self, gateway: str, answered: bool, reason: str) -> None:
        self.reports.append((gateway, answered, reason))


FLOW: dict[str, Any] = {
    "id": "w0-1",
    "client": "192.168.77.10",
    "client_port": 40000,
    "server": "203.0.113.10",
    "server_port": 443,
    "domain": "example.org",
    "path": "converted",
    "gateway": "hag1",
    "rule": "default",
    "mode": "load-balancing",
    "why": "no rule matches; all uplinks are shared",
    "state": "open",
    "bytes_down": 1_000_000,
    "bytes_up": 1_000,
    "by_uplink": {"dsl": {"down": 400_000, "up": 400}, "lte": {"down": 600_000, "up": 600}},
    "subflows": [
        {"uplink": "dsl", "state": "up", "backup": False, "rtt_ms": 24.0},
        {"uplink": "lte", "state": "up", "backup": False, "rtt_ms": 50.0},
    ],
    "started_s": 1.0,
}
WORKER = WorkerReport(
    0, 100, "running", "", True, False, 1, 7, {"flows_active": 3, "pool": {"hag1": 4}, "listening": True}
)
STATUS_INPUTS = StatusInputs(
    intent=CPE,
    version="0.1.0",
    uplinks=ALL_UP,
    gateways={"hag1": GatewayHealth("up", rtt_ms=20.0)},
    traffic={"dsl": Carried(1000, 200, 8000.4, 1600.0)},
    workers=(WORKER, replace(WORKER, index=1)),
    interception=Interception(ipv4=True),
)
