"""Load balancing by weight: lines that carried more than their percentage stand by until the others have caught up.

What counts are bytes, not connections. The kernel's scheduler knows no shares, but leaves out a line that stands by: so
one connection is split, too. A line that cannot carry its part slows down the others: a fixed split was asked for.
"""

from collections.abc import Mapping
from typing import Final

MEMORY_S: Final = 10.0  # how long what was carried counts
CLOSE: Final = 0.02  # above its share by this much, a line stands by; below its share it is used again
LEAST_BYTES: Final = 64 * 1024  # less than that says nothing of shares


class Split:
    """The lines of one plan; `update` is called about ten times a second."""

    def __init__(self, weights: Mapping[int, int]) -> None:
        self._weights = dict(weights)
        self._carried = dict.fromkeys(weights, 0.0)
        self._at: float | None = None
        self._closed: frozenset[int] = frozenset()

    def update(self, moved: Mapping[int, int], usable: frozenset[int], now: float) -> frozenset[int]:
        """Take the bytes that the plan's connections moved since the last call, by slot; return what stands by now.

        The weights of lines that cannot be used now fall to the others.
        """
        keep = 1.0 if self._at is None else 0.5 ** ((now - self._at) / MEMORY_S)
        self._at = now
        for slot in self._carried:
            self._carried[slot] = self._carried[slot] * keep + moved.get(slot, 0)
        total = sum(self._carried[slot] for slot in usable)
        weight = sum(self._weights[slot] for slot in usable)
        if total < LEAST_BYTES or not weight:
            self._closed = frozenset()
            return self._closed
        over = {slot: self._carried[slot] / total - self._weights[slot] / weight for slot in usable}
        closed = {slot for slot, excess in over.items() if excess > (0.0 if slot in self._closed else CLOSE)}
        closed.discard(min(over, key=lambda slot: over[slot]))
        self._closed = frozenset(closed)
        return self._closed
