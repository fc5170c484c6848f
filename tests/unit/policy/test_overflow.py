"""The overflow controller against lines that are computed: what the next tier carries, and what it costs."""

from dataclasses import dataclass, field

import pytest
from sender import Sender

from hagw.policy.modes.overflow import TICK_S, Overflow
from hagw.policy.modes.overflow_allowance import Allowance
from hagw.policy.modes.overflow_readings import Reading, Readings

INFINITE = 1e12


@dataclass
class Lines:
    """DSL and LTE, one stream over both. Open lines share what is sent as their rates are to each other."""

    dsl: float = 16.0
    lte: float = 50.0
    demand: float = INFINITE
    spoilt: float = 1.0  # what is left of DSL while LTE is open: the scheduler leaves gaps
    others: float = 0.0  # bypass traffic on DSL, which the controller sees only in the counters
    now: float = 100.0
    preferred_bytes: float = 0.0
    excess_bytes: float = 0.0
    reverse: float = 0.2  # acknowledgements, and whatever else goes the other way over DSL
    reverse_bytes: float = 0.0
    backlog: float = 0.0
    arrived: float = 0.0
    history: list[tuple[float, float, float]] = field(default_factory=list)  # time, Mbit/s over DSL, over LTE

    def tick(self, is_open: bool) -> Reading:
        """Let a tick pass."""
        room = self.dsl * (self.spoilt if is_open else 1.0) - self.others
        wanted = min(self.demand + self.backlog / TICK_S, room + self.lte)
        over_lte = min(self.lte, wanted * self.lte / (room + self.lte)) if is_open else 0.0
        over_dsl = min(room, wanted - over_lte)
        if self.demand < INFINITE:
            self.backlog = min(max(0.0, self.backlog + (self.demand - over_dsl - over_lte) * TICK_S), 4.0)
        self.preferred_bytes += (over_dsl + self.others) * 1e6 / 8 * TICK_S
        self.excess_bytes += over_lte * 1e6 / 8 * TICK_S
        self.now += TICK_S
        self.history.append((self.now, over_dsl + self.others, over_lte))
        self.reverse_bytes += self.reverse * 1e6 / 8 * TICK_S
        return Reading(self.now, int(self.preferred_bytes), int(self.excess_bytes), int(self.reverse_bytes))

    def mean(self, seconds: float) -> tuple[float, float]:
        """Return what the lines carried in the last seconds."""
        last = [entry for entry in self.history if entry[0] > self.now - seconds - 1e-9]
        return sum(entry[1] for entry in last) / len(last), sum(entry[2] for entry in last) / len(last)


@dataclass
class Bench:
    lines: Lines = field(default_factory=Lines)
    overflow: Overflow = field(default_factory=Overflow)
    is_open: bool = False
    flows: int = 1
    rtt_ms: float = 70.0

    def run(self, seconds: float) -> tuple[float, float]:
        """Let time pass; return the mean rates over DSL and LTE."""
        for _ in range(round(seconds / TICK_S)):
            reading = self.lines.tick(self.is_open)
            self.is_open = self.overflow.update(reading, self.flows, 40.0, self.rtt_ms) > 0
        return self.lines.mean(seconds)


def test_what_fits_into_the_preferred_line_stays_there() -> None:
    bench = Bench(Lines(demand=8.0))
    dsl, lte = bench.run(60.0)
    assert lte < 0.01 * (dsl + lte)
    assert bench.overflow.state == "idle"


@pytest.mark.parametrize("upload", [True, False])
def test_a_download_that_an_upload_slows_down_stays_where_it_is(upload: bool) -> None:
    bench = Bench(Lines(demand=8.0))
    bench.run(5.0)
    bench.lines.reverse = 1.0 if upload else 0.2
    for dsl in (7.0, 6.0, 5.0, 4.0, 3.0, 3.0, 3.0, 5.0, 9.0, 9.0):  # its acknowledgements wait; then it catches up
        bench.lines.dsl = dsl
        bench.run(2.0)
    _, lte = bench.lines.mean(20.0)
    assert (lte == 0.0) == upload  # without an upload the line has become slower


@pytest.mark.parametrize("spoilt", [1.0, 0.97, 0.93])
def test_bulk_gets_every_line_within_seconds(spoilt: float) -> None:
    bench = Bench(Lines(spoilt=spoilt))
    bench.run(5.0)
    for _ in range(3):
        bench.run(9.8)
        bench.lines.spoilt = 0.1  # bbr looks for the shortest round trip
        bench.run(0.2)
        bench.lines.spoilt = spoilt
    dsl, lte = bench.lines.mean(30.0)
    assert dsl > 15.4 * spoilt
    assert lte > 42.0


