"""The no-harm guard: which lines one connection is better off without.

MPTCP's scheduler fills every subflow's window; a line much slower than the others then holds the data that everything
else waits for (1 Mbit/s joined to 20 + 20 gave 14 of 41 Mbit/s in upload; 5 + 20 + 20 gave 41.7 of 45). The guard
withholds (backup flag) a line from one connection in that connection's main direction:

- by capacity: the line, known full, carries less than 5.5 % of what the other lines of the connection can carry; two
  windows have to agree, two looks where it was given so much that it jams the connection: the others soon stand still;
- by blocking: its round trip is many times the others' while it carries a tiny share, for several samples;
- by trial, where fullness cannot be seen (download): without it the connection was measurably faster than before
  and after.

Never the last line, never for a connection that is not bulk and one-way. Called by the data plane every 200 ms or so
for each bulk connection: arithmetic over a handful of lines.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from hagw.health.capacity import WINDOW_S, CapacityBook
from hagw.model.snapshot import Direction

BULK_BYTES: Final = 256 * 1024
EARLY_BYTES: Final = 32 * 1024  # tells the direction of a connection that began with lines withheld
ONE_WAY: Final = 4.0  # bytes of the main direction per byte of the other
# 5 beside 20 + 20 is 0.125 and helps, 1 beside 20 + 20 is 0.025 and harms. In between, withholding costs this share at
# most. A line shared with other traffic shows less than it can: 5 Mbit/s up beside a full download showed 3.3 (0.078).
WITHHOLD_BELOW: Final = 0.055
RELEASE_ABOVE: Final = 0.08
REMEMBERED_BELOW: Final = 0.035  # a limit from an earlier connection has to be this clear, else it is measured again
WINDOWS: Final = 2  # consecutive windows that must agree
JAMMED_S: Final = 0.5  # what was given to a line takes so long to leave: everything behind it waits
JAMMED_FOR_S: Final = 0.1  # a machine that stands still while a sender begins makes one look like that
JAMMED_RTT_RATIO: Final = 2.0  # and its round trip says that the line is the reason, not the slow start of a sender
BLOCKING_RTT_RATIO: Final = 3.0
BLOCKING_RTT_MS: Final = 150.0
BLOCKING_WINDOWS: Final = 5  # for a line that carried enough lately: the repair of a loss looks the same for a while
LATELY_S: Final = 10.0
BLOCKING_SHARE: Final = 0.09  # the others are held down to 13 of 40 meanwhile, so 1 Mbit/s looks like 0.07
TRIAL_MIN_BPS: Final = 3_000_000.0
TRIAL_WINDOWS: Final = 6
TRIAL_SETTLE_WINDOWS: Final = 2  # what was queued on the line still arrives
_TRIAL_ALL: Final = TRIAL_SETTLE_WINDOWS + TRIAL_WINDOWS
TRIAL_GAIN: Final = 1.08
TRIAL_AGAIN_S: Final = 120.0
_MEMORY_S: Final = 2.0  # how fast the judgement of a connection's direction forgets


@dataclass(frozen=True, slots=True)
class SubflowSample:
    """What one connection's subflows over one uplink did since the sample before; several subflows are added up.

    `bytes_up` are acknowledged bytes we sent, `bytes_down` received ones; RTTs are the kernel's for what we send
    (None = unknown); `unacked_bytes` are in flight; `app_limited` = the sender had nothing more to send.
    """

    uplink: str
    bytes_up: int
    bytes_down: int
    delivery_rate_bps: float | None = None
    srtt_ms: float | None = None
    min_rtt_ms: float | None = None
    unacked_bytes: int = 0
    notsent_bytes: int = 0
    app_limited: bool = False


@dataclass(frozen=True, slots=True)
class Withheld:
    """A line to give the backup flag for this connection, and the sentence that says why.

    `jammed`: what the line was given already is to be sent again over the others; the rest waits for it.
    """

    uplink: str
    direction: Direction
    reason: str
    jammed: bool = False


def known_to_harm(book: CapacityBook, uplinks: Collection[str], now: float) -> tuple[Withheld, ...]:
    """Return the lines a new connection over `uplinks` had better begin without, whatever its direction will be.

    By the time it shows its direction it has queued on such a line what everything else would wait for: 1 Mbit/s up
    beside 40 made the first two to four seconds of every upload slow, though the line was known. Never all lines.
    """
    found: dict[str, Withheld] = {}
    directions: tuple[Direction, ...] = ("up", "down")
    for direction in directions:
        for uplink in uplinks:
            others_bps = sum(
                book.capacity_bps(other, direction, now) or 0.0
                for other in uplinks
                if other != uplink and other not in found
            )
            limit = book.limit_bps(uplink, direction, now)
            below = WITHHOLD_BELOW if book.is_hinted(uplink, direction) else REMEMBERED_BELOW
            reason = book.harmful(uplink, direction, now)
            if limit is not None and limit < below * others_bps:
                reason = _too_slow(limit, others_bps, direction)
            if reason is not None and uplink not in found and len(found) < len(uplinks) - 1:
                found[uplink] = Withheld(uplink, direction, reason)
    return tuple(found.values())


@dataclass(slots=True)
class _Line:
    up: int = 0
    down: int = 0
    rate_bps: float = 0.0
    delivery_bps: float = 0.0
    shown_bps: float = 0.0  # up, until the book knows what the line can carry
    full: bool = False
    srtt_ms: float = 0.0
    low: int = 0  # consecutive windows in which it was too slow
    blocking: int = 0
    jammed_at: float | None = None  # since when it looks jammed
    suspected: int = 0
    remembered: bool | None = None  # its limit was known before this connection came; None = not looked up yet
    fresh: bool = True  # in this connection for less than one window: its rate means nothing yet


@dataclass(slots=True)
class _Trial:
    """A connection's rates with a line, then without it, then with it again: it might have got faster by itself."""

    uplink: str
    before_bps: float
    without_bps: list[float] = field(default_factory=list)
    again_bps: list[float] = field(default_factory=list)


