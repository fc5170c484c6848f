"""Whether a gateway can be used, from echoes over any line and from what connections to it met.

A gateway is down when it refuses, or when no line gets an answer any more while questions are out on all of them: a
silent death is known 0.4 s after the first unanswered question. One that has never answered an echo (its probe port
may be filtered) is judged by connections alone. Recovery needs two good answers, and after a refused connection a
while, so that an answering echo port beside a dead converter does not make it flap.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

from hagw.health.estimate import RoundTrip
from hagw.model.health import GatewayReach

SILENT_S: Final = 0.400
SILENT_BUSY_S: Final = 0.600  # while some line still receives: it may be from the gateway
_QUESTIONS_MIN: Final = 4
_RETRY_S: Final = 1.0
_RETRY_MAX_S: Final = 5.0
_RETRY_GROWS_S: Final = 60.0  # by a second each: one that stays away is asked less often
_GOOD: Final = 2
_HOLD_S: Final = 1.0
_HOLD_MAX_S: Final = 30.0
_HOLD_MEMORY_S: Final = 60.0
_OFFSET_MEMORY_S: Final = 60.0
_OVERLOAD_S: Final = 5.0  # each of its workers speaks for itself: one that is not would take it back at once
_DOUBT_S: Final = 0.1  # a question unanswered for so long, and for two round trips, is followed by others


@dataclass(frozen=True, slots=True)
class Told:
    """What a gateway says of itself in an answer; `offset_s` is its clock minus ours if both ways took as long."""

    ipv6: bool
    offset_s: float
    draining: bool = False
    overloaded: bool = False


class GatewayWatch:
    """One gateway's judge."""

    def __init__(self, now: float) -> None:
        self.reach: GatewayReach = "unknown"
        self.reason = "not heard yet"
        self.heard_at: float | None = None
        self.down_at = now  # when it was last found down
        self.ipv6: bool | None = None
        self.draining = False
        self.drains_since = now
        self.overloaded = False
        self.clock_offset_s: float | None = None
        self.round_trip = RoundTrip()
        self._overloaded_at: float | None = None
        self._offset_at: float | None = None
        self._offset_error_s = 0.0
        self._open: dict[str, tuple[float, int]] = {}  # by line: first question since it was heard last, how many
        self._refusals = 0
        self._asked_at = now - _RETRY_S
        self._good = 0
        self._ask_soon = False  # the good answer before was the first: do not wait for the next turn of a second
        self._hold_s = _HOLD_S
        self._hold_until = now
        self._failed_at: float | None = None

    @property
    def is_hurried(self) -> bool:
        """Whether the next question about recovery is due at once."""
        return self._ask_soon

    def asked(self, line: str, now: float) -> None:
        """Take that a question went to it over `line`."""
        self._asked_at = now
        self._ask_soon = False
        since, count = self._open.get(line, (now, 0))
        self._open[line] = since, count + 1

    def rerouted(self, line: str) -> None:
        """Take that a line leaves from elsewhere now: what went out before can have been lost on the way back."""
        self._open.pop(line, None)

    def answered(self, rtt_s: float, told: Told, now: float) -> None:
        """Take an authentic answer; the clock's offset in it is wrong by half a round trip at most."""
        self.heard_at = now
        self.ipv6 = told.ipv6
        if told.draining and not self.draining:
            self.drains_since = now
        self.draining = told.draining
        if told.overloaded:
            self.overloaded, self._overloaded_at = True, now
        self.round_trip.add(rtt_s, now)
        self._take_offset(told.offset_s, rtt_s / 2, now)
        self._alive(now)

    def is_doubted(self, now: float) -> bool:
        """Whether a question stays unanswered for longer than answers have taken."""
        if self.heard_at is None or self.reach == "down" or not self._open:
            return False
        return now - min(since for since, _ in self._open.values()) > max(_DOUBT_S, 2 * (self.round_trip.last_s or 0.0))

    def refused(self, now: float) -> None:
        """Take an ICMP refusal of an echo: nobody listens there."""
        self._refusals += 1
        if self.heard_at is not None and self._refusals >= 2 and self.reach != "down":
            self._down("refuses echoes", now)

    def connection_failed(self, reason: str, now: float) -> None:
        """Take that a worker's connection to it was refused or reset."""
        if self.reach == "down":
            self._hold_until = max(self._hold_until, now + _HOLD_S)
            return
        flapping = self._failed_at is not None and now - self._failed_at < _HOLD_MEMORY_S
        self._hold_s = min(_HOLD_MAX_S, 2 * self._hold_s) if flapping else _HOLD_S
        self._failed_at = now
        self._hold_until = now + self._hold_s
        self._down(reason, now)

    def connection_answered(self, now: float) -> None:
        """Take that it accepted a worker's connection: the proof that earlier failures are over."""
        self._failed_at = None
        if self.reach == "down":
            self._hold_until = now
            self._good = _GOOD - 1
        self._alive(now)

    def turn(self, now: float, up_lines: Set[str], receiving: bool, slowest_s: float) -> bool:
        """Judge; return whether it wants a question of its own, over any line (`slowest_s`: a line's round trip)."""
        if self._overloaded_at is not None and now - self._overloaded_at > _OVERLOAD_S:
            self.overloaded, self._overloaded_at = False, None
        if self.reach == "down":
            return self._ask_soon or self._is_due(self.down_at, now)
        if self.heard_at is None:
            return False
        allowed = max(SILENT_BUSY_S if receiving else SILENT_S, 1.5 * slowest_s)
        open_up = [self._open[line] for line in up_lines or self._open.keys() if line in self._open]
        if len(open_up) < len(up_lines) or sum(count for _, count in open_up) < _QUESTIONS_MIN:
            return self.draining and self._is_due(self.drains_since, now)  # nothing of ours goes there to tell its end
        silent_s = now - max(since for since, _ in open_up)
        if silent_s < allowed:
            return False
        self._down(f"no echo for {silent_s * 1000:.0f} ms over {len(open_up)} lines", now)
        return True

    def _is_due(self, since: float, now: float) -> bool:
        """Whether to ask again one that cannot be used since then: the longer it lasts, the less often."""
        return now - self._asked_at >= min(_RETRY_MAX_S, max(_RETRY_S, (now - since) / _RETRY_GROWS_S))

    def _alive(self, now: float) -> None:
        self._open.clear()
        self._refusals = 0
        if self.reach != "down":
            self.reach, self.reason = "up", ""
            return
        self._good += 1
        self._ask_soon = self._good < _GOOD
        if self._good >= _GOOD and now >= self._hold_until:
            self.reach, self.reason = "up", ""
            self._good = 0

    def _down(self, reason: str, now: float) -> None:
        self.reach, self.reason = "down", reason
        self.down_at = now
        self._good = 0
        self._ask_soon = False
        self._refusals = 0
        self._open.clear()

    def _take_offset(self, offset_s: float, error_s: float, now: float) -> None:
        """Keep the best sample; a clock that stepped over there shows as more than both samples' errors."""
        known_s = self.clock_offset_s
        old = self._offset_at is None or now - self._offset_at > _OFFSET_MEMORY_S
        stepped = known_s is None or abs(offset_s - known_s) > error_s + self._offset_error_s
        if old or stepped or error_s <= self._offset_error_s:
            self.clock_offset_s, self._offset_error_s, self._offset_at = offset_s, error_s, now