@pytest.mark.parametrize("hint", [None, 16e6, 16.6e6, 12e6, 25e6], ids=str)
def test_only_the_excess_goes_over_the_next_line(hint: float | None) -> None:
    bench = Bench(Lines(demand=25.0), Overflow(hint))
    bench.run(40.0 if hint == 25e6 else 10.0)
    dsl, lte = bench.run(30.0)
    assert dsl + lte > 24.0
    assert lte < 1.12 * 9.0


def test_traffic_of_others_counts() -> None:
    bench = Bench(Lines(demand=10.0, others=10.0))
    bench.run(10.0)
    _, lte = bench.run(30.0)
    assert 3.6 < lte < 4.0 + 0.09 * 16.0


@pytest.mark.parametrize("demand", [INFINITE, 25.0], ids=["bulk", "stream"])
def test_a_line_that_became_slower_is_learned_anew_within_ten_seconds(demand: float) -> None:
    bench = Bench(Lines(demand=demand))
    bench.run(15.0)
    bench.lines.dsl = 6.0
    bench.run(10.0)
    assert bench.overflow.cap_bps == pytest.approx(6e6, rel=0.1)
    dsl, lte = bench.run(20.0)
    assert dsl > 5.5
    assert lte > (45.0 if demand == INFINITE else 16.5)


@pytest.mark.parametrize("alike", [1.0, 0.25], ids=["lte-slower", "dsl-slower"])
@pytest.mark.parametrize("dsl", [6.0, 11.0])
def test_a_line_that_became_slower_shows_by_carrying_the_same_whatever_the_next_one_does(
    alike: float, dsl: float
) -> None:
    sender = Sender(25.0, alike)
    sender.run(9.0)
    sender.rates = (dsl, 50.0)
    sender.run(5.0)
    assert sender.overflow.cap_bps == pytest.approx(dsl * 1e6, rel=0.03)


def test_a_line_that_became_faster_is_followed() -> None:
    bench = Bench()
    bench.run(15.0)
    bench.lines.dsl = 40.0
    bench.run(5.0)
    assert bench.overflow.cap_bps == pytest.approx(40e6, rel=0.05)


@pytest.mark.parametrize("known", [3e6, 6e6, 7e6], ids=str)
def test_more_than_the_line_is_known_to_carry_is_no_sign_of_its_being_full(known: float) -> None:
    bench = Bench(Lines(demand=0.0), Overflow(known), flows=0)
    bench.run(5.0)
    bench.lines.demand, bench.flows = 8.0, 1
    dsl, lte = bench.run(10.0)
    assert lte < 0.04 * dsl, "one trial"
    bench.lines.demand = INFINITE
    bench.run(4.0)
    dsl, lte = bench.run(1.0)
    assert (dsl > 15.0, lte > 40.0) == (True, True)


def test_bursts_of_a_slow_line_are_no_sign_of_its_carrying_more_than_is_known() -> None:
    """What is sent has been queued for the first line: a trial has the next one carry nothing."""
    bench = Bench(Lines(dsl=1.12, lte=0.0), Overflow(1e6))
    bench.run(1.1)
    bench.lines.dsl = 1.0
    bench.run(1.5)
    assert bench.overflow.state == "over"


def test_a_load_that_just_fits_does_not_make_it_change_its_mind() -> None:
    bench = Bench(Lines(demand=16.0), Overflow(16e6))
    bench.run(60.0)
    before = bench.overflow.changes
    dsl, lte = bench.run(120.0)
    assert bench.overflow.changes - before <= 8
    assert lte < 0.08 * dsl


def test_it_ends_when_the_load_is_gone_and_begins_again_at_once() -> None:
    bench = Bench()
    bench.run(10.0)
    assert bench.overflow.state == "over"
    bench.lines.demand, bench.flows = 1.0, 0
    bench.run(2.0)
    assert not bench.is_open
    bench.run(8.0)
    assert bench.overflow.state == "idle"
    bench.lines.demand, bench.flows = INFINITE, 1
    bench.run(4.0)
    _, lte = bench.run(2.0)
    assert lte > 45.0, "the capacity is remembered: no trial is needed"


def test_a_next_line_with_a_long_round_trip_is_not_used_until_it_is_shorter() -> None:
    bench = Bench()
    bench.run(10.0)
    bench.rtt_ms = 400.0
    bench.run(3.0)
    dsl, lte = bench.run(10.0)
    assert (bench.overflow.state, lte) == ("guarded", 0.0)
    assert dsl == pytest.approx(16.0)
    bench.rtt_ms = 70.0
    bench.run(6.0)
    assert bench.overflow.state == "over"


