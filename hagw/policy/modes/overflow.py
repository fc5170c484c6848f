"""Priority-based steering: the preferred lines first, the next ones for the excess and nothing more.

One controller for a set of preferred lines and one direction. It sees what all the lines carry, traffic of others
included, ten times a second, and says to how many of the bulk flows the next tier is open now: as much as it may carry
is kept to by opening and closing it (`overflow_allowance`). How it knows that the preferred lines are full:

- By what is configured or was found out: `cap`. Above 96.5 % of it the allowance grows. Below 93.5 % the flows need no
  more than what all the lines carry together, and the allowance becomes what the preferred ones could not carry of it.
- By trial, while nothing is known: the next tier is opened for a moment. If the total grows, the lines before were
  full with what they carried; if not, the flows want no more.
- By taking away: when the allowance shrinks and the preferred lines do not carry more instead, they have become slower.
- By closing: when next to nothing uses the next tier, it is closed for a second. If nothing is lost, there was room.
"""

from dataclasses import dataclass
from typing import Final, Literal, assert_never

from hagw.policy.modes.overflow_allowance import Allowance
from hagw.policy.modes.overflow_guard import RoundTrips
from hagw.policy.modes.overflow_readings import RATE_S, Reading, Readings, Which
from hagw.policy.modes.overflow_trial import GAIN, KNOWN_MARGIN, Trials

TICK_S: Final = 0.1
ENTER: Final = 0.95  # of the capacity
GROW: Final = 0.965
FILL: Final = 0.955
SHRINK: Final = 0.935
GROWTH: Final = 1.25  # a tick
GROWTH_LEAST: Final = 0.05  # of the capacity, a tick
GROWTH_SLOWEST: Final = 0.005  # likewise, for GROW_SLOWLY_S where it is known what was needed a moment ago
GROW_SLOWLY_S: Final = 1.5
GROWTH_SLOW: Final = 0.01  # after that, and twice as much with every GROW_TWICE_S
GROW_TWICE_S: Final = 0.75
FULL_MOST_S: Final = 6.0
DRIFT: Final = 0.0005  # likewise, while they are about full: gaps between bursts look like room
APPROACH: Final = 0.2
FIRST: Final = 0.03
NOTHING: Final = 0.02  # of the capacity
CONTROL_S: Final = 0.7
AT_ONCE_S: Final = 0.5
LIMITED_S: Final = 1.5  # what is opened and closed comes in bursts
SETTLED_S: Final = 2.0  # a line that had next to nothing to carry needs a moment until it is full again
STARVED: Final = 0.6  # of the capacity
BRIEF: Final = 6  # ticks
GAP: Final = 0.85  # of the capacity: all lines together carry less than the preferred ones could
GAP_S: Final = 0.2
GAP_MOST_S: Final = 0.5  # bbr pauses for 0.2 s; what lasts longer is a smaller demand
PAUSE: Final = 0.1  # of the capacity: who sends so little for BURST_S pauses, however long
PATIENCE: Final = 12  # ticks: bbr empties a line for 0.2 s in each ten to see its round trip
LEAVE: Final = 0.75  # of the capacity, for LEAVE_S with nothing over
LEAVE_S: Final = 5.0
TAKEN: Final = 0.05  # of what they carry: so much must have been taken away, for TAKEN_S, to tell what became of it
TAKEN_EXCESS: Final = 0.1  # likewise, of what the next tier carried
TAKEN_S: Final = 1.5
TAKEN_LASTS_S: Final = 5.0
GIVEN_BACK: Final = 0.4  # of what was taken from the next tier: less, and the preferred lines were full
LEVEL: Final = 0.985
BURST_S: Final = 0.3
BEYOND: Final = 1.5  # times the capacity: it was no capacity
SLOWER: Final = 0.9  # of the capacity: full with less, they have become slower
SLOWER_S: Final = 2.0  # seen for so long: the gap of a bbr's probe is among what is looked at for LIMITED_S and more
HOLD_S: Final = 3.0  # how long nothing is taken away after it did no good; doubled each time
HOLD_MAX_S: Final = 30.0
HOLD_BELOW: Final = 0.85  # of the capacity: carrying less, they are no longer full
CLOSING_SHARE: Final = 0.12  # what uses the next tier, of what uses the preferred lines
CLOSING_S: Final = 1.0
CLOSING_LOSS: Final = 0.03

State = Literal["idle", "over", "guarded"]


@dataclass(slots=True)
class _Closing:
    until: float
    before_bps: float
    allowed_bps: float | None


@dataclass(slots=True)
class _Taking:
    """The next tier had been open, and began to be limited while the lines carried this."""

    at: float
    preferred_bps: float
    excess_bps: float


