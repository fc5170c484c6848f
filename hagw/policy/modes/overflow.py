"""Priority-based steering: the preferred lines first, the next ones for the excess and nothing more.

One controller for a set of preferred lines and one direction. It sees what all the lines carry, traffic of others
included, ten times a second, and says which share of the bulk flows may use the next tier now: a share below one is
kept by opening and closing it from tick to tick (`Admission`). How it knows that the preferred lines are full:

- By what is configured or was found out: `cap`. Above 96.5 % of it the share grows, below 93.5 % it shrinks.
- By trial, while nothing is known: the next tier is opened for a moment. If the total grows, the lines before were
  full with what they carried; if not, the flows want no more.
- By taking away: when the share shrinks and the preferred lines do not carry more instead, they have become slower.
- By closing: when next to nothing uses the next tier, it is closed for a second. If nothing is lost, there was room.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

TICK_S: Final = 0.1
ENTER: Final = 0.95  # of the capacity
GROW: Final = 0.965
SHRINK: Final = 0.935
STEP: Final = 0.03  # a tick; twice that once it has grown for a second without an end
SLOW_STEP: Final = 0.02  # near the share that was too much the last time
NEAR: Final = 0.8
STREAK: Final = 10
SLOW_STREAK: Final = 10
LAG_S: Final = 0.4  # how old what a rate says is
CONTROL_S: Final = 0.7
WIDE: Final = 0.8  # share beyond which little is lost by waiting
WIDE_PATIENCE: Final = 12  # ticks: bbr empties a line for 0.2 s in each ten to see its round trip
LEAVE: Final = 0.75  # of the capacity, for LEAVE_S with nothing over
LEAVE_S: Final = 5.0
RATE_S: Final = 1.0  # how long a rate is averaged
STEADY: Final = 0.08  # change from one half second to the next that counts as none
STEADY_BPS: Final = 400_000.0  # likewise: half seconds differ by a burst of one segment of 64 KB
LEAST_BPS: Final = 500_000.0  # a line that carries less is not full with anything worth steering
TRIAL_BEGINS_S: Final = 0.15  # what comes before is what was under way
TRIAL_S: Final = 0.35
TRIAL_HALF_BEGINS_S: Final = 0.1
TRIAL_HALF_S: Final = 0.1
TRIAL_HOPELESS: Final = 1.02
TRIAL_ROUND_TRIPS: Final = 5.0
TRIAL_GAIN: Final = 1.15
TRIAL_AGAIN_S: Final = 10.0  # doubled with every trial in vain
TRIAL_AGAIN_MAX_S: Final = 160.0
NEWCOMER_S: Final = 1.0
WORTH: Final = 0.7  # of the capacity: less is tried only when it lasts, or after a drop
LASTS_S: Final = 30.0
CROWDED: Final = 1.5  # times what the other direction carried at the peak; and what was enough, by who catches up
CROWDED_BPS: Final = 300_000.0
ENOUGH_S: Final = 120.0  # how long a trial in vain is believed
KNOWN_MARGIN: Final = 1.06  # above a rate that was carried without need of more
TAKEN: Final = 0.15  # share that must have been taken away, for TAKEN_S, to tell what became of it
TAKEN_S: Final = 1.5
GIVEN_BACK: Final = 0.4  # of what was taken from the next tier: less, and the preferred lines were full
SLOWER: Final = 0.9  # of the capacity: full with less, they have become slower
HOLD_S: Final = 3.0  # how long nothing is taken away after it did no good; doubled each time
HOLD_MAX_S: Final = 30.0
HOLD_BELOW: Final = 0.85  # of the capacity: carrying less, they are no longer full
CLOSING_SHARE: Final = 0.12  # what uses the next tier, of what uses the preferred lines
CLOSING_S: Final = 1.0
CLOSING_LOSS: Final = 0.03
RTT_EXCESS_MS: Final = 300.0  # round trip beyond that of the preferred lines with which the next tier harms (RFC 8157)
RTT_COUNT: Final = 3
RTT_LOOK_S: Final = 0.5

State = Literal["idle", "over", "guarded"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What lines have carried in one direction up to `at`: totals in bytes of IP packets, whoever sent them.

    `reverse` is what the preferred lines have carried in the other direction.
    """

    at: float
    preferred: int
    excess: int
    reverse: int = 0


@dataclass(slots=True)
class _Trial:
    began: float
    until: float
    before_bps: float


@dataclass(slots=True)
class _Closing:
    until: float
    before_bps: float
    share: float


@dataclass(slots=True)
class _Taking:
    """The share began to shrink while the lines carried this."""

    at: float
    share: float
    preferred_bps: float
    excess_bps: float


