"""Pretend observers: the health of pretend lines and gateways, and what the lines carry by the workers' word."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hagw.model.facts import Facts
from hagw.model.health import GatewayHealth, UplinkHealth, UplinkState
from hagw.model.intent import GatewayIntent, PortalIntent, UplinkIntent
from hagw.model.usage import Reading, Volume
from hagw.pretend import lines

TICK_S: Final = 0.25
FIRST_ECHO_S: Final = 0.8  # how long nothing is known of a line that is new
SMOOTHED: Final = 0.35
PROBES_BPS: Final = 1_600


@dataclass(frozen=True, slots=True)
class Carried:
    """What an uplink carries: IP bytes so far, and rates in bit/s."""

    bytes_down: int = 0
    bytes_up: int = 0
    down_bps: float = 0.0
    up_bps: float = 0.0
    probe_bytes: int = 0


class Observer:
    """The health port. `told` returns the workers' figures, newest answers of all of them."""

    def __init__(
        self,
        on_uplink_change: Callable[[str, UplinkHealth], None],
        on_gateway_change: Callable[[str, GatewayHealth], None],
        told: Callable[[], Iterable[Mapping[str, Any]]],
        *,
        outages: bool = True,
    ) -> None:
        self._on_uplink_change = on_uplink_change
        self._on_gateway_change = on_gateway_change
        self._told = told
        self._outages = outages
        self._wanted: dict[str, UplinkIntent] = {}
        self._since: dict[str, float] = {}
        self._health: dict[str, UplinkHealth] = {}
        self._gateways: dict[str, GatewayHealth] = {}
        self._carried: dict[str, Carried] = {}
        self._seen: dict[tuple[int, str], tuple[int, int]] = {}
        self._ticked = time.monotonic()

    async def run(self) -> None:
        """Observe for ever."""
        while True:
            await asyncio.sleep(TICK_S)
            self.tick(time.monotonic())

    def tick(self, now: float) -> None:
        """Take what the workers carried, and judge every line anew."""
        self._count(now - self._ticked)
        self._ticked = now
        for name, uplink in self._wanted.items():
            before, after = self._health[name], self._judge(uplink, now)
            self._health[name] = after
            if (before.state, before.reason) != (after.state, after.reason):
                self._on_uplink_change(name, after)
        rtts = [health.rtt_ms for health in self._health.values() if health.rtt_ms is not None]
        for name, known in self._gateways.items():
            if rtts:
                now_up = GatewayHealth("up", rtt_ms=min(rtts), ipv6=False, clock_offset_s=_clock_offset())
                self._gateways[name] = now_up
            elif known.reach == "up":
                self._gateways[name] = GatewayHealth("down", "no line is up")
            if known.reach != self._gateways[name].reach:
                self._on_gateway_change(name, self._gateways[name])

    def update(self, uplinks: Sequence[UplinkIntent], facts: Facts, gateways: Sequence[GatewayIntent]) -> None:
        """Take uplinks and gateways as they are now."""
        now = time.monotonic()
        self._wanted = {uplink.name: uplink for uplink in uplinks}
        self._since = {name: self._since.get(name, now) for name in self._wanted}
        unknown = UplinkHealth("down", "not measured yet")
        self._health = {name: self._health.get(name, unknown) for name in self._wanted}
        fresh = GatewayHealth("unknown", "not heard of yet")
        self._gateways = {gateway.name: self._gateways.get(gateway.name, fresh) for gateway in gateways}

    def look_for_portals(self, portal_check: PortalIntent | None) -> None:
        """Do nothing: nobody stands in the way here."""

    def uplinks(self) -> Mapping[str, UplinkHealth]:
        """Return the present health by uplink name."""
        return self._health

    def gateways(self) -> Mapping[str, GatewayHealth]:
        """Return the present health by gateway name."""
        return self._gateways

    def heard_at(self, gateway: str) -> float | None:
        """Return the time of the last look, at which a gateway that is up was heard."""
        known = self._gateways.get(gateway)
        return self._ticked if known is not None and known.reach == "up" else None

    def rates(self) -> Mapping[str, Carried]:
        """Return what each uplink carries, by name."""
        return {name: self._carried.get(name, Carried()) for name in self._wanted}

    def prove(self, gateway: str) -> None:
        """Do nothing: who we are is not asked here."""

    def report_gateway(self, gateway: str, answered: bool, reason: str) -> None:
        """Do nothing: workers only pretend to have connections."""

    def _judge(self, uplink: UplinkIntent, now: float) -> UplinkHealth:
        if not uplink.enabled:
            return UplinkHealth("disabled")
        age_s = now - self._since[uplink.name]
        if age_s < FIRST_ECHO_S:
            return UplinkHealth("down", "not measured yet")
        lost_s = lines.lost_for(uplink.kind, age_s) if self._outages else None
        if lost_s is not None:
            state: UplinkState = "suspect" if lost_s < lines.SUSPECT_S else "down"
            return UplinkHealth(state, lines.CHARACTERS[uplink.kind].reason)
        carried = self._carried.get(uplink.name, Carried())
        most = lines.rates(uplink.kind, (uplink.rate_down_bps, uplink.rate_up_bps), now)
        rtt = lines.rtt_ms(uplink.kind, min(1.0, carried.down_bps / most[0]), now)
        lost = lines.loss(uplink.kind, now)
        return UplinkHealth(
            "up",
            rtt_ms=round(rtt, 1),
            loss=round(lost, 4),
            rtt_floor_ms=lines.CHARACTERS[uplink.kind].rtt_ms,
            jitter_ms=round(rtt / 15, 1),
            jitter_up_ms=round(rtt / 25, 1),
            jitter_down_ms=round(rtt / 20, 1),
            loss_up=round(lost / 3, 4),
            loss_down=round(lost / 1.5, 4),
        )

    def _count(self, passed_s: float) -> None:
        """Add what every worker carried since its last answer, and what asking costs."""
        moved = {name: [0, 0] for name in self._wanted}
        for number, stats in enumerate(self._told()):
            for name, (down, up) in (stats.get("pretend_bytes") or {}).items():
                before = self._seen.get((number, name), (0, 0))
                if down < before[0] or up < before[1]:
                    before = (0, 0)  # another process
                self._seen[number, name] = (down, up)
                if name in moved:
                    moved[name][0] += down - before[0]
                    moved[name][1] += up - before[1]
        for name, (down, up) in moved.items():
            probes = round(PROBES_BPS / 8 * passed_s) if self._health[name].state == "up" else 0
            self._carried[name] = _added(self._carried.get(name, Carried()), down, up, probes, passed_s)


class Volumes:
    """The counters of data caps: what the observer says."""

    def __init__(self, rates: Callable[[], Mapping[str, Carried]]) -> None:
        self._rates = rates
        self._namespace = f"pretend-{os.getpid()}-{time.time():.0f}"

    def read(self, interfaces: Mapping[str, str]) -> dict[str, Reading]:
        """Return a reading by line."""
        carried = self._rates()
        return {
            line: Reading(self._namespace, 1, 1, Volume(carried[line].bytes_down, carried[line].bytes_up))
            for line in interfaces
            if line in carried
        }


def _added(before: Carried, down: int, up: int, probes: int, passed_s: float) -> Carried:
    down, up = down + probes // 2, up + probes // 2
    per_s = 8 / passed_s if passed_s > 0 else 0.0
    return Carried(
        bytes_down=before.bytes_down + down,
        bytes_up=before.bytes_up + up,
        down_bps=before.down_bps + (down * per_s - before.down_bps) * SMOOTHED,
        up_bps=before.up_bps + (up * per_s - before.up_bps) * SMOOTHED,
        probe_bytes=before.probe_bytes + probes,
    )


def _clock_offset() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
