"""What the lines of a stage of overflow have carried of late, as rates."""

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

RATE_S: Final = 1.0  # how long a rate is averaged
KEPT_S: Final = 2.5
ALONE: Final = 0.05  # what the next tier carries beside them, at most
ALONE_S: Final = 0.3
ALONE_WITHIN_S: Final = 1.5
PAUSE_S: Final = 1.0
LEVEL_S: Final = 2.0
LEVEL: Final = 0.05  # what moments may differ by
MOMENT_TICKS: Final = 2
SWING: Final = 0.5  # of the level: by so much the next tier's moments must differ, from its low to its high quarter
STEADY: Final = 0.08  # change from one half second to the next that counts as none
STEADY_BPS: Final = 400_000.0  # likewise: half seconds differ by a burst of one segment of 64 KB
LEAST_BPS: Final = 500_000.0  # a line that carries less is not full with anything worth steering

Which = Literal["preferred", "excess", "total", "reverse"]
BOTH: Final[tuple[Which, Which]] = ("preferred", "excess")


@dataclass(frozen=True, slots=True)
class Reading:
    """What lines have carried in one direction up to `at`: totals in bytes of IP packets, whoever sent them.

    `reverse` is what the preferred lines have carried in the other direction.
    """

    at: float
    preferred: int
    excess: int
    reverse: int = 0


class Readings:
    """The readings of the last seconds. Rates may be asked for once there is one."""

    def __init__(self) -> None:
        self._readings: deque[Reading] = deque()

    def add(self, reading: Reading) -> int:
        """Take a reading; return how many bytes the next tier carried since the one before."""
        last = self._readings[-1] if self._readings else reading
        if reading.at - last.at > PAUSE_S or reading.preferred < last.preferred or reading.excess < last.excess:
            self._readings.clear()  # a pause, or other counters: nothing before says anything
            last = reading
        self._readings.append(reading)
        while reading.at - self._readings[0].at > KEPT_S:
            self._readings.popleft()
        return reading.excess - last.excess

    def clear(self) -> None:
        """Forget them all."""
        self._readings.clear()

    @property
    def suffice(self) -> bool:
        """Whether they go back far enough for rates."""
        return self._readings[-1].at - self._readings[0].at >= 0.95 * RATE_S

    def rate_bps(self, which: Which, span_s: float = RATE_S, end_s: float = 0.0) -> float:
        """Return a mean rate over `span_s` up to `end_s` before the newest reading."""
        end = self._at(self._readings[-1].at - end_s)
        begin = self._at(end.at - span_s)
        span = end.at - begin.at
        if span <= 0:
            return 0.0
        preferred, excess = end.preferred - begin.preferred, end.excess - begin.excess
        total, reverse = preferred + excess, end.reverse - begin.reverse
        moved = {"preferred": preferred, "excess": excess, "total": total, "reverse": reverse}[which]
        return moved * 8 / span

    def alone_bps(self) -> float | None:
        """Return the most that the preferred lines carried in any ALONE_S of late while alone, None = never were."""
        found = []
        for ago in range(round((ALONE_WITHIN_S - ALONE_S) / 0.1) + 1):
            preferred, excess = (self.rate_bps(which, ALONE_S, 0.1 * ago) for which in BOTH)
            if excess <= ALONE * preferred:
                found.append(preferred)
        return max(found, default=None)

    def level_bps(self) -> float | None:
        """Return what the preferred lines carry moment by moment while the next tier's share swings, None = it varies.

        Senders fill a line that has room in bursts, at what the line can, and the more the less the next tier takes.
        """
        latest = list(self._readings)
        if latest[-1].at - latest[0].at < LEVEL_S:
            return None
        moments = [
            (end.preferred - begin.preferred, end.excess - begin.excess, end.at - begin.at)
            for begin, end in zip(latest, latest[MOMENT_TICKS:], strict=False)
            if latest[-1].at - begin.at <= LEVEL_S and end.at > begin.at
        ]
        preferred = sorted(moved * 8 / span for moved, _, span in moments)
        excess = sorted(moved * 8 / span for _, moved, span in moments)
        quarter, level = len(moments) // 4, preferred[len(moments) // 2]
        is_level = preferred[quarter] >= (1 - LEVEL) * level and preferred[-1] <= (1 + LEVEL) * level
        return level if is_level and level and excess[-1 - quarter] - excess[quarter] >= SWING * level else None

    def is_steady(self) -> bool:
        """Say whether the preferred lines carry something, and as much as half a second ago."""
        now, before = self.rate_bps("preferred", 0.5), self.rate_bps("preferred", 0.5, 0.5)
        return now >= LEAST_BPS and abs(now - before) <= max(STEADY * now, STEADY_BPS)

    def _at(self, at: float) -> Reading:
        """Return the reading nearest to a time."""
        return min(self._readings, key=lambda reading: abs(reading.at - at))
