"""A customer's rate in one direction: ends that would read beyond it wait, and the sender feels their full buffers.

A bucket of bytes that may go into debt by one reading, so that no byte is read that then has to be kept.
"""

from typing import TYPE_CHECKING, Final

from hagw.dataplane.loop import EPOLLIN, Loop

if TYPE_CHECKING:
    from hagw.dataplane.relay import End

BURST_S: Final = 0.1  # of the rate may be saved up
WAIT_MIN_S: Final = 0.01
READING_S: Final = 0.02
READING_MIN_BYTES: Final = 1_500
READING_MAX_BYTES: Final = 1 << 30


class Meter:
    """Holds the ends that share it to `rate_bps` of payload; `share` of it is ours, the rest other workers'."""

    __slots__ = ("_at", "_credit", "_loop", "_waiting", "_wakes", "rate_bps", "share")

    def __init__(self, loop: Loop) -> None:
        self.rate_bps: int | None = None
        self.share = 1.0
        self._loop = loop
        self._credit = 0.0
        self._at = loop.now
        self._waiting: dict[End, None] = {}
        self._wakes = False

    def admits(self, end: "End") -> bool:
        """Say whether an end may read now; if not, it is not watched until it may."""
        rate = self._bytes_per_s()
        if rate is None:
            return True
        now = self._loop.now
        self._credit = min(self._credit + (now - self._at) * rate, rate * BURST_S)
        self._at = now
        if self._credit > 0:
            return True
        end.watch(end.mask & ~EPOLLIN)
        self._waiting[end] = None
        if not self._wakes:
            self._wakes = True
            self._loop.call_in(max(WAIT_MIN_S, -self._credit / rate), self._wake)
        return False

    def reading_bytes(self) -> int:
        """Return how much an end reads at a time: little enough that the others' turn comes soon."""
        return max(READING_MIN_BYTES, int((self._bytes_per_s() or READING_MAX_BYTES) * READING_S))

    def took(self, size_bytes: int) -> None:
        """Count what was read."""
        self._credit -= size_bytes

    def _wake(self) -> None:
        self._wakes = False
        waiting, self._waiting = self._waiting, {}
        for end in waiting:  # who has waited longest reads first; who finds nothing left is the first of the next time
            end.may_read_again()

    def _bytes_per_s(self) -> float | None:
        return None if self.rate_bps is None else max(1.0, self.rate_bps / 8 * self.share)
