"""What a CPE worker knows of its gateways from its own connections: alive, in trouble, asking to be left alone."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from hagw.dataplane.gateway import Blame, GatewayConnection
from hagw.dataplane.journal import Log
from hagw.dataplane.loop import Loop
from hagw.dataplane.notices import Notices
from hagw.model.snapshot import GatewayView

log = Log()

FRESH_S: Final = 1.2
TROUBLE_RETRY_S: Final = 3.0
ANSWERED_EVERY_S: Final = 1.0
SPARED_MIN_S: Final = 1.0
SPARED_MAX_S: Final = 60.0  # whatever a gateway asks for


class GatewayBook:
    """Proofs of life and failures by gateway name; `changed` is called when one becomes usable or ceases to be."""

    def __init__(self, loop: Loop, report: Callable[[dict[str, Any]], None], changed: Callable[[], None]) -> None:
        self._loop = loop
        self._report = report
        self._changed = changed
        self.malformed = 0
        self._heard: dict[str, float] = {}
        self._answered: dict[str, float] = {}
        self._trouble: dict[str, tuple[float, str]] = {}
        self._spared: dict[str, float] = {}  # gateways that asked to be left alone, and until when
        self._violations = Notices(
            lambda **fields: log.warning("gateway broke the protocol", **fields),
            lambda **fields: log.warning("gateways broke the protocol more often", **fields),
        )

    def adopt(self, before: Iterable[GatewayView], now: Iterable[GatewayView]) -> None:
        """Take what the daemon says of the gateways now, and said `before`. `changed` is not called."""
        was_shut = {gateway.name for gateway in before if gateway.blocked or gateway.draining}
        for gateway in now:
            if gateway.heard_at is not None:
                self._heard[gateway.name] = max(gateway.heard_at, self._heard.get(gateway.name, 0.0))
            if gateway.reach == "up":
                self._trouble.pop(gateway.name, None)
            if gateway.name in was_shut and not gateway.blocked and not gateway.draining:
                self._spared.pop(gateway.name, None)  # that is what it was about

    def seen(self, gateway: GatewayView) -> GatewayView:
        """Return a gateway as the daemon has it and as our own connections met it."""
        if gateway.name in self._trouble:
            return replace(gateway, reach="down", reason=self._trouble[gateway.name][1])
        return replace(gateway, overloaded=True) if gateway.name in self._spared else gateway

    def may_open(self, gateway: GatewayView) -> bool:
        """Whether opening connections to the gateway makes sense now."""
        return gateway.name not in self._trouble and gateway.name not in self._spared

    # --- it lives

    def heard(self, gateway: str, at: float) -> None:
        """Note a proof of life of a gateway at monotonic time `at`."""
        if at > self._heard.get(gateway, 0.0):
            self._heard[gateway] = at
        trouble = self._trouble.get(gateway)
        if trouble is not None and at > trouble[0]:
            del self._trouble[gateway]
            self._changed()

    def is_fresh(self, gateway: str) -> bool:
        """Whether the gateway proved to be alive so recently that early data may be sent unasked."""
        return self._loop.now - self._heard.get(gateway, 0.0) < FRESH_S

    def heard_since(self, gateway: str, since: float) -> bool:
        """Whether the gateway was heard of after monotonic time `since`."""
        return self._heard.get(gateway, 0.0) > since

    def answered(self, gateway: str) -> None:
        """It accepted a connection or a request: the daemon hears of it once a second at most."""
        now = time.monotonic()
        if now - self._answered.get(gateway, 0.0) >= ANSWERED_EVERY_S:
            self._answered[gateway] = now
            self._report({"event": "gateway-answered", "gateway": gateway, "rtt_ms": None})

    # --- it fails

    def blame(self, connection: GatewayConnection, reason: str, blame: Blame) -> None:
        """Judge a connection that ended before a flow had it: is it the gateway's fault?"""
        silent = blame == "unclear" and not self.heard_since(connection.gateway.name, connection.opened_at)
        if blame == "gateway" or silent:
            self.trouble(connection.gateway.name, reason)

    def trouble(self, gateway: str, reason: str) -> None:
        """A gateway failed us: new flows go elsewhere until it is heard of, or for a few seconds."""
        now = time.monotonic()
        if gateway not in self._trouble:
            self._trouble[gateway] = (now, reason)
            self._changed()
            self._loop.call_in(TROUBLE_RETRY_S, lambda: self._retry(gateway, now))
        self._report({"event": "gateway-failed", "gateway": gateway, "reason": reason})

    def overloaded(self, gateway: str, retry_after_s: float) -> None:
        """A gateway takes nothing more for a while: new flows go elsewhere; it is not at fault."""
        until = time.monotonic() + min(max(retry_after_s, SPARED_MIN_S), SPARED_MAX_S)
        is_news = gateway not in self._spared
        self._spared[gateway] = max(until, self._spared.get(gateway, 0.0))
        self._loop.call_at(until, lambda: self._spare_no_more(gateway))
        if is_news:
            self._changed()

    def address_unproven(self, connection: GatewayConnection, uplink: str) -> None:
        """A gateway does not know yet that we are where our cookie comes from: the daemon shows it; nobody's fault."""
        told = {"gateway": connection.gateway.name, "uplink": uplink, "address": connection.remote}
        self._report({"event": "address-unproven", **told})

    def protocol_broken(self, connection: GatewayConnection, reason: str) -> None:
        """What answers at a gateway's address does not speak Convert: count it and have the log tell of it."""
        self.malformed += 1
        self._violations.note(connection.remote, "malformed", f"{connection.gateway.name}: {reason}", self._loop.now)

    def summarise(self, now: float) -> None:
        """Have the log tell of violations that it was spared so far."""
        self._violations.summarise(now)

    def _retry(self, gateway: str, since: float) -> None:
        trouble = self._trouble.get(gateway)
        if trouble is not None and trouble[0] == since:
            del self._trouble[gateway]
            self._changed()

    def _spare_no_more(self, gateway: str) -> None:
        if self._spared.get(gateway, math.inf) <= time.monotonic():
            del self._spared[gateway]
            self._changed()
