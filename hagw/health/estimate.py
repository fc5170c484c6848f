"""What echoes and counters say about a line: round trip, loss, how steadily it receives."""

from collections import deque
from dataclasses import dataclass, field
from math import ceil, log
from typing import Final

_FIRST: Final = 4
_LOST_AFTER_S: Final = 0.25
_BUCKET_S: Final = 300.0
_JITTER_MAX_S: Final = 0.160  # a death must be known in time on the worst line
_WINDOW_S: Final = 0.2
_LATELY_S: Final = 0.080
_LATELY_TURNS: Final = 3
_UNLIKELY: Final = 1e-5
_OUTAGE: Final = 12  # questions lost in a row


@dataclass(slots=True)
class RoundTrip:
    """Smoothed round trip (RFC 6298 weights) and its floor over the last 5 to 10 minutes, in seconds."""

    smoothed_s: float | None = None
    variation_s: float = 0.0
    last_s: float | None = None
    _floor_s: float | None = None
    _floor_before_s: float | None = None
    _bucket_at: float = 0.0
    _seen: int = 0

    def add(self, rtt_s: float, now: float) -> None:
        """Take one echo's round trip."""
        self.last_s = rtt_s
        self._seen += 1
        if self.smoothed_s is None or (self._seen <= _FIRST and rtt_s < self.smoothed_s):
            # The very first packets also wait for neighbour discovery at every hop.
            self.smoothed_s, self.variation_s = rtt_s, rtt_s / 2
        else:
            self.variation_s += (abs(self.smoothed_s - rtt_s) - self.variation_s) / 4
            self.smoothed_s += (rtt_s - self.smoothed_s) / 8
        if self._floor_s is None or now - self._bucket_at >= _BUCKET_S:
            self._floor_before_s, self._floor_s, self._bucket_at = self._floor_s, rtt_s, now
        else:
            self._floor_s = min(self._floor_s, rtt_s)

    @property
    def patience_s(self) -> float:
        """For how long an answer may be under way before it counts as lost."""
        usual_s = (self.smoothed_s or 0.0) + 4 * self.variation_s
        return _LOST_AFTER_S + max(usual_s, 2 * (self.last_s or 0.0))

    @property
    def floor_s(self) -> float | None:
        """The unloaded round trip, as far as seen."""
        if self._floor_s is None or self._floor_before_s is None:
            return self._floor_s
        return min(self._floor_s, self._floor_before_s)


@dataclass(slots=True)
class QuietTrip:
    """How long answers take on a line that just receives nothing: what its jitter, not a queue, makes of the floor."""

    _smoothed_s: float | None = None
    _variation_s: float = 0.0

    def add(self, rtt_s: float) -> None:
        """Take the round trip of a question that was asked in silence."""
        if self._smoothed_s is None:
            self._smoothed_s, self._variation_s = rtt_s, rtt_s / 4
        else:
            self._variation_s += (abs(self._smoothed_s - rtt_s) - self._variation_s) / 8
            self._smoothed_s += (rtt_s - self._smoothed_s) / 8

    def longest_s(self, floor_s: float) -> float:
        """Return what an answer hardly ever takes longer than; jitter excuses `_JITTER_MAX_S` at most."""
        if self._smoothed_s is None:
            return floor_s
        return min(self._smoothed_s + 4 * self._variation_s, floor_s + _JITTER_MAX_S)


@dataclass(slots=True)
class Loss:
    """Share of questions that stay unanswered, 0..1, over the last twenty or so; None = nothing was answered yet.

    Questions that nobody was there to answer, at the start or in an outage, say nothing about the line's loss.
    """

    value: float | None = None
    _seen: int = 0
    _lost_in_a_row: int = 0

    def add(self, lost: bool) -> None:
        """Take the fate of one question."""
        if lost and self.value is None:
            return
        if not lost and self._lost_in_a_row >= _OUTAGE:
            self.value, self._seen = None, 0
        self._lost_in_a_row = self._lost_in_a_row + 1 if lost else 0
        self._seen += 1
        weight = max(1 / self._seen, 1 / 20)
        self.value = (self.value or 0.0) * (1 - weight) + (weight if lost else 0.0)

    def questions_to_be_sure(self) -> int:
        """Return how many unanswered questions in a row cannot be this line's ordinary loss; 3 to 12."""
        share = min(0.5, max(0.01, self.value or 0.0))
        return max(3, min(12, ceil(log(_UNLIKELY) / log(share))))


@dataclass(slots=True)
class Reception:
    """How densely packets arrived in the 0.2 s before the last one did."""

    last_at: float | None = None
    _arrivals: deque[tuple[float, int]] = field(default_factory=deque)
    _packets: int = 0

    def add(self, packets: int, now: float) -> None:
        """Take `packets` that arrived in the turn ending at `now`."""
        self.last_at = now
        self._arrivals.append((now, packets))
        self._packets += packets
        while self._arrivals[0][0] < now - _WINDOW_S:
            self._packets -= self._arrivals.popleft()[1]

    def mean_gap_s(self) -> float | None:
        """Return the mean gap between packets, None if they did not come steadily (six in 0.2 s, over 0.1 s)."""
        if self._packets < 6 or self._arrivals[-1][0] - self._arrivals[0][0] < _WINDOW_S / 2:
            return None
        return _WINDOW_S / self._packets

    def is_steady(self, now: float) -> bool:
        """Say whether packets have been arriving steadily up to now; a stray one after a silence does not count."""
        if self.mean_gap_s() is None:
            return False
        turns = 0
        for at, _ in reversed(self._arrivals):
            if at < now - _LATELY_S:
                break
            turns += 1
        return turns >= _LATELY_TURNS
