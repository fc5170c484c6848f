"""When to tell of bad peers: the first of a kind from a network at once, the others together from time to time.

Peers choose how often they misbehave, and how many they are. So a network that was told of is told of again only
after `AGAIN_S`, at most `BURST` lines come at once and then one in `REFILL_S`; what is left out is counted for a
summary every `SUMMARY_S`. The tables are bounded: what does not fit is counted all the same.
"""

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Final

AGAIN_S: Final = 600.0
BURST: Final = 10
REFILL_S: Final = 5.0
SUMMARY_S: Final = 10.0
NETWORKS_MAX: Final = 1_000
PREFIX_BITS: Final = {4: 24, 6: 64}

Tell = Callable[..., None]


class Notices:
    """Decides what becomes a line: `first` is called with source, kind and reason, `summary` with counts."""

    def __init__(self, first: Tell, summary: Tell) -> None:
        self._first = first
        self._summary = summary
        self._told: dict[tuple[str, str], float] = {}
        self._more: dict[str, int] = {}
        self._networks: dict[str, int] = {}
        self._tokens = float(BURST)
        self._refilled_at = 0.0
        self._since: float | None = None

    def note(self, source: str, kind: str, reason: str, now: float) -> None:
        """Take note of one bad peer at monotonic time `now`."""
        network = network_of(source)
        if self._is_new((network, kind), now) and self._take_token(now):
            self._tell_at((network, kind), now)
            self._first(source=source, kind=kind, reason=reason)
            return
        self._since = now if self._since is None else self._since
        self._more[kind] = self._more.get(kind, 0) + 1
        if network in self._networks or len(self._networks) < NETWORKS_MAX:
            self._networks[network] = self._networks.get(network, 0) + 1

    def summarise(self, now: float) -> None:
        """Tell of what was left out, if that is due; to be called every few seconds."""
        if self._since is None or now - self._since < SUMMARY_S:
            return
        most = max(self._networks, key=lambda network: self._networks[network])
        counts = {kind.replace("-", "_"): count for kind, count in sorted(self._more.items())}
        networks = f"{len(self._networks)}{'+' if len(self._networks) == NETWORKS_MAX else ''}"
        self._summary(seconds=round(now - self._since), **counts, networks=networks, most_from=most)
        self._more.clear()
        self._networks.clear()
        self._since = None

    def _is_new(self, what: tuple[str, str], now: float) -> bool:
        told_at = self._told.get(what)
        return told_at is None or now - told_at >= AGAIN_S

    def _tell_at(self, what: tuple[str, str], now: float) -> None:
        self._told.pop(what, None)
        if len(self._told) >= NETWORKS_MAX:
            del self._told[next(iter(self._told))]  # the oldest
        self._told[what] = now

    def _take_token(self, now: float) -> bool:
        self._tokens = min(self._tokens + (now - self._refilled_at) / REFILL_S, float(BURST))
        self._refilled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def network_of(source: str) -> str:
    """Return the prefix that stands for a source: one customer or one attacker has many addresses."""
    try:
        address = ip_address(source.partition("%")[0])
    except ValueError:
        return source
    return str(ip_network((address, PREFIX_BITS[address.version]), strict=False))
