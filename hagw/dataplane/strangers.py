"""Who is connected and has shown no cookie yet, and who showed too many bad ones: bounded in all and by source.

A source is an IPv4 address or an IPv6 /64. Many CPEs may be behind one address, so a source that has too many strangers
is not shut: the oldest of them goes, and a CPE shows its cookie with its first packet. A source that fails all the time
is reset as it comes, at a tenth of what reading its message costs.
"""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, Generic, Protocol, TypeVar

STRANGERS_MAX: Final = 2_000
FROM_A_SOURCE_MAX: Final = 512
FAILURES_BURST: Final = 1_000.0
FAILURES_A_SECOND: Final = 100.0
FAILING_MAX: Final = 1_000  # sources remembered to fail; the oldest is forgotten
_IPV6_BITS: Final = 64


class Stranger(Protocol):
    """A connection that may have to go."""

    id: int


Session = TypeVar("Session", bound=Stranger)


class Strangers(Generic[Session]):
    """All of them, oldest first."""

    def __init__(self) -> None:
        self._all: dict[int, tuple[Session, str]] = {}
        self._by_source: dict[str, dict[int, Session]] = {}
        self._failing: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, and when

    def __len__(self) -> int:
        return len(self._all)

    def surplus(self, address: str) -> Session | None:
        """Return who has to go before another one comes from an address, None where there is room."""
        if len(self._all) >= STRANGERS_MAX:
            return next(iter(self._all.values()))[0]
        own = self._by_source.get(source_of(address), {})
        return next(iter(own.values())) if len(own) >= FROM_A_SOURCE_MAX else None

    def add(self, session: Session, address: str) -> None:
        """One more has come."""
        source = source_of(address)
        self._all[session.id] = session, source
        self._by_source.setdefault(source, {})[session.id] = session

    def drop(self, session_id: int) -> None:
        """It has shown its cookie, or gone; harmless where it is none."""
        found = self._all.pop(session_id, None)
        if found is not None:
            own = self._by_source[found[1]]
            del own[session_id]
            if not own:
                del self._by_source[found[1]]

    def failed(self, address: str, now: float) -> None:
        """One from this address has shown no valid cookie, or nothing that makes sense."""
        source = source_of(address)
        tokens = self._tokens(source, now)
        self._failing.pop(source, None)
        if len(self._failing) >= FAILING_MAX:
            self._failing.popitem(last=False)
        self._failing[source] = max(0.0, tokens - 1.0), now

    def is_shut(self, address: str, now: float) -> bool:
        """Say whether whoever comes from this address is not worth listening to now."""
        return bool(self._failing) and self._tokens(source_of(address), now) < 1.0

    def _tokens(self, source: str, now: float) -> float:
        tokens, at = self._failing.get(source, (FAILURES_BURST, now))
        return min(FAILURES_BURST, tokens + (now - at) * FAILURES_A_SECOND)


def source_of(address: str) -> str:
    """Return what stands for an address."""
    if ":" not in address:
        return address
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip_network((found, _IPV6_BITS), strict=False)) if isinstance(found, IPv6Address) else address
