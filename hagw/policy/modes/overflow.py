"""Priority-based steering: the preferred lines first, the next ones for the excess and nothing more.

One controller for a set of preferred lines and one direction. It sees what all the lines carry, traffic of others
included, ten times a second, and says to how many of the bulk flows the next tier is open now: as much as it may carry
is kept to by opening and closing it (`overflow_allowance`). How it knows that the preferred lines are full:

- By what is configured or was found out: `cap`. Above 97.5 % of it the allowance grows. Below 93.5 % the flows need no
  more than what all the lines carry together, and the allowance becomes what the preferred ones could not carry of it.
- By trial, while nothing is known: the next tier is opened for a moment. If the total grows, the lines before were
  full with what they carried; if not, the flows want no more.
- By taking away: when the allowance shrinks and the preferred lines do not carry more instead, they have become slower.
- By closing: when next to nothing uses the next tier, it is closed for a second. If nothing is lost, there was room.
"""

from typing import Final, Literal, assert_never

from hagw.policy.modes.overflow_allowance import Allowance
from hagw.policy.modes.overflow_closing import Closing
from hagw.policy.modes.overflow_evidence import BURST_S, CONTROL_S, LIMITED_S, SHRINK, SLOWER, Evidence
from hagw.policy.modes.overflow_guard import RoundTrips
from hagw.policy.modes.overflow_readings import RATE_S, STEADY_BPS, Reading, Readings, Which
from hagw.policy.modes.overflow_taking import AT_ONCE_S, Taking
from hagw.policy.modes.overflow_trial import KNOWN_MARGIN, Trials

TICK_S: Final = 0.1
ENTER: Final = 0.95  # of the capacity
GROW: Final = 0.975
FILL: Final = 0.967
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
ROOM: Final = 1.12  # times what is carried: not known to be full with that
LEAVE: Final = 0.75  # of the capacity, for LEAVE_S with nothing over
LEAVE_S: Final = 5.0
BEYOND: Final = 1.5  # times the capacity: it was no capacity
HOLD_S: Final = 3.0  # how long nothing is taken away after it did no good; doubled each time
HOLD_MAX_S: Final = 30.0
HOLD_BELOW: Final = 0.85  # of the capacity: carrying less, they are no longer full

State = Literal["idle", "over", "guarded"]


