"""What each line can carry in each direction: hints from the configuration, else the rates seen while it was full.

Remembered for ten minutes, so that a later connection need not find out again which line would hold it up. What speaks
against a line counts for half a minute first, and four times as long each time that it turns out to be so again: a
stall or the repair of a loss must not cost a good line for long.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from hagw.model.snapshot import Direction, LearnedView

EXPIRY_S: Final = 600.0
FIRST_HOLD_S: Final = 30.0
HOLD_FACTOR: Final = 4.0
WINDOW_S: Final = 0.19  # callers come every 0.2 s or so
_PAUSE_S: Final = 1.0  # a window with a longer hole in it says nothing
# A full line that for two seconds carries less than this part of what it once did has become slower (DSL retrain).
_SLOWER: Final = 0.7
_SLOWER_WINDOWS: Final = 10


@dataclass(slots=True)
class _Window:
    begun_at: float
    carried_bytes: int = 0
    delivery_bps: float = 0.0
    calls: int = 0
    full_calls: int = 0
    before_bps: float | None = None  # the rate of the window before


@dataclass(slots=True)
class _Learned:
    bps: float
    at: float
    full: bool  # seen while the line was full: this is all it can carry, not only what it was given
    slower: int = 0


@dataclass(frozen=True, slots=True)
class _Doubt:
    """What speaks against a line counts from then until then; the line is tried again afterwards."""

    since: float
    until: float


@dataclass(slots=True)
class CapacityBook:
    """Capacities in bit/s by uplink and direction; bounded by the number of uplinks given to it."""

    expiry_s: float = EXPIRY_S
    _hints: dict[tuple[str, Direction], float] = field(default_factory=dict)
    _windows: dict[tuple[str, Direction], _Window] = field(default_factory=dict)
    _learned: dict[tuple[str, Direction], _Learned] = field(default_factory=dict)
    _harmful: dict[tuple[str, Direction], tuple[float, str]] = field(default_factory=dict)
    _doubts: dict[tuple[str, Direction], _Doubt] = field(default_factory=dict)

    def hint(self, uplink: str, direction: Direction, bps: float | None) -> None:
        """Take the configured rate of a line; None = there is none."""
        if bps:
            self._hints[uplink, direction] = bps
        else:
            self._hints.pop((uplink, direction), None)

    def carried(
        self, uplink: str, direction: Direction, size_bytes: int, delivery_bps: float, full: bool, now: float
    ) -> None:
        """Take what one connection moved over the line since it was asked last; connections add up.

        `full` = the line had a queue, so what it carried is what it can. `delivery_bps` is the kernel's own estimate:
        unlike acknowledged bytes it does not stand still, then jump, while a loss is repaired.
        """
        key = uplink, direction
        window = self._windows.get(key)
        if window is None or now - window.begun_at > _PAUSE_S:
            self.expect(uplink, direction, now)
            return
        window.carried_bytes += size_bytes
        window.delivery_bps = max(window.delivery_bps, delivery_bps)
        window.calls += 1
        window.full_calls += full
        span = now - window.begun_at
        if span < WINDOW_S:
            return
        rate = max(window.carried_bytes * 8 / span, window.delivery_bps)
        if not window.carried_bytes:
            self._windows[key] = _Window(now)  # an outage says nothing about capacity
            return
        if window.before_bps is not None:
            # One window may be a burst; what two in a row carried is real.
            self._learn(key, min(rate, window.before_bps), 2 * window.full_calls >= window.calls, now)
        self._windows[key] = _Window(now, before_bps=rate)

    def expect(self, uplink: str, direction: Direction, now: float) -> None:
        """Begin a window, unless one is under way: a connection is about to use the line."""
        window = self._windows.get((uplink, direction))
        if window is None or now - window.begun_at > _PAUSE_S:
            self._windows[uplink, direction] = _Window(now)

    def jammed(self, uplink: str, direction: Direction, bps: float, now: float) -> None:
        """Take the rate of a line whose queue is so long that what it carries is all it can, without a second look."""
        self._learn((uplink, direction), bps, True, now)

    def capacity_bps(self, uplink: str, direction: Direction, now: float) -> float | None:
        """Return what the line can carry at least, None = not known (any more). A hint wins."""
        hint = self._hints.get((uplink, direction))
        if hint is not None:
            return hint
        known = self._known((uplink, direction), now)
        return known.bps if known is not None else None

    def limit_bps(self, uplink: str, direction: Direction, now: float) -> float | None:
        """Return what the line can carry at most: a hint, or what it carried while full; else None.

        None also when that spoke against the line and is to be found out anew by now.
        """
        key = uplink, direction
        hint = self._hints.get(key)
        if hint is not None:
            return hint
        known = self._known(key, now)
        return known.bps if known is not None and known.full and not self._is_stale(key, known, now) else None

    def limit_since(self, uplink: str, direction: Direction, at: float) -> float | None:
        """Return what the line can carry at most if that was found out after a time, else None."""
        known = self._learned.get((uplink, direction))
        return known.bps if known is not None and known.full and known.at > at else None

    def is_hinted(self, uplink: str, direction: Direction) -> bool:
        """Say whether the capacity is the configured one."""
        return (uplink, direction) in self._hints

    def doubt(self, uplink: str, direction: Direction, now: float, hold_s: float = FIRST_HOLD_S) -> None:
        """Take that what is known speaks against the line; from the first time on it counts for `hold_s`."""
        before = self._doubts.get((uplink, direction))
        if before is not None and now < before.until:
            return
        if before is not None and now - before.until <= self.expiry_s:
            hold_s = min(self.expiry_s, max(hold_s, HOLD_FACTOR * (before.until - before.since)))
        self._doubts[uplink, direction] = _Doubt(now, now + hold_s)

    def mark_harmful(
        self, uplink: str, direction: Direction, reason: str, now: float, hold_s: float = FIRST_HOLD_S
    ) -> None:
        """Remember that the line held up a connection in this direction."""
        self._harmful[uplink, direction] = (now, reason)
        self.doubt(uplink, direction, now, hold_s)

    def harmful(self, uplink: str, direction: Direction, now: float) -> str | None:
        """Return why the line is known to hold up connections in this direction, None = it is not (any more)."""
        key = uplink, direction
        found, doubt = self._harmful.get(key), self._doubts.get(key)
        if found is None or doubt is None or not doubt.since <= found[0] <= now < doubt.until:
            return None
        return found[1]

    def learned(self) -> tuple[LearnedView, ...]:
        """Return what was found out, by line and direction."""
        found = []
        for key in sorted({*self._learned, *self._doubts}):
            rate, doubt = self._learned.get(key), self._doubts.get(key)
            view = LearnedView(*key)
            if doubt is not None:
                view = replace(view, doubted_at=doubt.since, doubted_until=doubt.until)
                harm = self._harmful.get(key)
                if harm is not None and harm[0] >= doubt.since:
                    view = replace(view, harmful_at=harm[0], harmful=harm[1])
            if rate is not None:
                view = replace(view, bps=rate.bps, full=rate.full, at=rate.at)
            found.append(view)
        return tuple(found)

    def adopt(self, view: LearnedView) -> None:
        """Take what another worker found out, where it is newer than what is known here."""
        key = view.uplink, view.direction
        rate = self._learned.get(key)
        if view.bps is not None and view.at is not None and (rate is None or view.at > rate.at):
            self._learned[key] = _Learned(view.bps, view.at, view.full)
        harm = self._harmful.get(key)
        if view.harmful_at is not None and (harm is None or view.harmful_at > harm[0]):
            self._harmful[key] = view.harmful_at, view.harmful
        doubt = self._doubts.get(key)
        if view.doubted_until is not None and (doubt is None or view.doubted_until > doubt.until):
            self._doubts[key] = _Doubt(view.doubted_at or 0.0, view.doubted_until)

    def _known(self, key: tuple[str, Direction], now: float) -> _Learned | None:
        known = self._learned.get(key)
        return known if known is not None and now - known.at <= self.expiry_s else None

    def _is_stale(self, key: tuple[str, Direction], known: _Learned, now: float) -> bool:
        """Say whether what is known spoke against the line for as long as it may, and was not found out again since."""
        doubt = self._doubts.get(key)
        return doubt is not None and now >= doubt.until >= known.at

    def _learn(self, key: tuple[str, Direction], bps: float, full: bool, now: float) -> None:
        """Rise at once and with any rate; fall only with rates of a full line, and slowly."""
        known = self._known(key, now)
        if known is None or (self._is_stale(key, known, now) and (full or bps >= known.bps)):
            self._learned[key] = _Learned(bps, now, full)
        elif bps >= known.bps:
            self._learned[key] = _Learned(bps, now, full or known.full)
        elif full:
            known.full = True
            known.slower = known.slower + 1 if bps < known.bps * _SLOWER else 0
            if known.slower == 0:
                known.at = now
            elif known.slower >= _SLOWER_WINDOWS:
                self._learned[key] = _Learned(bps, now, full)
