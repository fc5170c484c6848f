"""Bounds on what those who have not logged in can make a gateway do: connections held, codes tried, lines logged."""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

STRANGERS_MAX: Final = 256
FROM_A_SOURCE_MAX: Final = 32  # of an IPv4 address, or of a /64 in IPv6: many CPEs may be behind one provider's NAT
_IPV6_BITS: Final = 64


class Strangers:
    """Who is connected and has not logged in yet, from the first packet on: TLS included."""

    def __init__(self) -> None:
        self.turned_away = 0
        self._total = 0
        self._by_source: dict[str, int] = {}

    def enter(self, source: str) -> bool:
        """Take one more from `source`; False = there are too many, it is to be hung up on."""
        where = source_of(source)
        held = self._by_source.get(where, 0)
        if self._total >= STRANGERS_MAX or held >= FROM_A_SOURCE_MAX:
            self.turned_away += 1
            return False
        self._total += 1
        self._by_source[where] = held + 1
        return True

    def leave(self, source: str) -> None:
        """It has logged in, or gone."""
        where = source_of(source)
        self._total -= 1
        self._by_source[where] -= 1
        if not self._by_source[where]:
            del self._by_source[where]


class Quota:
    """So many at once, then so many a second."""

    __slots__ = ("_at", "_burst", "_rate_per_s", "_tokens")

    def __init__(self, burst: float, rate_per_s: float) -> None:
        self._burst = self._tokens = burst
        self._rate_per_s = rate_per_s
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Take one if there is one at monotonic time `now`."""
        if self._at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate_per_s)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def source_of(address: str) -> str:
    """Return what stands for a source: in IPv6 everybody has a network of addresses."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(ip_network((found, _IPV6_BITS), strict=False))
    return str(found)