class NoHarmGuard:
    """One connection's guard; the book is shared by all connections of the process.

    `presumed` lines were withheld before its direction was known (`known_to_harm`): they stay so until it is.
    """

    def __init__(self, book: CapacityBook, now: float, presumed: Sequence[Withheld] = ()) -> None:
        self._book = book
        self._presumed = tuple(presumed)
        self._lines: dict[str, _Line] = {}
        self._withheld: dict[str, Withheld] = {}
        self._total = 0
        self._recent_up = 0.0
        self._recent_down = 0.0
        self._window_at = now
        self._updated_at = now
        self._totals_bps: list[float] = []
        self._trial: _Trial | None = None
        self._no_trial_before: dict[str, float] = {}

    def update(self, samples: Sequence[SubflowSample], now: float) -> tuple[Withheld, ...]:
        """Take the samples since the call before (one per uplink in use) and return what is to be withheld now."""
        self._account(samples, now)
        direction = self._direction()
        if direction is None and self._total < BULK_BYTES:
            return self._presumed
        self._presumed = ()
        if direction is None or len(samples) < 2:
            self._withheld.clear()
            self._trial = None
            for line in self._lines.values():
                line.remembered = None
            return ()
        self._feed_book(samples, direction, now)
        if now - self._window_at >= WINDOW_S:
            self._close_window(samples, direction, now)
        jammed = self._jammed(samples, now) if direction == "up" else {}
        self._judge(direction, jammed, now)
        return tuple(self._withheld.values())

    @property
    def looks_jammed(self) -> bool:
        """Whether a line looked jammed for the first time at the last look: look again in `JAMMED_FOR_S`."""
        return any(line.jammed_at == self._updated_at for line in self._lines.values())

    def _account(self, samples: Sequence[SubflowSample], now: float) -> None:
        present = {sample.uplink for sample in samples}
        for gone in self._lines.keys() - present:
            del self._lines[gone]
            if gone in self._withheld and not self._withheld[gone].jammed:
                del self._withheld[
                    gone
                ]  # one that jammed was withdrawn for it, and shall not begin anew when it is back
        keep = 0.5 ** (max(0.0, now - self._updated_at) / _MEMORY_S)
        self._updated_at = now
        up = sum(sample.bytes_up for sample in samples)
        down = sum(sample.bytes_down for sample in samples)
        self._recent_up = self._recent_up * keep + up
        self._recent_down = self._recent_down * keep + down
        self._total += up + down
        for sample in samples:
            line = self._lines.setdefault(sample.uplink, _Line())
            line.up += sample.bytes_up
            line.shown_bps = max(line.shown_bps, 0.0 if sample.app_limited else sample.delivery_rate_bps or 0.0)
            line.down += sample.bytes_down

    def _direction(self) -> Direction | None:
        """The direction in which this connection is bulk and mostly one-way; keeps its answer while it pauses."""
        if self._total < (EARLY_BYTES if self._presumed or self._withheld else BULK_BYTES):
            return None
        if self._recent_up >= ONE_WAY * self._recent_down:
            return "up"
        if self._recent_down >= ONE_WAY * self._recent_up:
            return "down"
        return None

    def _close_window(self, samples: Sequence[SubflowSample], direction: Direction, now: float) -> None:
        span = now - self._window_at
        self._window_at = now
        for sample in samples:
            line = self._lines[sample.uplink]
            line.rate_bps = (line.up if direction == "up" else line.down) * 8 / span
            line.up = line.down = 0
            line.delivery_bps = (sample.delivery_rate_bps or 0.0) if direction == "up" else 0.0
            line.srtt_ms = sample.srtt_ms or 0.0
            line.full = direction == "up" and _is_full(sample)
        total_bps = sum(line.rate_bps for line in self._lines.values())
        self._totals_bps = [*self._totals_bps[-(TRIAL_WINDOWS - 1) :], total_bps]
        for uplink, line in self._lines.items():
            if not line.fresh and uplink not in self._withheld:
                self._count(uplink, line, direction, total_bps, now)
            line.fresh = False
        self._advance_trial(direction, total_bps, now)

    def _feed_book(self, samples: Sequence[SubflowSample], direction: Direction, now: float) -> None:
        for sample in samples:
            line = self._lines[sample.uplink]
            if line.remembered is None:
                line.remembered = self._book.limit_bps(sample.uplink, direction, now) is not None
            if sample.uplink in self._withheld:
                continue
            if line.fresh:
                self._book.expect(sample.uplink, direction, now)
                continue
            size, delivery = sample.bytes_down, 0.0
            if direction == "up":
                size, delivery = sample.bytes_up, sample.delivery_rate_bps or 0.0
            self._book.carried(sample.uplink, direction, size, delivery, direction == "up" and _is_full(sample), now)

    def _jammed(self, samples: Sequence[SubflowSample], now: float) -> dict[str, str]:
        """Return the lines that were given more than they take in a while, and are much slower than the others: why.

        By the second window the others stand still, waiting for these, and shares of the rate say nothing any more.
        A line that others send over too shows this connection its share only: what it is known to carry counts.
        """
        found = {}
        for sample in samples:
            line = self._lines[sample.uplink]
            known_bps = self._book.capacity_bps(sample.uplink, "up", now) or 0.0
            bps = max(sample.delivery_rate_bps or 0.0, known_bps)
            others_bps = self._others_bps(sample.uplink, "up", now)
            if sample.uplink in self._withheld or not _is_jammed(sample) or bps >= WITHHOLD_BELOW * others_bps:
                line.jammed_at = None
            elif line.jammed_at is None:
                line.jammed_at = now
            elif now - line.jammed_at >= JAMMED_FOR_S:
                found[sample.uplink] = _too_slow(bps, others_bps, "up")
                self._book.jammed(sample.uplink, "up", bps, now)
        return found

    def _count(self, uplink: str, line: _Line, direction: Direction, total_bps: float, now: float) -> None:
        share = line.rate_bps / total_bps if total_bps else 1.0
        others_bps = self._others_bps(uplink, direction, now)
        limit = self._book.limit_bps(uplink, direction, now)
        shown_bps = max(limit or 0.0, line.rate_bps, line.delivery_bps)
        slow = line.full and limit is not None and shown_bps < WITHHOLD_BELOW * others_bps
        line.low = line.low + 1 if slow else 0
        rtts = [other.srtt_ms for name, other in self._lines.items() if name != uplink and name not in self._withheld]
        blocking = (
            direction == "up"
            and line.full
            and max(line.rate_bps, line.delivery_bps) < BLOCKING_SHARE * total_bps
            and line.srtt_ms >= max(BLOCKING_RTT_MS, BLOCKING_RTT_RATIO * max(rtts, default=line.srtt_ms))
        )
        line.blocking = line.blocking + 1 if blocking else 0
        tiny = direction == "down" and share < WITHHOLD_BELOW and total_bps >= TRIAL_MIN_BPS and line.rate_bps > 0
        line.suspected = line.suspected + 1 if tiny else 0

    def _others_bps(self, uplink: str, direction: Direction, now: float) -> float:
        """What the connection's other, not withheld lines can carry; up, also what they show in their first moments."""
        return sum(
            self._book.capacity_bps(name, direction, now) or (line.shown_bps if direction == "up" else 0.0)
            for name, line in self._lines.items()
            if name != uplink and name not in self._withheld
        )

    def _judge(self, direction: Direction, jammed: Mapping[str, str], now: float) -> None:
        for uplink, held in list(self._withheld.items()):
            if held.direction != direction or self._is_released(uplink, direction, now):
                del self._withheld[uplink]
        # The slowest first: with it out of the way the next one is compared with the lines that remain.
        for uplink in sorted(self._lines, key=lambda name: self._lines[name].rate_bps):
            if uplink in self._withheld or len(self._lines.keys() - self._withheld.keys()) < 2:
                continue
            reason = jammed.get(uplink) or self._reason(uplink, direction, now)
            if reason is not None:
                self._withheld[uplink] = Withheld(uplink, direction, reason, uplink in jammed)
                self._book.doubt(uplink, direction, now)

    def _reason(self, uplink: str, direction: Direction, now: float) -> str | None:
        line = self._lines[uplink]
        others_bps = self._others_bps(uplink, direction, now)
        limit = self._book.limit_bps(uplink, direction, now)
        if limit is not None and limit < self._threshold(uplink, line, direction) * others_bps:
            return _too_slow(limit, others_bps, direction)
        carried_bps = self._book.limit_since(uplink, direction, now - LATELY_S) or 0.0
        if line.blocking >= (BLOCKING_WINDOWS if carried_bps > RELEASE_ABOVE * others_bps else WINDOWS):
            reason = f"holds up the connection {direction}: round trip {line.srtt_ms:.0f} ms for {_mbit(line.rate_bps)}"
            self._book.mark_harmful(uplink, direction, reason, now)
            return reason
        return self._book.harmful(uplink, direction, now)

    def _threshold(self, uplink: str, line: _Line, direction: Direction) -> float:
        """The share of the others' capacity below which the line's limit, as well as it is known, speaks against it."""
        if line.low >= WINDOWS or self._book.is_hinted(uplink, direction):
            return WITHHOLD_BELOW
        return REMEMBERED_BELOW if line.remembered else 0.0

    def _is_released(self, uplink: str, direction: Direction, now: float) -> bool:
        """A withheld line comes back when what is known about it no longer speaks against it, or has expired."""
        if self._trial is not None and self._trial.uplink == uplink:
            return False
        if self._book.harmful(uplink, direction, now) is not None:
            return False
        limit = self._book.limit_bps(uplink, direction, now)
        if limit is not None and limit <= RELEASE_ABOVE * self._others_bps(uplink, direction, now):
            return False
        self._lines[uplink] = _Line()
        return True

    def _advance_trial(self, direction: Direction, total_bps: float, now: float) -> None:
        """Try for two seconds without the line that carries next to nothing, then with it again, and compare."""
        trial = self._trial
        if trial is None:
            self._begin_trial(direction, now)
            return
        is_without = len(trial.without_bps) < _TRIAL_ALL
        if trial.uplink not in self._lines or (trial.uplink in self._withheld) != is_without:
            self._trial = None  # it is gone, or judged already
            return
        rates = trial.without_bps if is_without else trial.again_bps
        rates.append(total_bps)
        if len(rates) < _TRIAL_ALL:
            return
        without_bps = _settled(trial.without_bps)
        with_bps = trial.before_bps if is_without else max(trial.before_bps, _settled(trial.again_bps))
        is_gain = without_bps >= TRIAL_GAIN * with_bps
        if is_without:
            del self._withheld[trial.uplink]
            if is_gain:
                return
        elif is_gain:
            reason = f"{direction} was {_mbit(with_bps)} with it and {_mbit(without_bps)} without"
            self._book.mark_harmful(trial.uplink, direction, reason, now, TRIAL_AGAIN_S)
            self._withheld[trial.uplink] = Withheld(trial.uplink, direction, reason)
        self._trial = None
        self._no_trial_before[trial.uplink] = now + TRIAL_AGAIN_S

    def _begin_trial(self, direction: Direction, now: float) -> None:
        if len(self._totals_bps) < TRIAL_WINDOWS or len(self._lines.keys() - self._withheld.keys()) < 2:
            return
        for uplink, line in self._lines.items():
            if line.suspected >= TRIAL_WINDOWS and now >= self._no_trial_before.get(uplink, now):
                line.suspected = 0
                self._trial = _Trial(uplink, sum(self._totals_bps) / len(self._totals_bps))
                self._withheld[uplink] = Withheld(uplink, direction, "trying whether the connection is faster without")
                return


