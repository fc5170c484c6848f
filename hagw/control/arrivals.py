"""Whether intercepted connections reach the workers, or something else on the machine drops them on the way in.

A foreign input chain that refuses what it does not know (many firewalls do) swallows every connection of the LAN once
it is intercepted. The table counts SYNs where it takes them and once more behind all input chains: if none of those
taken arrives, interception does harm, whoever is at fault, and the family is left alone for a while.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Family = Literal[4, 6]
FAMILIES: Final[tuple[Family, Family]] = (4, 6)
LOST_MIN: Final = 2  # one alone may have met a route that was just being put back
SURE_S: Final = 0.4
BLOCKED_S: Final = 60.0  # until it is tried again; doubles with each failure in a row
BLOCKED_MAX_S: Final = 3600.0


@dataclass(slots=True)
class _Way:
    """What is known of one family."""

    taken: int = 0
    arrived: int = 0
    lost: int = 0  # SYNs taken since one arrived
    lost_since: float | None = None
    blocked_until: float | None = None
    failures: int = 0


@dataclass(slots=True)
class Arrivals:
    """Judges by the table's counters; `now` is monotonic."""

    _ways: dict[Family, _Way] = field(default_factory=lambda: {family: _Way() for family in FAMILIES})

    def look(self, counters: Mapping[str, int], now: float) -> bool:
        """Take the counters as they are; return whether what is blocked has changed."""
        before = self.blocked(now)
        for family, way in self._ways.items():
            taken, arrived = counters.get(f"intercepted{family}", 0), counters.get(f"arrived{family}", 0)
            # Smaller numbers are those of a table made anew: only what was counted since is known.
            more_taken = taken - way.taken if taken >= way.taken else taken
            more_arrived = arrived - way.arrived if arrived >= way.arrived else arrived
            way.taken, way.arrived = taken, arrived
            if more_arrived:
                way.lost, way.lost_since, way.failures = 0, None, 0
            elif more_taken:
                way.lost += more_taken
                way.lost_since = now if way.lost_since is None else way.lost_since
            if way.lost >= LOST_MIN and way.lost_since is not None and now - way.lost_since >= SURE_S:
                way.lost, way.lost_since = 0, None
                way.failures += 1
                way.blocked_until = now + min(BLOCKED_S * 2 ** (way.failures - 1), BLOCKED_MAX_S)
        return self.blocked(now) != before

    def retry(self) -> bool:
        """Try blocked families at once: what swallowed them may be gone. Return whether there were any.

        Failures in a row are not forgotten: where it is still there, the wait goes on growing.
        """
        blocked = [way for way in self._ways.values() if way.blocked_until is not None]
        for way in blocked:
            way.blocked_until = None
        return bool(blocked)

    @property
    def is_suspicious(self) -> bool:
        """Whether something was taken and nothing has arrived since: look again soon."""
        return any(way.lost_since is not None for way in self._ways.values())

    def blocked(self, now: float) -> frozenset[Family]:
        """Return the families that are not to be intercepted at `now`."""
        ways = self._ways.items()
        return frozenset(family for family, way in ways if way.blocked_until is not None and now < way.blocked_until)

    def due_at(self, now: float) -> float | None:
        """Return when the next family is to be tried again, None = none is blocked."""
        until = [way.blocked_until for way in self._ways.values() if way.blocked_until is not None]
        return min((at for at in until if at > now), default=None)