def test_counters_that_begin_anew_are_survived() -> None:
    bench = Bench()
    bench.run(5.0)
    bench.lines.preferred_bytes = bench.lines.excess_bytes = 0.0
    bench.run(5.0)
    dsl, lte = bench.run(10.0)
    assert (dsl > 15.5, lte > 45.0) == (True, True)


@pytest.mark.parametrize("alike", [1.0, 0.25], ids=["lte-slower", "dsl-slower"])
@pytest.mark.parametrize(("demand", "limit"), [(25.0, 1.15), (20.0, 1.35)])
def test_a_sender_that_queues_gets_the_excess_and_no_more(alike: float, demand: float, limit: float) -> None:
    """What it hands to the closed line's rival is gone from the open one: it answers late, and then in bursts."""
    sender = Sender(demand, alike)
    sender.run(8.0)
    dsl, lte = sender.run(60.0)
    assert dsl + lte > 0.97 * demand
    assert lte < limit * (demand - 16.0)
    sender.demand = 12.0
    sender.run(8.0)
    _, lte = sender.run(20.0)
    assert lte < 0.5
    assert (sender.overflow.cap_bps or 0.0) > 13.5e6, "too little for the line is no reason to distrust it"


def test_a_pause_without_flows_leaves_nothing_behind_but_what_the_line_carries() -> None:
    bench = Bench()
    bench.run(10.0)
    bench.overflow.rest()
    assert (bench.overflow.state, bench.overflow.cap_bps) == ("idle", pytest.approx(16e6, rel=0.01))
    bench.lines.now += 60.0
    bench.lines.dsl = 6.0
    bench.run(10.0)
    dsl, lte = bench.run(5.0)
    assert bench.overflow.cap_bps == pytest.approx(6e6, rel=0.1), "a newcomer's trial"
    assert dsl + lte > 45.0


@pytest.mark.parametrize(("pause_s", "within_s"), [(0.5, 1.0), (0.8, 1.0), (1.0, 1.0), (1.5, 1.0), (3.0, 3.0)])
def test_flows_that_pause_for_a_moment_get_every_line_again_soon(pause_s: float, within_s: float) -> None:
    bench = Bench()
    bench.run(15.0)
    bench.lines.demand = 0.0
    bench.run(pause_s)
    allowed = bench.overflow.allowance.bps
    assert allowed is None or allowed >= 0.0
    bench.lines.demand = INFINITE
    bench.run(within_s)
    dsl, lte = bench.run(1.0)
    assert (dsl > 15.0, lte > 40.0) == (True, True)


def test_a_gap_just_before_the_lines_are_full_does_not_slow_bulk_down() -> None:
    sender = Sender(0.5, 1.0, Overflow(16e6))
    sender.run(2.0)
    sender.demand = 200.0
    sender.run(0.7)
    sender.rates = (2.0, 50.0)
    sender.run(0.3)
    sender.rates = (16.0, 50.0)
    sender.run(4.5)
    dsl, lte = sender.run(1.0)
    assert dsl + lte > 0.85 * 66.0


@pytest.mark.parametrize("alike", [1.0, 0.25], ids=["lte-slower", "dsl-slower"])
def test_a_sender_of_bulk_whose_first_line_became_slower_is_followed(alike: float) -> None:
    sender = Sender(25.0, alike)
    sender.run(9.0)
    sender.demand, sender.rates = 60.0, (6.0, 50.0)
    sender.run(10.0)
    assert (sender.overflow.cap_bps or 0.0) == pytest.approx(6e6, rel=0.1)


def test_a_line_that_falters_while_more_is_let_over_does_not_hold_that_up() -> None:
    sender = Sender(0.5, 1.0, Overflow(16e6))
    sender.run(2.0)
    sender.demand = 200.0
    totals = []
    for _ in range(7):
        sender.rates = (12.0, 50.0)
        short = sum(sender.run(0.2))
        sender.rates = (16.0, 50.0)
        totals.append(0.2 * short + 0.8 * sum(sender.run(0.8)))
    assert max(totals[:5]) > 0.8 * 66.0, totals


def test_two_gaps_of_bbr_in_a_row_take_nothing_from_bulk() -> None:
    bench = Bench()
    bench.run(10.0)
    for dsl in (4.5, 5.0, 14.0, 2.0, 1.5, 12.0, *[16.0] * 10):
        bench.lines.dsl = dsl
        bench.run(TICK_S)
        assert bench.overflow.allowance.bps is None


def test_a_gap_just_after_the_lines_were_not_full_does_not_close_the_next_one() -> None:
    """What is needed of it was seen before; a gap says nothing of it, nor of what became of what was taken away."""
    bench = Bench(Lines(demand=25.0, lte=10.0))
    bench.run(10.0)
    for seconds, dsl, lte in ((1.2, 13.5, 14.5), (0.2, 16.0, 9.9), (0.3, 0.5, 0.5), (1.1, 16.0, 50.0)):
        bench.lines.dsl, bench.lines.lte = dsl, lte
        bench.run(seconds)
    assert bench.overflow.allowance.bps is None or bench.overflow.allowance.bps > 7e6


