"""Trials: what lines can carry is not known, and nothing but opening the next tier for a moment will tell.

Each costs a third of a second of the dear line, so one is made only where there is reason to: more is carried than is
known to be enough, or less than a while ago for no reason that the other direction would give.
"""

from dataclasses import dataclass
from typing import Final, Literal

from hagw.policy.modes.overflow_readings import ALONE, Readings

BEGINS_S: Final = 0.15  # what comes before is what was under way
LENGTH_S: Final = 0.35
HALF_BEGINS_S: Final = 0.1
HALF_S: Final = 0.1
HOPELESS: Final = 1.02
ROUND_TRIPS: Final = 5.0
GAIN: Final = 1.15
AGAIN_S: Final = 10.0  # doubled with every trial in vain
AGAIN_MAX_S: Final = 160.0
NEWCOMER_S: Final = 1.0
MUCH_MORE: Final = 1.5  # times what was enough: that is another demand
WORTH: Final = 0.7  # of the capacity: less is tried only when it lasts, or after a drop
LASTS_S: Final = 30.0
DOUBTFUL_S: Final = 60.0  # how long lines that were full are taken to carry the same
DROP: Final = 1.2
CROWDED: Final = 1.5  # times what the other direction carried at the peak; and what was enough, by who catches up
CROWDED_BPS: Final = 300_000.0
ENOUGH_S: Final = 120.0  # how long a trial in vain is believed
KNOWN_MARGIN: Final = 1.06  # above a rate that was carried without need of more

Verdict = Literal["under way", "in vain", "full"]


@dataclass(frozen=True, slots=True)
class _Trial:
    began: float
    until: float
    before_bps: float


class Trials:
    """When to try, and what came of it; `readings` are the controller's."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._trial: _Trial | None = None
        self._next_at = 0.0
        self._again_s = AGAIN_S
        self._enough_bps = 0.0  # carried without need of more
        self._enough_at = 0.0
        self._steady_since: float | None = None
        self._full_at = -DOUBTFUL_S
        self._peak_bps = 0.0
        self._peak_reverse_bps = 0.0

    @property
    def is_under_way(self) -> bool:
        """Whether the next tier is open for a trial."""
        return self._trial is not None

    def newcomer(self, now: float) -> None:
        """Whoever comes may want more than those before."""
        self._enough_bps = 0.0
        self._next_at = min(self._next_at, now + NEWCOMER_S)

    def saw_full(self, now: float) -> None:
        """The lines have just been full: their capacity is no matter of doubt."""
        self._full_at = now

    def abandon(self) -> None:
        """Forget a trial that is under way."""
        self._trial = None

    def forget_peak(self) -> None:
        """What is carried from now on is no drop, however little."""
        self._peak_bps = 0.0

    def rest(self) -> None:
        """There is nothing to look at for a while."""
        self._trial = None
        self._steady_since = None
        self._peak_bps = self._peak_reverse_bps = 0.0

    def note_peak(self, carried: float) -> None:
        """Remember the most that was carried, and what the other direction carried then."""
        if carried < self._peak_bps or self._is_crowded():
            return
        reverse = self._readings.rate_bps("reverse")
        is_same = carried <= KNOWN_MARGIN * self._peak_bps  # an upload that has just begun has not slowed it down yet
        self._peak_reverse_bps = min(self._peak_reverse_bps, reverse) if is_same else reverse
        self._peak_bps = carried

    def begin(self, now: float, cap_bps: float | None, excess_rtt_ms: float | None) -> bool:
        """Begin a trial if there is reason to, and say whether: then the next tier is to be opened."""
        carried = self._readings.rate_bps("preferred", 0.5)
        if not self._readings.is_steady():
            self._steady_since = None
        elif self._steady_since is None:
            self._steady_since = now
        is_alone = self._readings.rate_bps("excess", 0.5) <= ALONE * carried  # what was under way is not to be compared
        is_time = self._steady_since is not None and now >= self._due_at(carried)
        if is_alone and is_time and self._may_be_full(now, carried, cap_bps):
            length = max(LENGTH_S, ROUND_TRIPS * (excess_rtt_ms or 0.0) / 1000)
            self._trial = _Trial(now, now + length, self._readings.rate_bps("total", 0.5))
        self.note_peak(carried)
        return self._trial is not None

    def _due_at(self, carried: float) -> float:
        """Return when the next trial may begin: soon, where much more is carried than what was enough."""
        if self._enough_bps and carried >= MUCH_MORE * self._enough_bps:
            return min(self._next_at, self._enough_at + NEWCOMER_S)
        return self._next_at

    def end(self, now: float) -> tuple[Verdict, float]:
        """Return what has come of the trial that is under way, and what the lines carried before it."""
        trial = self._trial
        assert trial is not None
        if now < trial.until and not self._is_hopeless(trial, now):
            return "under way", trial.before_bps
        self._trial = None
        self._peak_bps = 0.0
        self.note_peak(trial.before_bps)
        if self._readings.rate_bps("total", now - trial.began - BEGINS_S) >= GAIN * trial.before_bps:
            self._enough_bps = 0.0
            self._again_s = AGAIN_S
            return "full", trial.before_bps
        self._enough_bps, self._enough_at = trial.before_bps, now
        self._next_at = now + self._again_s
        self._again_s = min(2 * self._again_s, AGAIN_MAX_S)
        return "in vain", trial.before_bps

    def _may_be_full(self, now: float, carried: float, cap_bps: float | None) -> bool:
        """Say whether there is reason to try: more than is known to be enough, or less than a while ago."""
        if carried <= CROWDED * self._enough_bps and self._is_crowded():
            return False  # who was slowed down catches up
        if carried * DROP < self._peak_bps:
            return not self._is_crowded()
        if carried <= KNOWN_MARGIN * self._enough_bps and now - self._enough_at < ENOUGH_S:
            return False
        if cap_bps is None or now - self._full_at > DOUBTFUL_S or carried >= WORTH * cap_bps:
            return True
        return self._steady_since is not None and now - self._steady_since >= LASTS_S

    def _is_crowded(self) -> bool:
        """Say whether the other direction carries so much more than at the peak that acknowledgements wait there.

        Then that is why less arrives, not that the lines are full: a sender slows down as its round trips grow.
        """
        is_more = self._readings.rate_bps("reverse") >= max(CROWDED * self._peak_reverse_bps, CROWDED_BPS)
        return self._peak_bps > 0 and is_more

    def _is_hopeless(self, trial: _Trial, now: float) -> bool:
        """Say whether nothing at all has come of it by half of the time."""
        since = now - trial.began - HALF_BEGINS_S
        return since >= HALF_S and self._readings.rate_bps("total", since) < HOPELESS * trial.before_bps
