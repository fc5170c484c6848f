"""How good a line is beyond being up: jitter and loss by direction, as echoes show them. For people, not verdicts."""

from dataclasses import dataclass, field
from typing import Final

from hagw.pmf.asker import Passage

_WEIGHT: Final = 1 / 16  # RFC 3550 section 6.4.1
_STEP_MAX_S: Final = 5.0  # a larger one is a clock that was set
_KEEP: Final = 0.98  # of what was counted, at each answer: the last fifty or so
_ENOUGH: Final = 5.0


@dataclass(slots=True)
class Jitter:
    """Mean difference between the transit times of successive packets, in seconds (RFC 3550 section 6.4.1)."""

    value_s: float | None = None
    _before_s: float | None = None

    def add(self, transit_s: float) -> None:
        """Take one packet's transit time; an unknown but constant clock offset in it does not matter."""
        before, self._before_s = self._before_s, transit_s
        if before is None or abs(transit_s - before) > _STEP_MAX_S:
            return
        step_s = abs(transit_s - before)
        self.value_s = step_s if self.value_s is None else self.value_s + (step_s - self.value_s) * _WEIGHT


@dataclass(slots=True)
class WayLoss:
    """Loss by direction, from counts both ends keep; None until enough questions are accounted for."""

    _sent: float = 0.0
    _reached: float = 0.0
    _answered: float = 0.0

    def add(self, passage: Passage) -> None:
        """Take what an answer tells about the questions since the one before."""
        self._sent = self._sent * _KEEP + passage.sent
        self._reached = self._reached * _KEEP + passage.reached
        self._answered = self._answered * _KEEP + passage.answered

    @property
    def up(self) -> float | None:
        """Share of questions that did not reach the gateway."""
        return _missing(self._reached, self._sent)

    @property
    def down(self) -> float | None:
        """Share of the gateway's answers that did not reach us."""
        return _missing(self._answered, self._reached)


@dataclass(slots=True)
class Quality:
    """One line's jitter and loss by direction."""

    jitter: Jitter = field(default_factory=Jitter)
    jitter_up: Jitter = field(default_factory=Jitter)
    jitter_down: Jitter = field(default_factory=Jitter)
    loss: WayLoss = field(default_factory=WayLoss)

    def add(self, rtt_s: float, offset_s: float, passage: Passage | None) -> None:
        """Take an echo; `offset_s` is the gateway's clock minus ours if both ways had taken as long."""
        self.jitter.add(rtt_s)
        self.jitter_up.add(rtt_s / 2 + offset_s)
        self.jitter_down.add(rtt_s / 2 - offset_s)
        if passage is not None:
            self.loss.add(passage)


def _missing(arrived: float, sent: float) -> float | None:
    return max(0.0, 1.0 - arrived / sent) if sent >= _ENOUGH else None
