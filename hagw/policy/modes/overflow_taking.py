"""Taking away: the next tier was open and is limited. Do the preferred lines carry instead what it carried?"""

from dataclasses import dataclass
from typing import Final

from hagw.policy.modes.overflow_readings import Readings

TAKEN: Final = 0.05  # of what they carry: so much must have been taken away, for TAKEN_S, to tell what became of it
TAKEN_EXCESS: Final = 0.1  # likewise, of what the next tier carried
TAKEN_S: Final = 1.5
TAKEN_LASTS_S: Final = 5.0
GIVEN_BACK: Final = 0.4  # of what was taken from the next tier: less, and the preferred lines were full
AT_ONCE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Began:
    at: float
    preferred_bps: float
    excess_bps: float


class Taking:
    """What the lines carried when it began, if anything has been taken away lately; `readings` are the controller's."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._began: _Began | None = None

    def begin(self, now: float) -> None:
        """Remember what the lines carry now, unless it is already looked at."""
        if self._began is None:
            rates = (self._readings.rate_bps(which, AT_ONCE_S) for which in ("preferred", "excess"))
            self._began = _Began(now, *rates)

    def forget(self) -> None:
        """Take what comes for no answer."""
        self._began = None

    def was_in_vain(self, now: float) -> bool | None:
        """Say whether the preferred lines do not carry what was taken from the next tier, None = not known (yet)."""
        began = self._began
        if began is None:
            return None
        if now - began.at > TAKEN_LASTS_S:
            self._began = None  # much else may have happened
            return None
        taken = began.excess_bps - self._readings.rate_bps("excess")
        if now - began.at < TAKEN_S or taken < max(TAKEN * began.preferred_bps, TAKEN_EXCESS * began.excess_bps):
            return None
        return self._readings.rate_bps("preferred") - began.preferred_bps < GIVEN_BACK * taken
