"""Whether the LAN's new connections are taken: open only while there is somebody to take them and a gateway to use."""

from dataclasses import dataclass, field

from hagw.control.ports import Interception
from hagw.model.health import GatewayHealth

CLOSE_AFTER_S = 2.0  # a gateway that blinks is bridged by the workers, which go direct by themselves


@dataclass(slots=True)
class Gate:
    """Remembers what it last decided, and since when there is a reason to close."""

    current: Interception = field(default_factory=Interception)
    close_since: float | None = None

    def decide(self, gateways: tuple[GatewayHealth, ...], listening: int, now: float) -> Interception:
        """Return what to intercept at `now`. Opens at once, closes after CLOSE_AFTER_S, keeps on "unknown"."""
        usable = [g for g in gateways if g.reach == "up" and not g.draining]
        if listening and usable:
            self.close_since = None
            self.current = Interception(ipv4=True, ipv6=any(g.ipv6 for g in usable))
        elif not listening or all(g.reach == "down" or g.draining for g in gateways):
            if self.close_since is None:
                self.close_since = now
            if now - self.close_since >= CLOSE_AFTER_S:
                self.current = Interception()
        else:
            self.close_since = None
        return self.current

    def look_again_at(self) -> float | None:
        """Return when a decision under way falls due, None = nothing is under way."""
        if self.close_since is None or self.current == Interception():
            return None
        return self.close_since + CLOSE_AFTER_S
