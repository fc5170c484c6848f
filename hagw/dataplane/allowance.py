"""What gateways allow us, as they said over the control channel: we do not ask for what would be refused.

A refusal costs a round trip, and has all flows leave the gateway alone for a second. It holds us to its limits all the
same; workers share a rate evenly, and are told what the others have.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from hagw.model.intent import CustomerLimits
from hagw.model.snapshot import CpeSnapshot

BURST_S: Final = 2.0  # new connections that may be saved up, as at the gateway

NO_LIMITS: Final = CustomerLimits()


class Allowance:
    """Counts this worker's flows by gateway. `elsewhere` has those of the other workers."""

    def __init__(self) -> None:
        self.through: Counter[str] = Counter()
        self.elsewhere: Mapping[str, int] = {}
        self._limits: dict[str, CustomerLimits] = {}
        self._share = 1.0
        self._at: dict[int, str] = {}
        self._tokens: dict[str, tuple[float, float]] = {}

    def apply(self, snapshot: CpeSnapshot) -> None:
        """Keep to what the snapshot says."""
        self._limits = {gateway.name: gateway.limits for gateway in snapshot.gateways if gateway.limits != NO_LIMITS}
        self._share = 1.0 / snapshot.workers

    def hindrance(self, gateway: str, now: float) -> str:
        """Return why a new flow would be refused, "" = it would not, and is counted as one of the second."""
        limits = self._limits.get(gateway)
        if limits is None:
            return ""
        flows = self.through[gateway] + self.elsewhere.get(gateway, 0)
        if limits.connections_max is not None and flows >= limits.connections_max:
            return f"our limit of {limits.connections_max} connections at {gateway} is reached"
        if limits.connects_per_s is not None and not self._takes_token(gateway, limits.connects_per_s, now):
            return f"our limit of {limits.connects_per_s:g} new connections a second at {gateway} is reached"
        return ""

    def took(self, flow: int, gateway: str) -> None:
        """A flow goes through a gateway now."""
        self.left(flow)
        self._at[flow] = gateway
        self.through[gateway] += 1

    def left(self, flow: int) -> None:
        """A flow goes through none any more."""
        gateway = self._at.pop(flow, None)
        if gateway is not None:
            self.through[gateway] -= 1

    def _takes_token(self, gateway: str, rate_per_s: float, now: float) -> bool:
        rate_per_s *= self._share
        full = max(1.0, rate_per_s * BURST_S)
        tokens, at = self._tokens.get(gateway, (full, now))
        tokens = min(full, tokens + (now - at) * rate_per_s)
        is_there = tokens >= 1.0
        self._tokens[gateway] = tokens - is_there, now
        return is_there