def _settled(rates_bps: Sequence[float]) -> float:
    return sum(rates_bps[TRIAL_SETTLE_WINDOWS:]) / TRIAL_WINDOWS


def _is_full(sample: SubflowSample) -> bool:
    """Say whether the line had a queue of this connection's data: its round trip is stretched, or data waits."""
    if sample.app_limited or sample.unacked_bytes == 0:
        return False
    if sample.srtt_ms is None or sample.min_rtt_ms is None:
        return sample.notsent_bytes > 0
    return sample.srtt_ms >= 1.25 * sample.min_rtt_ms + 5.0


def _is_jammed(sample: SubflowSample) -> bool:
    """Say whether a queue stands in the line itself, and what waits for it takes long at this rate."""
    bps = sample.delivery_rate_bps
    if sample.app_limited or not bps or sample.srtt_ms is None or sample.min_rtt_ms is None:
        return False
    waiting_s = (sample.unacked_bytes + sample.notsent_bytes) * 8 / bps
    return waiting_s >= JAMMED_S and sample.srtt_ms >= JAMMED_RTT_RATIO * sample.min_rtt_ms


def _too_slow(limit_bps: float, others_bps: float, direction: Direction) -> str:
    return f"{_mbit(limit_bps)} {direction} beside {_mbit(others_bps)} of the other lines would slow them down"


def _mbit(bps: float) -> str:
    return f"{bps / 1e6:.1f} Mbit/s"
