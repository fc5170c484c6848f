"""Smallest delay: everything over the line with the shortest round trip, and no hopping between lines that are alike.

A new connection takes the quickest line of the moment. One that lives changes when another line has been clearly
quicker for a while: its own traffic makes its line slower.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

ALIKE_MS: Final = 2.0
CLEARLY_MS: Final = 10.0
CLEARLY_SHARE: Final = 0.2
CLEARLY_S: Final = 3.0
DWELL_S: Final = 10.0


def quickest(rtts_ms: Mapping[int, float | None], usual: int | None = None) -> int | None:
    """Return the slot with the shortest round trip, `usual` if it is about as quick; None where there is no line."""
    known = {slot: rtt for slot, rtt in rtts_ms.items() if rtt is not None}
    if not known:
        return next(iter(rtts_ms), None)
    best = min(known, key=lambda slot: known[slot])
    return usual if usual in known and known[usual] <= known[best] + ALIKE_MS else best


def others(slots: Collection[int], chosen: int | None) -> frozenset[int]:
    """Return the lines that stand by for the chosen one."""
    return frozenset() if chosen is None else frozenset(slot for slot in slots if slot != chosen)


@dataclass(slots=True)
class Choice:
    """The line of one living connection."""

    slot: int | None
    since: float
    _slow_since: float | None = None

    def look(self, rtts_ms: Mapping[int, float | None], now: float) -> int | None:
        """Return the line to use from now on; look at least once a second."""
        best = quickest(rtts_ms, self.slot)
        if best is None:
            return self.slot
        if self.slot is None or self.slot not in rtts_ms:
            self._take(best, now)
            return best
        own, other = rtts_ms[self.slot], rtts_ms[best]
        if best == self.slot or own is None or other is None or own - other < max(CLEARLY_MS, CLEARLY_SHARE * own):
            self._slow_since = None
        else:
            self._slow_since = now if self._slow_since is None else self._slow_since
            if now - self._slow_since >= CLEARLY_S and now - self.since >= DWELL_S:
                self._take(best, now)
        return self.slot

    def _take(self, slot: int, now: float) -> None:
        self.slot, self.since, self._slow_since = slot, now, None
