"""Customers take turns: one with hundreds of bulk flows gets as much of a worker as another with one.

Deficit round robin over customers, and over each one's flows: while several are busy, a customer moves QUANTUM_BYTES a
turn of the loop, whoever is ready beyond that waits in the customer's own queue. Alone, nobody waits.
"""

from typing import TYPE_CHECKING, Final

from hagw.dataplane.loop import EPOLLIN, Loop

if TYPE_CHECKING:
    from hagw.dataplane.relay import End

QUANTUM_BYTES: Final = 512 * 1024
CROWDED_TURNS: Final = 4  # so long after another customer's turn it is taken to be busy still


class Crowd:
    """Knows whether more than one customer is busy in a worker."""

    __slots__ = ("_last", "_switched", "loop")

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._last: Share | None = None
        self._switched = -CROWDED_TURNS

    def is_there_beside(self, share: "Share") -> bool:
        """Note that a customer is busy; say whether others are."""
        turns = self.loop.turns
        if self._last is not share:
            self._switched = turns if self._last is not None else self._switched
            self._last = share
        return not self.is_over()

    def is_over(self) -> bool:
        """Say whether only one customer is busy now."""
        return self.loop.turns - self._switched >= CROWDED_TURNS


class Share:
    """One customer's turn."""

    __slots__ = ("_crowd", "_is_due", "_left", "_turn", "_waiting")

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._left = QUANTUM_BYTES
        self._turn = -1
        self._is_due = False
        self._waiting: dict[End, None] = {}

    def admits(self, end: "End") -> bool:
        """Say whether an end may read now; if not, it is not watched until its turn has come."""
        turns = self._crowd.loop.turns
        if turns != self._turn:
            self._turn, self._left = turns, QUANTUM_BYTES
        if not self._crowd.is_there_beside(self) and not self._waiting:
            return True
        if self._left > 0 and not self._waiting:
            return True
        end.watch(end.mask & ~EPOLLIN)
        self._waiting[end] = None
        self._come_back()
        return False

    def took(self, size_bytes: int) -> bool:
        """Count what was read; say whether that was all for this turn."""
        self._left -= size_bytes
        return self._left <= 0

    def _come_back(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._crowd.loop.defer(self._serve)

    def _serve(self) -> None:
        """Let those read who have waited longest, as much as a turn is."""
        self._is_due = False
        self._turn, self._left = self._crowd.loop.turns, QUANTUM_BYTES
        alone = self._crowd.is_over()
        while self._waiting and (alone or self._left > 0):
            end = next(iter(self._waiting))
            del self._waiting[end]
            end.read_now()
        if self._waiting:
            self._come_back()
