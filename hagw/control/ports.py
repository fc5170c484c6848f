"""What the daemon needs of the kernel and of the observers: siblings meet only in the composition root."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hagw.control.drift import Drift
from hagw.model.facts import Facts
from hagw.model.health import GatewayHealth, UplinkHealth
from hagw.model.intent import GatewayIntent, Intent, IPAddress, PortalIntent, UplinkIntent
from hagw.model.resources import KernelState, Plan

UplinkHealths = Mapping[str, UplinkHealth]
GatewayHealths = Mapping[str, GatewayHealth]


@dataclass(frozen=True, slots=True)
class Interception:
    """What is taken from the LAN's new connections; all False = the gateway is a plain router."""

    ipv4: bool = False
    ipv6: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """What an intent would change in the kernel as it is now."""

    facts: Facts
    actual: KernelState
    desired: KernelState
    plan: Plan


class KernelPort(Protocol):
    """The machine's network state: facts out of it, the desired state into it."""

    def use(self, intent: Intent) -> None:
        """Work by another intent from the next call on."""

    async def preview(self, intent: Intent, uplinks: UplinkHealths, interception: Interception) -> Preview:
        """Read what this intent would change; writes nothing."""

    def verified(self) -> KernelState:
        """Return what the kernel held when it was last read and found as wanted."""

    async def facts(self) -> Facts:
        """Read what is true of the uplinks now."""

    async def interception(self) -> Interception:
        """Read what is intercepted now: an earlier daemon may have left it on."""

    async def reconcile(self, facts: Facts, uplinks: UplinkHealths, interception: Interception) -> int:
        """Make the kernel hold the desired state; return how many steps it took. Raise HagwError when it cannot."""

    def drift(self) -> Drift:
        """Return what others did to the kernel's state so far."""

    async def is_changed_unannounced(self) -> bool:
        """Tell whether others have changed what the kernel announces no change of. Raise HagwError."""

    async def counters(self) -> Mapping[str, int]:
        """Read the packets counted by each of the table's counters."""

    async def add_named(self, elements: Mapping[str, Mapping[IPAddress, float]]) -> None:
        """Put addresses into the table's sets of names, each for so many seconds."""

    async def add_refused(self, address: IPAddress, port: int, timeout_s: float) -> None:
        """Leave connections to this destination unintercepted for `timeout_s`."""


class Traffic(Protocol):
    """What an uplink carries: IP bytes since its interface was made, our own probes among them, and rates in bit/s."""

    @property
    def bytes_down(self) -> int: ...

    @property
    def bytes_up(self) -> int: ...

    @property
    def down_bps(self) -> float: ...

    @property
    def up_bps(self) -> float: ...

    @property
    def probe_bytes(self) -> int: ...


class HealthPort(Protocol):
    """What the observers think of uplinks and gateways."""

    def update(self, uplinks: Sequence[UplinkIntent], facts: Facts, gateways: Sequence[GatewayIntent]) -> None:
        """Take uplinks, their facts and the gateways as they are now; what was learnt is kept."""

    def look_for_portals(self, portal_check: PortalIntent | None) -> None:
        """Look for captive portals as this says from now on, None = never."""

    def uplinks(self) -> UplinkHealths:
        """Return the present health by uplink name."""

    def gateways(self) -> GatewayHealths:
        """Return the present health by gateway name."""

    def heard_at(self, gateway: str) -> float | None:
        """Return when (CLOCK_MONOTONIC) the gateway last gave a proof of life, None = never."""

    def rates(self) -> Mapping[str, Traffic]:
        """Return what each uplink carries, by name."""

    def prove(self, gateway: str) -> None: ...
    def report_gateway(self, gateway: str, answered: bool, reason: str) -> None:
        """Take in what a worker's own connections to the gateway showed."""
