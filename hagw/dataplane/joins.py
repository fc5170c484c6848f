"""Whether one connection's joins work, by line: what the worker's `MptcpBook` is told so that it finds out a line
that strips Multipath TCP. The initial subflow is no join: it is none of this."""

import math

from hagw.dataplane.mptcp_socket import SubflowInfo
from hagw.health.stripping import LOST_EARLY_BYTES, LOST_EARLY_S, MptcpBook

PROVEN = -math.inf  # carried enough to say that nothing strips it: never lost early
LIVES_ON_S = 1.0  # a connection that still has subflows this long after one ended was not just ending itself


class Joins:
    """The joins of one connection that stand, by slot. `now` is monotonic everywhere."""

    __slots__ = ("_book", "_since", "_vanished")

    def __init__(self, book: MptcpBook) -> None:
        self._book = book
        self._since: dict[int, float] = {}
        self._vanished: dict[int, float] = {}

    def may_join(self, slot: int, now: float) -> bool:
        """Say whether a join over the line is worth asking for."""
        return self._book.may_join(slot, now)

    def stands(self, slot: int, info: SubflowInfo, now: float) -> None:
        """Take that the kernel lists the line's join as established."""
        if slot not in self._since:
            self._since[slot] = now
            self._book.joined(slot, now)
        if self._since[slot] != PROVEN and info.bytes_acked + info.bytes_received >= LOST_EARLY_BYTES:
            self._since[slot] = PROVEN
            self._book.carried(slot, now)

    def failed(self, slot: int, now: float) -> None:
        """Take that a join was not answered in time."""
        self._book.join_failed(slot, now)

    def ended(self, slot: int, now: float) -> None:
        """Take that a join that stood is there no more although nobody here withdrew it."""
        if now - self._since.pop(slot, now) < LOST_EARLY_S:
            self._vanished[slot] = now

    def withdrawn(self, slot: int) -> None:
        """Take that we ended the line's join ourselves."""
        self._vanished.pop(slot, None)
        self._since.pop(slot, None)

    def lives_on(self, now: float) -> None:
        """Take that the connection has subflows: the book hears of a loss only once the connection outlived it."""
        for slot in [slot for slot, at in self._vanished.items() if now - at >= LIVES_ON_S]:
            del self._vanished[slot]
            self._book.join_lost(slot, now)
