"""Names of servers by their addresses, as DNS answers on the LAN told them: bounded, and forgotten when they are old.

An address may have many names (shared hosting, content networks), so what is known this way is not sure: a rule that
asks for a name fits where any of them does. What a flow's own first bytes say goes before it.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hagw.policy.dns_answers import Resolved

DOMAINS_MAX: Final = 10_000
NAMES_AN_ADDRESS: Final = 16
ADDRESSES_A_DOMAIN: Final = 32
KEPT_MIN_S: Final = 600.0  # hosts go on with an address for longer than a short TTL says
KEPT_MAX_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Learnt:
    """A name that an address has until `until` (CLOCK_MONOTONIC)."""

    address: str
    domain: str
    until: float


class NameBook:
    """What is known of names; the domain that was told of least recently goes first when there are too many."""

    def __init__(self, domains_max: int = DOMAINS_MAX) -> None:
        self._domains_max = domains_max
        self._by_domain: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._by_address: dict[str, dict[str, float]] = {}

    def __len__(self) -> int:
        """Return how many domains are known."""
        return len(self._by_domain)

    def learn(self, told: Resolved, now: float) -> tuple[Learnt, ...]:
        """Take an answer; return what it says of each address."""
        until = now + min(max(float(told.ttl_s), KEPT_MIN_S), KEPT_MAX_S)
        found = tuple(Learnt(str(address), told.domain, until) for address in told.addresses)
        for each in found:
            self.adopt(each, now)
        return found

    def adopt(self, learnt: Learnt, now: float) -> None:
        """Take what somebody else learnt."""
        own = self._by_domain.setdefault(learnt.domain, {})
        self._by_domain.move_to_end(learnt.domain)
        own.pop(learnt.address, None)
        own[learnt.address] = learnt.until
        names = self._by_address.setdefault(learnt.address, {})
        names.pop(learnt.domain, None)
        names[learnt.domain] = learnt.until
        if len(own) > ADDRESSES_A_DOMAIN:
            self._part(next(iter(own)), learnt.domain)
        if len(names) > NAMES_AN_ADDRESS:
            self._part(learnt.address, next(iter(names)))
        while len(self._by_domain) > self._domains_max:
            self._forget(next(iter(self._by_domain)))

    def names(self, address: str, now: float) -> tuple[str, ...]:
        """Return the names an address has now, the one that was told last first."""
        return tuple(name for name, until in reversed(self._by_address.get(address, {}).items()) if until > now)

    def every(self, now: float) -> Iterator[Learnt]:
        """Yield everything that still holds."""
        for domain, own in self._by_domain.items():
            for address, until in own.items():
                if until > now:
                    yield Learnt(address, domain, until)

    def sweep(self, now: float) -> None:
        """Forget what does not hold any more."""
        stale = [
            (address, name) for name, own in self._by_domain.items() for address, until in own.items() if until <= now
        ]
        for address, name in stale:
            self._part(address, name)

    def _forget(self, domain: str) -> None:
        for address in list(self._by_domain[domain]):
            self._part(address, domain)

    def _part(self, address: str, domain: str) -> None:
        for here, one, other in ((self._by_domain, domain, address), (self._by_address, address, domain)):
            known = here.get(one, {})
            known.pop(other, None)
            if not known:
                here.pop(one, None)
