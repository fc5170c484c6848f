"""Closing: where next to nothing uses the next tier for a while it is closed for a second: is anything lost?"""

from dataclasses import dataclass
from typing import Final, Literal

from hagw.policy.modes.overflow_readings import RATE_S, Readings

SHARE: Final = 0.12  # what uses the next tier, of what uses the preferred lines
LENGTH_S: Final = 1.0
LOSS: Final = 0.03
AGAIN_S: Final = 5.0  # doubled with every time
AGAIN_MAX_S: Final = 60.0

Verdict = Literal["under way", "room", "full"]


@dataclass(frozen=True, slots=True)
class _Closed:
    until: float
    before_bps: float
    allowed_bps: float | None


class Closing:
    """When to close, and what came of it; `readings` are the controller's."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._closed: _Closed | None = None
        self._little_since: float | None = None
        self._next_at = 0.0
        self._again_s = AGAIN_S

    @property
    def is_under_way(self) -> bool:
        """Whether the next tier is closed for that."""
        return self._closed is not None

    def forget(self) -> None:
        """Begin anew to look at how little is over."""
        self._closed = self._little_since = None

    def abandon(self) -> None:
        """Forget a closing that is under way."""
        self._closed = None

    def saw_little(self, now: float) -> None:
        """Little is over from now on, if it is not already."""
        if self._little_since is None:
            self._little_since = now

    def begin(self, now: float, preferred_bps: float, allowed_bps: float | None) -> bool:
        """Begin if little is over for long enough, and say so: then the next tier is to be closed."""
        if self._readings.rate_bps("excess") > SHARE * preferred_bps or now < self._next_at:
            self._little_since = None
            return False
        self.saw_little(now)
        if self._little_since is None or now - self._little_since < 2 * RATE_S:
            return False
        self._little_since = None
        self._closed = _Closed(now + LENGTH_S, self._readings.rate_bps("total"), allowed_bps)
        return True

    def end(self, now: float, carried_bps: float) -> tuple[Verdict, float | None]:
        """Return what has come of it, while the preferred lines carry so much, and what was allowed before."""
        closed = self._closed
        assert closed is not None
        if now < closed.until:
            return "under way", closed.allowed_bps
        self._closed = None
        self._next_at = now + self._again_s
        self._again_s = min(2 * self._again_s, AGAIN_MAX_S)
        has_room = carried_bps >= (1 - LOSS) * closed.before_bps
        return "room" if has_room else "full", closed.allowed_bps