class Overflow:
    """The controller. `hint_bps` is what the preferred lines are configured to carry together, None = not known."""

    def __init__(self, hint_bps: float | None = None) -> None:
        self.state: State = "idle"
        self.allowance = Allowance()
        self.cap_bps = hint_bps
        self.changes = 0  # of the state
        self._readings = Readings()
        self._trials = Trials(self._readings)
        self._evidence = Evidence(self._readings)
        self._taking = Taking(self._readings)
        self._closing = Closing(self._readings)
        self._round_trips = RoundTrips()
        self._at = 0.0
        self._full_ticks = 0
        self._full_s = 0.0  # full for longer than not, by so much
        self._is_need_seen = False  # since the preferred lines were last found to be slower, or flows began
        self._quiet_since: float | None = None
        self._flows = 0
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
        self._closing.forget()
        self._taking.forget()
        self._quiet_since = None
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
        elif self._closing.is_under_way:
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
        if cap is not None and carried > KNOWN_MARGIN * cap + STEADY_BPS:
            # More than is known, and by more than a burst: what they can carry is not known.
            self.cap_bps = cap = ROOM * carried
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
                self._taking.forget()
            case _:
                assert_never(verdict)

    def _enter(self, allowed_bps: float | None) -> None:
        self._set_state("over")
        self._allow(allowed_bps)
        self._full_ticks = 0
        self._taking.forget()
        self._closing.forget()
        self._evidence.begin(self._at)
        self._hold_until, self._hold_s = 0.0, HOLD_S
        self._quiet_since = None
        self._full_s = 0.0
        self._is_need_seen = False

    def _allow(self, bps: float | None) -> None:
        if bps is None:
            self.allowance.open_fully()
        else:
            self.allowance.limit(bps)

    # --- open

    def _steer(self, now: float, excess_rtt_ms: float | None) -> None:
        """Keep the preferred lines just full."""
        is_limited = bool(self.allowance.bps)
        preferred = self.rate_bps("preferred", LIMITED_S if is_limited else CONTROL_S)
        is_held = self._learn(now, preferred, is_limited=is_limited)
        cap = self.cap_bps
        assert cap is not None
        self._evidence.look_for_gap(now, cap)
        # While the need is not known, a line that falters once in 1.5 s must not hold up who wants everything.
        if preferred > (GROW if self._is_need_seen else SHRINK) * cap or is_held:
            self._trials.saw_full(now)
            self._evidence.are_full()
            self._taking.forget()
            self._grow(cap)
        else:
            self._full_s = max(0.0, self._full_s - TICK_S)
            if self._evidence.is_low(now, cap, is_limited=is_limited):
                self._shrink(now, preferred, cap)
            elif is_limited:
                self.allowance.limit((self.allowance.bps or 0.0) + DRIFT * cap)
        if self.allowance.bps == 0.0:
            self._try(now, excess_rtt_ms)
        else:
            self._trials.note_peak(self.rate_bps("total", 0.5))
            if self._closing.begin(now, preferred, self.allowance.bps):
                self.allowance.close()
        self._leave(now, preferred, cap)

    def _learn(self, now: float, preferred: float, *, is_limited: bool) -> bool:
        """Follow what the preferred lines can carry; return whether they are full for another reason than that."""
        cap = self.cap_bps
        assert cap is not None
        is_held = now < self._hold_until and preferred >= HOLD_BELOW * cap
        self._evidence.look(now, cap, is_limited)
        if (burst := self.rate_bps("preferred", BURST_S)) > BEYOND * cap:
            self.cap_bps = burst
        elif preferred > cap:
            self.cap_bps = cap + 0.2 * (preferred - cap)
        elif (slower := self._evidence.slower_bps(cap)) is not None:
            return self._found_slower(slower)
        elif is_held or self._evidence.is_level(preferred):  # full with what they carry: a peak is no capacity
            if preferred >= SLOWER * cap:
                self.cap_bps = cap + 0.02 * (preferred - cap)
                return True
            if is_held or self._evidence.is_slower(now):
                return self._found_slower(preferred)
        return is_held

    def _found_slower(self, bps: float) -> bool:
        self.cap_bps = bps
        self._is_need_seen = False
        return True

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

    def _shrink(self, now: float, preferred: float, cap: float) -> None:
        """Let over what the flows need, and look whether the preferred lines carry the rest instead.

        They are not full, so nothing waits: what all the lines carry is what the flows want.
        """
        allowed = self.allowance.bps
        if allowed is None:
            self._taking.begin(now)
        match self._taking.was_in_vain(now):
            case True:
                self._give_back(now, preferred, cap)
                return
            case False:
                self._taking.forget()
                self._hold_s = HOLD_S
        if (alone := self._evidence.alone_bps) is not None and self._evidence.is_slower(now):
            self.cap_bps = cap = alone
        self._is_need_seen = True
        self._full_s = 0.0
        if allowed is None or not self.allowance.has_held_back:
            self._evidence.limited(now)
            self.allowance.limit(self.rate_bps("total", AT_ONCE_S) - FILL * cap)
            if self.allowance.bps == 0.0:
                self._closing.saw_little(now)  # whoever only paused is found out by closing, sooner than by growing
            return
        need = self.rate_bps("total", LIMITED_S) - FILL * cap
        if need < allowed and self._evidence.is_settled(now):
            self.allowance.limit(allowed + APPROACH * (need - allowed))
        if need < NOTHING * cap and allowed < NOTHING * cap:
            self.allowance.close()

    def _give_back(self, now: float, preferred: float, cap: float) -> None:
        """Taking it away gave the preferred lines nothing to carry: they are full."""
        if preferred < SLOWER * cap:
            if not self._readings.is_steady():
                return  # what is offered changes, too
            self.cap_bps = preferred
        self._taking.forget()
        self.allowance.open_fully()
        self._is_need_seen = False
        self._hold_until = now + self._hold_s
        self._hold_s = min(2 * self._hold_s, HOLD_MAX_S)

    def _end_closing(self, now: float) -> None:
        carried = self.rate_bps("preferred", 0.5)
        verdict, allowed_bps = self._closing.end(now, carried)
        match verdict:
            case "under way":
                pass
            case "room":
                self.cap_bps = max(self.cap_bps or 0.0, KNOWN_MARGIN * carried)
            case "full":
                self._allow(allowed_bps)
            case _:
                assert_never(verdict)

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
        self._closing.abandon()
        self._taking.forget()
        self.allowance.close()
        if self.state == "over" and self.cap_bps is not None:
            self._leave(now, self.rate_bps("preferred"), self.cap_bps)

    def _guard(self, now: float, rtt_ms: float | None, excess_rtt_ms: float | None) -> None:
        self._round_trips.look(now, rtt_ms, excess_rtt_ms)
        if self._round_trips.are_too_long:
            self._set_state("guarded")
            self._trials.abandon()
            self._closing.abandon()
            self.allowance.close()
        elif self.state == "guarded":
            self._set_state("idle")

    def _set_state(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self.changes += 1
