"""The gateways of a CPE: which of them lines are measured against, which are asked beside it, whose fault a silence is.

Each is judged by `hagw.health.gateway`; here is what follows from there being several, and lines that lead to them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from hagw.health.gateway import GatewayWatch
from hagw.health.line import Line, milliseconds
from hagw.health.profile import METERED_RETRY_S
from hagw.model.health import GatewayHealth, GatewayReach

WITNESSES: Final = 2
_AWAY_FOR_LONG_S: Final = 60.0
_CHECK_S: Final = 0.5  # each gateway beside the one that lines are measured against: its flows trust it
_DOUBT_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Ask:
    """Order: send a question to `gateway` over `line`, by IPv`version`; 0 where families are unknown."""

    line: str
    gateway: str
    version: int = 0


class Gateways:
    """All of them, most preferred first. `now` is attentive time everywhere."""

    def __init__(self) -> None:
        self._watches: dict[str, GatewayWatch] = {}
        self._asked_at: dict[str, float] = {}
        self._rotation = 0

    def configure(self, names: Iterable[str], now: float) -> None:
        """Take the gateways as they are now; what is known about those that stay is kept."""
        before, self._watches = self._watches, {}
        for name in names:
            self._watches[name] = before.get(name) or GatewayWatch(now)

    def get(self, name: str) -> GatewayWatch | None:
        """Return a gateway's judge, None where there is no such gateway."""
        return self._watches.get(name)

    def reach(self, name: str) -> GatewayReach:
        """Return whether a gateway can be used."""
        return self._watches[name].reach

    def all(self) -> Iterable[GatewayWatch]:
        """Return the judges of all."""
        return self._watches.values()

    def health(self) -> dict[str, GatewayHealth]:
        """Return every gateway's health as of now, by name."""
        return {name: _health(watch) for name, watch in self._watches.items()}

    def target(self) -> str | None:
        """Return the gateway that lines are measured against: the most preferred one that answers, else that may."""
        for reach in ("up", "unknown", "down"):
            for name, gateway in self._watches.items():
                if gateway.reach == reach:
                    return name
        return None

    def measures(self, gateway: str) -> bool:
        """Say whether a gateway's echoes tell of the lines: the others are elsewhere, and their death is theirs."""
        target = self.target()
        return gateway == target or target is None or self._watches[target].reach == "unknown"

    def asked(self, target: str | None) -> tuple[str, ...]:
        """Return whom a line in doubt asks. While none has answered yet that is all: the first to answer is as good."""
        if target is not None and self._watches[target].reach == "unknown":
            return tuple(name for name, gateway in self._watches.items() if gateway.reach == "unknown")
        return (target,) if target is not None else ()

    def judge(self, lines: Mapping[str, Line], asks: list[Ask], now: float) -> list[Ask]:
        """Judge them after a turn of the lines, which ordered `asks`; return what is to be asked beside that."""
        up = {name for name, line in lines.items() if line.liveness.state == "up"}
        receiving = any(line.liveness.reception.is_steady(now) for line in lines.values())
        slowest_s = max((line.liveness.round_trip.last_s or 0.0 for line in lines.values()), default=0.0)
        ways = sorted(up) or [name for name, line in lines.items() if line.liveness.link.obstacle() is None]
        target = self.target()
        found: list[Ask] = []
        for name, gateway in self._watches.items():
            was = gateway.reach
            wants = gateway.turn(now, up, receiving, slowest_s)
            if was != "down" and gateway.reach == "down":
                _pardon(lines.values(), gateway, now)
            is_doubted = name != target and gateway.is_doubted(now)
            check_s = _DOUBT_S if is_doubted else _CHECK_S
            idle_s = now - self._asked_at.get(name, now - check_s)
            if name != target and was != "down" and idle_s >= check_s and (is_doubted or _is_active(lines, now)):
                wants = True
            if wants and ways:
                self._asked_at[name] = now
                self._rotation += 1
                first = self._rotation % len(ways)
                count = len(ways) if is_doubted else WITNESSES if name == target or was == "down" else 1
                found.extend(Ask(line, name) for line in (ways[first:] + ways[:first])[:count])
        return [
            ask for ask in found if ask not in asks and not _is_spared(lines[ask.line], self._watches[ask.gateway], now)
        ]


def _is_active(lines: Mapping[str, Line], now: float) -> bool:
    return any(line.liveness.is_active(now) for line in lines.values())


def _is_spared(line: Line, gateway: GatewayWatch, now: float) -> bool:
    """Say whether a metered line is asked too often for a gateway that has been away for long."""
    is_down = gateway.reach == "down" and now - gateway.down_at >= _AWAY_FOR_LONG_S and not gateway.is_hurried
    drains = gateway.reach == "up" and gateway.draining and now - gateway.drains_since >= _AWAY_FOR_LONG_S
    is_away = is_down or (drains and not line.liveness.is_active(now))
    return line.metered and is_away and now - line.liveness.evidence.asked_at < METERED_RETRY_S


def _pardon(lines: Iterable[Line], gateway: GatewayWatch, now: float) -> None:
    """Lines that were suspected after the gateway was heard for the last time were suspected in its place."""
    heard_at = gateway.heard_at or now
    for line in lines:
        since = line.liveness.doubted_since
        if line.liveness.state == "suspect" and since is not None and since >= heard_at - 0.5:
            line.liveness.pardon("the gateway was at fault", now)


def _health(gateway: GatewayWatch) -> GatewayHealth:
    trip = gateway.round_trip
    return GatewayHealth(
        gateway.reach, gateway.reason, milliseconds(trip.smoothed_s), gateway.ipv6, gateway.clock_offset_s,
        milliseconds(trip.floor_s), gateway.draining, gateway.overloaded,
    )  # fmt: skip
