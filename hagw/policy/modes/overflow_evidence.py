"""What the rates of late say of the preferred lines while the next tier is open: full, with room, slower than known.

A moment says little: senders pause, bbr empties a line for 0.2 s in each ten. So evidence is gathered for a while, and
moments in which all lines carry little are none.
"""

from typing import Final

from hagw.policy.modes.overflow_readings import Readings
from hagw.policy.modes.overflow_trial import GAIN

CONTROL_S: Final = 0.7
LIMITED_S: Final = 1.5  # what is opened and closed comes in bursts
SETTLED_S: Final = 2.0  # a line that had next to nothing to carry needs a moment until it is full again
SHRINK: Final = 0.935  # of the capacity
LEVEL: Final = 0.985
SLOWER: Final = 0.9  # of the capacity: full with less, they have become slower
SLOWER_S: Final = 2.0  # seen for so long: the gap of a bbr's probe is among what is looked at for LIMITED_S and more
GAP: Final = 0.85  # of the capacity: all lines together carry less than the preferred ones could
GAP_S: Final = 0.2
GAP_MOST_S: Final = 0.5  # bbr pauses for 0.2 s; what lasts longer is a smaller demand
PAUSE: Final = 0.1  # of the capacity: who sends so little for BURST_S pauses, however long
BURST_S: Final = 0.3
PATIENCE: Final = (
    12  # ticks: bbr empties a line for 0.2 s in each ten to see its round trip, and its neighbour after it
)


class Evidence:
    """Gathered since `begin`; `readings` are the controller's."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._slower_since: float | None = None
        self._gap_since: float | None = None
        self._from = 0.0  # what comes before is not looked at to tell whether they are full
        self._limited_at = 0.0
        self._low_ticks = 0
        self.alone_bps: float | None = None  # what they carry without the next tier, None = not known

    def begin(self, now: float) -> None:
        """The preferred lines have just been found to be full."""
        self._slower_since = self._gap_since = None
        self._from = now
        self._low_ticks = 0

    def limited(self, now: float) -> None:
        """The next tier, open until now, is limited."""
        self._limited_at = now

    def is_settled(self, now: float) -> bool:
        """Say whether the next tier has been limited for a while."""
        return now - self._limited_at >= SETTLED_S

    def look(self, now: float, cap: float, is_limited: bool) -> None:
        """Take the readings of the moment."""
        is_known = is_limited and now - self._limited_at >= SETTLED_S + LIMITED_S and self._readings.is_steady()
        self.alone_bps = alone = self._readings.alone_bps() if is_known else None
        if alone is None:
            return
        is_slower = alone < SLOWER * cap and self._is_more(alone)
        self._slower_since = (now if self._slower_since is None else self._slower_since) if is_slower else None

    def look_for_gap(self, now: float, cap: float) -> None:
        """Have nothing judged by a moment in which a sender paused: it wants what it wanted before."""
        if self._readings.rate_bps("total", GAP_S) >= GAP * cap:
            self._gap_since = None
            return
        self._gap_since = now if self._gap_since is None else self._gap_since
        if now - self._gap_since < GAP_MOST_S or self._readings.rate_bps("total", BURST_S) < PAUSE * cap:
            self._from = now

    def is_slower(self, now: float) -> bool:
        """Say whether all that is seen of the preferred lines alone says for a while that they have become slower."""
        return self._slower_since is not None and now - self._slower_since >= SLOWER_S

    def slower_bps(self, cap: float) -> float | None:
        """Return what they carry, less than known, moment by moment whatever the next tier does: what they can."""
        level = self._readings.level_bps()
        return level if level is not None and level < SLOWER * cap and self._is_more(level) else None

    def is_level(self, preferred: float) -> bool:
        """Say whether the preferred lines carry no less while the next tier is open, and that carries more."""
        alone = self.alone_bps
        return alone is not None and preferred >= LEVEL * alone and self._is_more(alone)

    def are_full(self) -> None:
        """They are."""
        self._low_ticks = 0

    def is_low(self, now: float, cap: float, *, is_limited: bool) -> bool:
        """Say whether the preferred lines carry less than they can, for long enough to believe it."""
        if now - self._from < LIMITED_S:  # before they were full, or while nothing was sent: no word of what is needed
            self._low_ticks = 0
            return False
        if is_limited:
            halves = (self._readings.rate_bps("preferred", LIMITED_S / 2, ago) for ago in (0.0, LIMITED_S / 2))
            return all(half < SHRINK * cap for half in halves)
        is_low = self._readings.rate_bps("preferred", CONTROL_S) < SHRINK * cap
        self._low_ticks = self._low_ticks + 1 if is_low else 0
        return self._low_ticks > PATIENCE and self._readings.rate_bps("preferred", GAP_S) < SHRINK * cap

    def _is_more(self, bps: float) -> bool:
        """Say whether all the lines carry more than so much: then something waits for the preferred ones."""
        return min(self._readings.rate_bps("total", span) for span in (CONTROL_S, LIMITED_S)) >= GAIN * bps
