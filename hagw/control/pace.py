"""How soon the reconcile loop makes its next pass by itself: after failures ever later, else when something is due."""

from collections.abc import Iterable
from typing import Final

FULL_PASS_S: Final = 60.0  # drift is found and repaired at least this often
MINUTE_S: Final = 60.0  # rules with hours begin and end on the full minute
RETRY_S: Final = (0.5, 1.0, 2.0, 5.0, 15.0)


class Pace:
    """Counts failures in a row and keeps the last one's words."""

    def __init__(self) -> None:
        self.trouble = ""  # "" = the kernel holds what it shall
        self._failures = 0

    @property
    def is_failing(self) -> bool:
        """Whether the last pass did not reach its end."""
        return self._failures > 0

    def failed(self) -> None:
        """A pass did not reach its end."""
        self._failures += 1

    def reached(self) -> None:
        """A pass made the kernel hold what it shall."""
        self._failures, self.trouble = 0, ""

    def patience_s(self, now: float, dues: Iterable[float | None], minute_at: float | None) -> float:
        """Return how long to wait for a trigger. `dues` are monotonic like `now`, None = nothing falls due.

        `minute_at` is the wall clock where rules have hours, else None.
        """
        if self._failures:
            return RETRY_S[min(self._failures, len(RETRY_S)) - 1]
        patience_s = min([FULL_PASS_S, *(max(0.0, due - now) for due in dues if due is not None)])
        return patience_s if minute_at is None else min(patience_s, MINUTE_S - minute_at % MINUTE_S)