class Overflow:
    """The controller. `hint_bps` is what the preferred lines are configured to carry together, None = not known."""

    def __init__(self, hint_bps: float | None = None) -> None:
        self.state: State = "idle"
        self.allowance = Allowance()
        self.cap_bps = hint_bps
        self.changes = 0  # of the state
        self._readings = Readings()
        self._trials = Trials(self._readings)
        self._round_trips = RoundTrips()
        self._at = 0.0
        self._full_ticks = 0
        self._low_ticks = 0
        self._full_s = 0.0  # full for longer than not, by so much
        self._slower_since: float | None = None
        self._gap_since: float | None = None
        self._judged_from = 0.0  # what comes before is not looked at to tell whether they are full
        self._limited_at = 0.0
        self._is_need_seen = False  # since the preferred lines were last found to be slower, or flows began
        self._quiet_since: float | None = None
        self._flows = 0
        self._closing: _Closing | None = None
        self._closing_at = 0.0
        self._closing_again_s = LEAVE_S
        self._little_since: float | None = None
        self._taking: _Taking | None = None
        self._hold_until = 0.0
        self._hold_s = HOLD_S

    def update(self, reading: Reading, flows: int, rtt_ms: float | None, excess_rtt_ms: float | None) -> int:
        """Take a tick's reading and return to how many of `flows` (bulk in this direction) the next tier is open."""
        carried, span = self._readings.add(reading), min(reading.at - self._at, 2 * TICK_S)
        self._at = reading.at
        self._guard(reading.at, rtt_ms, excess_rtt_ms)
        if self.state == "guarded":
            return 0
        if flows > self._flows:
            self._trials.newcomer(reading.at)
        self._flows = flows
        if self._readings.suffice:
            self._judge(reading.at, flows, excess_rtt_ms)
        return self.allowance.admit(flows, carried, span)

    def rest(self) -> None:
        """Nobody looks any more, there being no flows: what was under way says nothing to whoever comes next."""
        self._readings.clear()
        self._trials.rest()
        self._closing = self._taking = None
        self._little_since = self._quiet_since = None
        self._full_ticks = self._flows = 0
        self.allowance.close()
        if self.state == "over":
            self._set_state("idle")

    def suggest(self, cap_bps: float | None) -> None:
        """Take what others found out the preferred lines to carry, unless it is known here."""
        if self.cap_bps is None:
            self.cap_bps = cap_bps

    def rate_bps(self, which: Which, span_s: float = RATE_S, end_s: float = 0.0) -> float:
        """Return a mean rate over `span_s` up to `end_s` before the newest reading."""
        return self._readings.rate_bps(which, span_s, end_s)

    def _judge(self, now: float, flows: int, excess_rtt_ms: float | None) -> None:
        if flows == 0:
            self._without_flows(now)
        elif self._trials.is_under_way:
            self._end_trial(now)
        elif self._closing is not None:
            self._end_closing(now)
        elif self.state == "over":
            self._steer(now, excess_rtt_ms)
        else:
            self._watch(now, excess_rtt_ms)

    # --- closed

    def _watch(self, now: float, excess_rtt_ms: float | None) -> None:
        """Nothing is over: look whether the preferred lines are full."""
        self.allowance.close()
        carried = self.rate_bps("preferred", 0.5)
        cap = self.cap_bps
        if cap is not None and carried >= ENTER * cap:
            self._trials.saw_full(now)
            self._full_ticks += 1
            if self._full_ticks >= 3:
                self.cap_bps = carried  # what is configured counts other bytes, or not so exactly
                self._enter(FIRST * carried)
            return
        self._full_ticks = 0
        self._try(now, excess_rtt_ms)

    def _try(self, now: float, excess_rtt_ms: float | None) -> None:
        """Begin a trial where there is reason to."""
        if self._trials.begin(now, self.cap_bps, excess_rtt_ms):
            self.allowance.open_fully()

    def _end_trial(self, now: float) -> None:
        verdict, before_bps = self._trials.end(now)
        match verdict:
            case "under way":
                pass
            case "full":
                self.cap_bps = before_bps
                self._trials.saw_full(now)
                self._enter(None)  # most that want more want everything
            case "in vain":
                self.allowance.close()
                self._taking = None
            case _:
                assert_never(verdict)

    def _enter(self, allowed_bps: float | None) -> None:
        self._set_state("over")
        self._allow(allowed_bps)
        self._full_ticks = self._low_ticks = 0
        self._taking = None
        self._hold_until, self._hold_s = 0.0, HOLD_S
        self._little_since = self._quiet_since = self._slower_since = self._gap_since = None
        self._full_s, self._judged_from = 0.0, self._at
        self._is_need_seen = False

    def _allow(self, bps: float | None) -> None:
        if bps is None:
            self.allowance.open_fully()
        else:
            self.allowance.limit(bps)

    # --- open

    def _steer(self, now: float, excess_rtt_ms: float | None) -> None:
        """Keep the preferred lines just full."""
        cap = self.cap_bps
        assert cap is not None
        is_limited = bool(self.allowance.bps)
        preferred = self.rate_bps("preferred", LIMITED_S if is_limited else CONTROL_S)
        is_held = now < self._hold_until and preferred >= HOLD_BELOW * cap
        alone = self._alone_bps(now)
        self._look_whether_slower(now, alone, cap)
        if (burst := self.rate_bps("preferred", BURST_S)) > BEYOND * cap:
            cap = self.cap_bps = burst
        elif preferred > cap:
            cap = self.cap_bps = cap + 0.2 * (preferred - cap)
        elif is_held or self._is_level(alone, preferred):  # full with what they carry: a peak is no capacity
            if preferred >= SLOWER * cap:
                is_held = True
                cap = self.cap_bps = cap + 0.02 * (preferred - cap)
            elif is_held or self._is_slower(now):
                is_held = True
                self.cap_bps = cap = preferred
                self._is_need_seen = False
        self._look_for_gap(now, cap)
        # While the need is not known, a line that falters once in 1.5 s must not hold up who wants everything.
        if preferred > (GROW if self._is_need_seen else SHRINK) * cap or is_held:
            self._trials.saw_full(now)
            self._low_ticks = 0
            self._taking = None
            self._grow(cap)
        else:
            self._full_s = max(0.0, self._full_s - TICK_S)
            self._low_ticks = self._low_ticks + 1 if self._is_low(now, cap) else 0
            if self._low_ticks > (0 if is_limited else BRIEF if preferred < STARVED * cap else PATIENCE):
                self._shrink(now, preferred, alone, cap)
            elif is_limited and not self._low_ticks:
                self.allowance.limit((self.allowance.bps or 0.0) + DRIFT * cap)
        if self.allowance.bps == 0.0:
            self._try(now, excess_rtt_ms)
        else:
            self._trials.note_peak(self.rate_bps("total", 0.5))
            self._look_at_little(now, preferred)
        self._leave(now, preferred, cap)

    def _look_for_gap(self, now: float, cap: float) -> None:
        """Have nothing judged by a moment in which a sender paused: it wants what it wanted before."""
        if self._taking is not None or self.rate_bps("total", GAP_S) >= GAP * cap:
            self._gap_since = None  # while it is looked what becomes of what was taken away, little is the answer
            return
        self._gap_since = now if self._gap_since is None else self._gap_since
        if now - self._gap_since < GAP_MOST_S or self.rate_bps("total", BURST_S) < PAUSE * cap:
            self._judged_from = now

    def _look_whether_slower(self, now: float, alone: float | None, cap: float) -> None:
        """Note since when all that is seen of the preferred lines alone says that they have become slower."""
        if alone is None:
            return
        is_slower = alone < SLOWER * cap and self._is_more(alone)
        self._slower_since = (now if self._slower_since is None else self._slower_since) if is_slower else None

    def _is_slower(self, now: float) -> bool:
        return self._slower_since is not None and now - self._slower_since >= SLOWER_S

    def _is_level(self, alone: float | None, preferred: float) -> bool:
        """Say whether the preferred lines carry no less while the next tier is open, and that carries more."""
        return alone is not None and preferred >= LEVEL * alone and self._is_more(alone)

    def _is_low(self, now: float, cap: float) -> bool:
        """Say whether the preferred lines carry less than they can, and not only for the moment of a bbr's probe."""
        if now - self._judged_from < LIMITED_S:
            return False  # before they were full, or while nothing was sent: it says nothing of what is needed now
        if not self.allowance.bps:
            return self.rate_bps("preferred", CONTROL_S) < SHRINK * cap
        halves = (self.rate_bps("preferred", LIMITED_S / 2, ago) for ago in (0.0, LIMITED_S / 2))
        return all(half < SHRINK * cap for half in halves)

    def _grow(self, cap: float) -> None:
        """Let more over, the faster the longer they are full: what was needed a moment ago is about right."""
        allowed = self.allowance.bps
        if allowed is None:
            return
        self._full_s = min(self._full_s + TICK_S, FULL_MOST_S)
        if self.allowance.holds_nothing_back:
            self.allowance.open_fully()
            return
        most = max((GROWTH - 1.0) * allowed, GROWTH_LEAST * cap)
        if not self._is_need_seen:
            self.allowance.limit(allowed + most)
        elif self._full_s < GROW_SLOWLY_S:
            self.allowance.limit(allowed + GROWTH_SLOWEST * cap)
        else:
            step = GROWTH_SLOW * cap * 2 ** ((self._full_s - GROW_SLOWLY_S) / GROW_TWICE_S)
            self.allowance.limit(allowed + min(step, most))

    def _shrink(self, now: float, preferred: float, alone: float | None, cap: float) -> None:
        """Let over what the flows need, and look whether the preferred lines carry the rest instead.

        They are not full, so nothing waits: what all the lines carry is what the flows want.
        """
        allowed = self.allowance.bps
        if allowed is None and self._taking is None:
            self._taking = _Taking(now, self.rate_bps("preferred", AT_ONCE_S), self.rate_bps("excess", AT_ONCE_S))
        if self._taking is not None and self._was_in_vain(now, preferred, self._taking):
            self._give_back(now, preferred, cap)
            return
        if alone is not None and self._is_slower(now):
            self.cap_bps = cap = alone
        self._is_need_seen = True
        self._full_s = 0.0
        if allowed is None or not self.allowance.has_held_back:
            self._limited_at = now
            self.allowance.limit(self.rate_bps("total", AT_ONCE_S) - FILL * cap)
            if self.allowance.bps == 0.0 and self._little_since is None:
                self._little_since = now  # whoever only paused is found out by closing, sooner than by growing
            return
        need = self.rate_bps("total", LIMITED_S) - FILL * cap
        if need < allowed and now - self._limited_at >= SETTLED_S:
            self.allowance.limit(allowed + APPROACH * (need - allowed))
        if need < NOTHING * cap and allowed < NOTHING * cap:
            self.allowance.close()

    def _alone_bps(self, now: float) -> float | None:
        """Return what the preferred lines carry without the next tier, once that is not only for a start."""
        if now - self._limited_at < SETTLED_S + LIMITED_S or not self._readings.is_steady():
            return None
        return self._readings.alone_bps() if self.allowance.bps else None

    def _was_in_vain(self, now: float, preferred: float, taking: _Taking) -> bool:
        """Say whether the preferred lines do not carry what was taken from the next tier."""
        if now - taking.at > TAKEN_LASTS_S:
            self._taking = None  # much else may have happened
            return False
        taken = taking.excess_bps - self.rate_bps("excess")
        if now - taking.at < TAKEN_S or taken < max(TAKEN * preferred, TAKEN_EXCESS * taking.excess_bps):
            return False
        if self.rate_bps("preferred") - taking.preferred_bps < GIVEN_BACK * taken:
            return True
        self._taking = None
        self._hold_s = HOLD_S
        return False

    def _is_more(self, alone: float) -> bool:
        """Say whether all the lines carry more than the preferred ones while these are alone: something waits then."""
        return min(self.rate_bps("total", span) for span in (CONTROL_S, LIMITED_S)) >= GAIN * alone

    def _give_back(self, now: float, preferred: float, cap: float) -> None:
        """Taking it away gave the preferred lines nothing to carry: they are full."""
        self._taking = None
        if preferred < SLOWER * cap:
            if not self._readings.is_steady():
                return  # what is offered changes, too
            self.cap_bps = preferred
        self.allowance.open_fully()
        self._is_need_seen = False
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
            self._closing = _Closing(now + CLOSING_S, self.rate_bps("total"), self.allowance.bps)
            self.allowance.close()

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
            self._allow(closing.allowed_bps)

    def _leave(self, now: float, preferred: float, cap: float) -> None:
        if self.allowance.bps != 0.0 or preferred >= LEAVE * cap:
            self._quiet_since = None
            return
        self._quiet_since = self._quiet_since if self._quiet_since is not None else now
        if now - self._quiet_since >= LEAVE_S:
            self._set_state("idle")
            self._trials.forget_peak()
            self._trials.note_peak(preferred)

    def _without_flows(self, now: float) -> None:
        self._trials.abandon()
        self._trials.forget_peak()
        self._closing = self._taking = None
        self.allowance.close()
        if self.state == "over" and self.cap_bps is not None:
            self._leave(now, self.rate_bps("preferred"), self.cap_bps)

    def _guard(self, now: float, rtt_ms: float | None, excess_rtt_ms: float | None) -> None:
        self._round_trips.look(now, rtt_ms, excess_rtt_ms)
        if self._round_trips.are_too_long:
            self._set_state("guarded")
            self._trials.abandon()
            self._closing = None
            self.allowance.close()
        elif self.state == "guarded":
            self._set_state("idle")

    def _set_state(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self.changes += 1