class Overflow:
    """The controller. `hint_bps` is what the preferred lines are configured to carry together, None = not known."""

    def __init__(self, hint_bps: float | None = None) -> None:
        self.state: State = "idle"
        self.share = 0.0
        self.cap_bps = hint_bps
        self.changes = 0  # of the state
        self._readings: deque[Reading] = deque()
        self._enough_bps = 0.0  # carried without need of more
        self._enough_at = 0.0
        self._steady_since: float | None = None
        self._peak_bps = 0.0
        self._peak_reverse_bps = 0.0
        self._full_ticks = 0
        self._streak = 0
        self._low_ticks = 0
        self._knee = 1.0  # share beyond which the preferred lines were no longer full
        self._shares: deque[float] = deque(maxlen=round(LAG_S / TICK_S))
        self._quiet_since: float | None = None
        self._trial: _Trial | None = None
        self._trial_at = 0.0
        self._trial_again_s = TRIAL_AGAIN_S
        self._flows = 0
        self._closing: _Closing | None = None
        self._closing_at = 0.0
        self._closing_again_s = LEAVE_S
        self._little_since: float | None = None
        self._taking: _Taking | None = None
        self._hold_until = 0.0
        self._hold_s = HOLD_S
        self._rtt_bad = 0
        self._rtt_good = 0
        self._rtt_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether anything may use the next tier now."""
        return self.share > 0.0

    def update(self, reading: Reading, flows: int, rtt_ms: float | None, excess_rtt_ms: float | None) -> float:
        """Take a tick's reading and return the share of `flows` (bulk flows in this direction) to admit, 0..1."""
        self._remember(reading)
        self._guard(reading.at, rtt_ms, excess_rtt_ms)
        if self.state == "guarded":
            self.share = 0.0
            return 0.0
        if flows > self._flows:  # whoever comes may want more than those before
            self._enough_bps = 0.0
            self._trial_at = min(self._trial_at, reading.at + NEWCOMER_S)
        self._flows = flows
        if not self._is_measured():
            return self.share
        if flows == 0:
            self._without_flows(reading.at)
        elif self._trial is not None:
            self._end_trial(reading.at)
        elif self._closing is not None:
            self._end_closing(reading.at)
        elif self.state == "over":
            self._steer(reading.at, excess_rtt_ms)
        else:
            self._watch(reading.at, excess_rtt_ms)
        return self.share

    def suggest(self, cap_bps: float | None) -> None:
        """Take what others found out the preferred lines to carry, unless it is known here."""
        if self.cap_bps is None:
            self.cap_bps = cap_bps

    def rate_bps(
        self, which: Literal["preferred", "excess", "total", "reverse"], span_s: float = RATE_S, end_s: float = 0.0
    ) -> float:
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

    # --- readings

    def _remember(self, reading: Reading) -> None:
        last = self._readings[-1] if self._readings else reading
        if reading.at - last.at > 1.0 or reading.preferred < last.preferred or reading.excess < last.excess:
            self._readings.clear()  # a pause, or other counters: nothing before says anything
        self._readings.append(reading)
        while reading.at - self._readings[0].at > 2.5:
            self._readings.popleft()

    def _is_measured(self) -> bool:
        return self._readings[-1].at - self._readings[0].at >= 0.95 * RATE_S

    def _at(self, at: float) -> Reading:
        """Return the reading nearest to a time."""
        return min(self._readings, key=lambda reading: abs(reading.at - at))

    def _is_steady(self) -> bool:
        now, before = self.rate_bps("preferred", 0.5), self.rate_bps("preferred", 0.5, 0.5)
        return now >= LEAST_BPS and abs(now - before) <= max(STEADY * now, STEADY_BPS)

    # --- closed

    def _watch(self, now: float, excess_rtt_ms: float | None) -> None:
        """Nothing is over: look whether the preferred lines are full."""
        self.share = 0.0
        carried = self.rate_bps("preferred", 0.5)
        cap = self.cap_bps
        if cap is not None and carried >= ENTER * cap:
            self._full_ticks += 1
            if self._full_ticks >= 3:
                self.cap_bps = carried  # what is configured counts other bytes, or not so exactly
                self._enter(STEP)
            return
        self._full_ticks = 0
        self._try(now, carried, excess_rtt_ms)

    def _try(self, now: float, carried: float, excess_rtt_ms: float | None) -> None:
        """Begin a trial where there is reason to."""
        if not self._is_steady():
            self._steady_since = None
        elif self._steady_since is None:
            self._steady_since = now
        if self._steady_since is not None and now >= self._trial_at and self._may_be_full(now, carried):
            length = max(TRIAL_S, TRIAL_ROUND_TRIPS * (excess_rtt_ms or 0.0) / 1000)
            self._trial = _Trial(now, now + length, self.rate_bps("total", 0.5))
            self.share = 1.0
        self._note_peak(carried)

    def _may_be_full(self, now: float, carried: float) -> bool:
        """Say whether there is reason to try: more than is known to be enough, or less than a while ago."""
        if carried <= CROWDED * self._enough_bps and self._is_crowded():
            return False  # who was slowed down catches up
        if carried * 1.2 < self._peak_bps:
            return not self._is_crowded()
        if carried <= KNOWN_MARGIN * self._enough_bps and now - self._enough_at < ENOUGH_S:
            return False
        lasted = self._steady_since is not None and now - self._steady_since >= LASTS_S
        return self.cap_bps is None or carried >= WORTH * self.cap_bps or lasted

    def _note_peak(self, carried: float) -> None:
        if carried < self._peak_bps or self._is_crowded():
            return
        reverse = self.rate_bps("reverse")
        is_same = carried <= KNOWN_MARGIN * self._peak_bps  # an upload that has just begun has not slowed it down yet
        self._peak_reverse_bps = min(self._peak_reverse_bps, reverse) if is_same else reverse
        self._peak_bps = carried

    def _is_crowded(self) -> bool:
        """Say whether the other direction carries so much more than at the peak that acknowledgements wait there.

        Then that is why less arrives, not that the lines are full: a sender slows down as its round trips grow.
        """
        is_more = self.rate_bps("reverse") >= max(CROWDED * self._peak_reverse_bps, CROWDED_BPS)
        return self._peak_bps > 0 and is_more

    def _end_trial(self, now: float) -> None:
        trial = self._trial
        assert trial is not None
        if now < trial.until and not self._is_hopeless(trial, now):
            return
        self._trial = None
        after = self.rate_bps("total", now - trial.began - TRIAL_BEGINS_S)
        if after >= TRIAL_GAIN * trial.before_bps:
            self.cap_bps = trial.before_bps
            self._enough_bps = 0.0
            self._trial_again_s = TRIAL_AGAIN_S
            self._enter(1.0)  # most that want more want everything
        else:
            self.share = 0.0
            self._taking = None
            self._enough_bps, self._enough_at = trial.before_bps, now
            self._trial_at = now + self._trial_again_s
            self._trial_again_s = min(2 * self._trial_again_s, TRIAL_AGAIN_MAX_S)
        self._peak_bps = 0.0
        self._note_peak(trial.before_bps)

    def _is_hopeless(self, trial: _Trial, now: float) -> bool:
        """Say whether nothing at all has come of it by half of the time."""
        since = now - trial.began - TRIAL_HALF_BEGINS_S
        return since >= TRIAL_HALF_S and self.rate_bps("total", since) < TRIAL_HOPELESS * trial.before_bps

    def _enter(self, share: float) -> None:
        self._set_state("over")
        self.share = share
        self._full_ticks = 0
        self._streak = self._low_ticks = 0
        self._knee = 1.0
        self._taking = None
        self._hold_until, self._hold_s = 0.0, HOLD_S
        self._little_since = self._quiet_since = None

    # --- open

    def _steer(self, now: float, excess_rtt_ms: float | None) -> None:
        """Keep the preferred lines just full."""
        cap = self.cap_bps
        assert cap is not None
        preferred = self.rate_bps("preferred", CONTROL_S)
        is_held = now < self._hold_until and preferred >= HOLD_BELOW * cap
        if preferred > cap:
            cap = self.cap_bps = cap + 0.2 * (preferred - cap)
        elif is_held:  # full with what they carry: a peak is no capacity
            cap = self.cap_bps = cap + 0.02 * (preferred - cap)
        if preferred > GROW * cap or is_held:
            self._streak += 1
            self._low_ticks = 0
            self._taking = None
            self.share = min(1.0, self.share + self._growth())
        else:
            self._low_ticks = self._low_ticks + 1 if preferred < SHRINK * cap else 0
            if self._low_ticks > (WIDE_PATIENCE if self.share > WIDE else 0):
                self._shrink(now, preferred, cap)
                self._streak = 0
        self._shares.append(self.share)
        if self.share == 0.0:
            self._try(now, self.rate_bps("preferred", 0.5), excess_rtt_ms)
        else:
            self._note_peak(self.rate_bps("total", 0.5))
            self._look_at_little(now, preferred)
        self._leave(now, preferred, cap)

    def _growth(self) -> float:
        """Return how much the share grows: slowly where it was too much before, fast where no end is found."""
        if self.share < NEAR * self._knee:
            return STEP
        if self._streak < SLOW_STREAK:
            return SLOW_STEP if self._knee < 1.0 else STEP if self._streak < STREAK else 2 * STEP
        self._knee = 1.0
        return STEP

    def _shrink(self, now: float, preferred: float, cap: float) -> None:
        """Take some of the share away, and look whether the preferred lines carry it instead."""
        if self._streak:
            self._knee = self._shares[0] if self._shares else self.share
        preferred_long, excess = self.rate_bps("preferred"), self.rate_bps("excess")
        taking = self._taking
        if taking is None:
            self._taking = taking = _Taking(now, self.share, preferred_long, excess)
        taken = taking.excess_bps - excess
        enough = taking.share - self.share >= TAKEN and now - taking.at >= TAKEN_S and taken >= 0.05 * preferred
        if enough and preferred_long - taking.preferred_bps < GIVEN_BACK * taken:
            self._give_back(now, preferred, cap, taking)
            return
        if enough:
            self._taking = None
            self._hold_s = HOLD_S
        self.share = max(0.0, self.share - min(2 * STEP, (SHRINK * cap - preferred) / cap))

    def _give_back(self, now: float, preferred: float, cap: float, taking: _Taking) -> None:
        """Taking it away gave the preferred lines nothing to carry: they are full."""
        if preferred < SLOWER * cap:
            if not self._is_steady():
                self._taking = None  # what is offered changes, too
                return
            self.cap_bps = preferred
        self.share = taking.share
        self._taking = None
        self._knee = 1.0
        self._hold_until = now + self._hold_s
        self._hold_s = min(2 * self._hold_s, HOLD_MAX_S)

    def _look_at_little(self, now: float, preferred: float) -> None:
        """Where little is over for a while, close it to see whether anything is lost."""
        if self.rate_bps("excess") > CLOSING_SHARE * preferred or now < self._closing_at:
            self._little_since = None
            return
        self._little_since = self._little_since if self._little_since is not None else now
        if now - self._little_since >= 2 * RATE_S:
            self._little_since = None
            self._closing = _Closing(now + CLOSING_S, self.rate_bps("total"), self.share)
            self.share = 0.0

    def _end_closing(self, now: float) -> None:
        closing = self._closing
        assert closing is not None
        if now < closing.until:
            return
        self._closing = None
        self._closing_at = now + self._closing_again_s
        self._closing_again_s = min(2 * self._closing_again_s, 60.0)
        carried = self.rate_bps("preferred", 0.5)
        if carried >= (1 - CLOSING_LOSS) * closing.before_bps:
            self.cap_bps = max(self.cap_bps or 0.0, KNOWN_MARGIN * carried)
        else:
            self.share = closing.share

    def _leave(self, now: float, preferred: float, cap: float) -> None:
        if self.share > 0.0 or preferred >= LEAVE * cap:
            self._quiet_since = None
            return
        self._quiet_since = self._quiet_since if self._quiet_since is not None else now
        if now - self._quiet_since >= LEAVE_S:
            self._set_state("idle")
            self._peak_bps = 0.0
            self._note_peak(preferred)

    def _without_flows(self, now: float) -> None:
        self._trial = self._closing = self._taking = None
        self.share = 0.0
        self._peak_bps = 0.0
        if self.state == "over" and self.cap_bps is not None:
            self._leave(now, self.rate_bps("preferred"), self.cap_bps)

    # --- the guard

    def _guard(self, now: float, rtt_ms: float | None, excess_rtt_ms: float | None) -> None:
        """Use no tier whose round trip is so long that what it carries holds up the rest (RFC 8157 section 4.6)."""
        if now - self._rtt_at < RTT_LOOK_S or excess_rtt_ms is None:
            return
        self._rtt_at = now
        if excess_rtt_ms - (rtt_ms or 0.0) > RTT_EXCESS_MS:
            self._rtt_bad, self._rtt_good = self._rtt_bad + 1, 0
        else:
            self._rtt_bad, self._rtt_good = 0, self._rtt_good + 1
        if self._rtt_bad >= RTT_COUNT and self.state != "guarded":
            self._set_state("guarded")
            self._trial = self._closing = None
        elif self._rtt_good >= RTT_COUNT and self.state == "guarded":
            self._set_state("idle")

    def _set_state(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self.changes += 1


class Admission:
    """Which flows a share opens the next tier to at this tick: some always, one now and then, the rest never."""

    def __init__(self) -> None:
        self._phase = 0.0

    def admitted(self, flows: Sequence[int], share: float) -> frozenset[int]:
        """Return the flows that may use the next tier until the next tick. `flows` in a lasting order."""
        wanted = share * len(flows)
        whole = int(wanted + 1e-9)
        open_now = set(flows[:whole])
        part = wanted - whole
        if part > 1e-6 and whole < len(flows):
            self._phase += part
            if self._phase >= 1.0:
                self._phase -= 1.0
                open_now.add(flows[whole])
        return frozenset(open_now)
