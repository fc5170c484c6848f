"""Attentive time: a clock that stands still while nobody was there to listen.

On a busy machine the whole process may not run for 50 ms. Then nothing was received because nothing was read: such a
hole must not count as a line's silence. Deadlines are therefore measured on this clock, which advances at each turn
by the real time since the turn before, unless the turn came late; then by what had been planned.
"""

from typing import Final

SLACK_S: Final = 0.020


class Attention:
    """Attentive time of one loop; starts at the real `now` and never runs ahead of it."""

    def __init__(self, now: float) -> None:
        self._real = now
        self._attentive = now
        self._planned_s = 0.0

    def plan(self, seconds: float) -> None:
        """Say when the next turn is due."""
        self._planned_s = seconds

    def advance(self, now: float) -> float:
        """Begin a turn at real time `now`; return its attentive time."""
        passed = max(0.0, now - self._real)
        late = passed > self._planned_s + SLACK_S
        self._attentive += self._planned_s if late else passed
        self._real = now
        return self._attentive

    def at(self, now: float) -> float:
        """Return the attentive time of something that happened between two turns."""
        return self._attentive + min(max(0.0, now - self._real), self._planned_s)
