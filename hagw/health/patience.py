"""How much longer than usual a line is given before it is suspected, as it was suspected wrongly; forgotten in time."""

from math import exp2
from typing import Final

FACTOR_MAX: Final = 4.0
HALVES_S: Final = 300.0
_GROWS: Final = 1.5


class Patience:
    """One line's, as a factor: 1 = as usual."""

    def __init__(self, now: float) -> None:
        self._factor = 1.0
        self._since = now

    def factor(self, now: float) -> float:
        """Return by how much to stretch what is waited for at `now`."""
        halvings = max(0.0, now - self._since) / HALVES_S
        return 1.0 + (self._factor - 1.0) * exp2(-halvings)

    def was_short(self, now: float) -> None:
        """Take that it had only been slow: be more patient with it from now on."""
        self._factor = min(FACTOR_MAX, self.factor(now) * _GROWS)
        self._since = now