def test_more_is_tried_soon_where_a_trial_was_about_much_less() -> None:
    bench = Bench(Lines(demand=2.0))
    bench.run(3.0)
    bench.lines.demand = INFINITE
    bench.run(4.0)
    dsl, lte = bench.run(1.0)
    assert (dsl > 15.0, lte > 40.0) == (True, True)


@pytest.mark.parametrize("alike", [1.0, 0.25], ids=["lte-slower", "dsl-slower"])
def test_a_sender_that_pauses_on_its_lines_is_not_taken_for_slower_lines(alike: float) -> None:
    """bbr empties a line for 0.2 s in each ten."""
    sender = Sender(25.0, alike)
    sender.run(8.0)
    totals = [0.0, 0.0]
    for _ in range(6):
        for seconds, rates in ((9.0, (16.0, 50.0)), (0.25, (1.0, 1.0)), (0.4, (10.0, 50.0))):
            sender.rates = rates
            totals = [total + mean * seconds for total, mean in zip(totals, sender.run(seconds), strict=True)]
        assert (sender.overflow.cap_bps or 0.0) > 15e6
    assert totals[1] < 1.15 * (sum(totals) - 16.0 * 6 * 9.65 * 0.97)


@pytest.mark.parametrize(
    ("preferred", "excess", "level"),
    [
        ([6.0], [0.0, 0.0, 0.0, 40.0, 40.0, 40.0], 6e6),
        ([6.0] * 9 + [1.0], [0.0, 0.0, 0.0, 40.0, 40.0, 40.0], 6e6),
        ([6.0], [40.0], None),
        ([6.0] * 9 + [9.0], [0.0, 0.0, 0.0, 40.0, 40.0, 40.0], None),
        ([6.0, 6.0, 6.0, 4.0, 4.0, 4.0], [0.0, 0.0, 0.0, 40.0, 40.0, 40.0], None),
    ],
    ids=["full", "full but for a gap", "nothing swings", "a burst", "one for the other"],
)
def test_a_level_is_what_is_carried_whatever_the_next_line_does(
    preferred: list[float], excess: list[float], level: float | None
) -> None:
    readings, moved, at = Readings(), [0.0, 0.0], 100.0
    for tick in range(25):
        at += TICK_S
        for number, rates in enumerate((preferred, excess)):
            moved[number] += rates[tick % len(rates)] * 1e6 / 8 * TICK_S
        readings.add(Reading(at, int(moved[0]), int(moved[1])))
    assert readings.level_bps() == (None if level is None else pytest.approx(level, rel=0.01))


@pytest.mark.parametrize("flows", [1, 4])
def test_an_allowance_is_kept_to_however_late_the_line_answers(flows: int) -> None:
    allowance, carried, rates = Allowance(), 0, []
    allowance.limit(9e6)
    late = [0]
    for _ in range(600):
        count = allowance.admit(flows, carried, 0.1)
        late.append(count)
        carried = round(min(1.0, late.pop(0) / flows) * 50e6 / 8 * 0.1)
        rates.append(carried * 80)
    assert sum(rates[100:]) / 500 == pytest.approx(9e6, rel=0.1)


def test_an_allowance_of_several_flows_opens_and_closes_one_of_them() -> None:
    allowance, carried, counts = Allowance(), 0, []
    allowance.limit(22e6)
    for _ in range(400):
        counts.append(allowance.admit(4, carried, 0.1))
        carried = round(counts[-1] / 4 * 50e6 / 8 * 0.1)
    assert set(counts[100:]) <= {1, 2}
    assert [allowance.opened(number) > 0 for number in range(4)] == [True, True, False, False]


def test_an_allowance_of_nothing_and_of_everything() -> None:
    allowance = Allowance()
    assert (allowance.admit(3, 0, 0.1), allowance.opened(0)) == (0, 0.0)
    allowance.open_fully()
    assert (allowance.admit(3, 10**9, 0.1), allowance.opened(2)) == (3, 1.0)
    allowance.close()
    assert allowance.admit(3, 0, 0.1) == 0
    for _ in range(40):
        allowance.limit(9e6)
        allowance.admit(3, 0, 0.1)
    allowance.limit(-9e6)
    assert (allowance.bps, allowance.admit(3, 0, 0.1), allowance.opened(0)) == (0.0, 0, 0.0)
    assert not allowance.holds_nothing_back
    allowance.limit(1e6)
    assert allowance.admit(3, 0, 0.1) == 1
