"""The no-harm guard, fed with what subflows of a connection show over time."""

from dataclasses import dataclass, replace

import pytest

from hagw.health.capacity import CapacityBook
from hagw.health.noharm import NoHarmGuard, SubflowSample, Withheld, known_to_harm

TICK_S = 0.2
MBIT = 1e6


@dataclass
class Line:
    """A line of the script: what it carries and how its round trip looks while it does."""

    up: float = 0.0
    down: float = 0.0
    min_rtt_ms: float = 30.0
    srtt_ms: float = 150.0
    limited: bool = False

    def sample(self, name: str, burst: float = 1.0) -> SubflowSample:
        return SubflowSample(
            uplink=name,
            bytes_up=int(self.up * MBIT / 8 * TICK_S * burst),
            bytes_down=int(self.down * MBIT / 8 * TICK_S * burst),
            delivery_rate_bps=self.up * MBIT * burst if self.up else None,
            srtt_ms=self.srtt_ms,
            min_rtt_ms=self.min_rtt_ms,
            unacked_bytes=20_000 if self.up else 0,
            app_limited=self.limited,
        )


class Script:
    """Drives one guard with a set of lines."""

    def __init__(self, book: CapacityBook | None = None, now: float = 100.0) -> None:
        self.book = book or CapacityBook()
        self.now = now
        self.guard = NoHarmGuard(self.book, now)
        self.withheld: tuple[Withheld, ...] = ()

    def run(self, seconds: float, **lines: Line) -> set[str]:
        for _ in range(round(seconds / TICK_S)):
            self.tick(**lines)
        return self.names()

    def tick(self, **lines: Line) -> set[str]:
        self.now += TICK_S
        held = self.names()
        samples = [(Line(srtt_ms=0) if n in held else line).sample(n) for n, line in lines.items()]
        self.withheld = self.guard.update(samples, self.now)
        return self.names()

    def until_withheld(self, limit_s: float, **lines: Line) -> float:
        begun = self.now
        while not self.tick(**lines):
            assert self.now - begun < limit_s, "nothing was withheld"
        return round(self.now - begun, 3)

    def names(self) -> set[str]:
        return {held.uplink for held in self.withheld}


def test_a_line_of_1_beside_20_and_20_is_withheld_from_an_upload_within_a_second() -> None:
    script = Script()
    took = script.until_withheld(2.0, dsl=Line(up=1), lte=Line(up=20), wifi=Line(up=20))
    assert took <= 0.8
    assert script.names() == {"dsl"}
    assert "1.0 Mbit/s up beside 40.0 Mbit/s" in script.withheld[0].reason


def test_it_is_withheld_even_while_it_holds_the_fast_lines_down_to_seven() -> None:
    script = Script()
    script.run(0.4, dsl=Line(up=1), lte=Line(up=16, srtt_ms=52), wifi=Line(up=18, srtt_ms=40))
    slow = Line(up=1, srtt_ms=174)
    took = script.until_withheld(2.0, dsl=slow, lte=Line(up=7, srtt_ms=50), wifi=Line(up=6, srtt_ms=32))
    assert took <= 1.4


def test_5_beside_20_and_20_keeps_all_three() -> None:
    script = Script()
    assert not script.run(10, dsl=Line(up=5), lte=Line(up=20), wifi=Line(up=20))


def test_5_beside_20_and_20_keeps_all_three_while_rates_burst_and_losses_are_repaired() -> None:
    script = Script()
    bursts = [0.1, 1.9, 1.0, 0.6, 1.4, 0.0, 2.0, 1.0]
    for i in range(100):
        script.now += TICK_S
        samples = [
            Line(up=5).sample("dsl", bursts[i % 8]),
            Line(up=20).sample("lte", bursts[(i + 3) % 8]),
            Line(up=20).sample("wifi", bursts[(i + 5) % 8]),
        ]
        assert not script.guard.update(samples, script.now)


def test_a_starved_line_without_a_queue_is_not_taken_for_a_slow_one() -> None:
    script = Script()
    assert not script.run(5, dsl=Line(up=0.5, srtt_ms=31), lte=Line(up=20), wifi=Line(up=20))


def test_an_application_that_sends_little_blames_no_line() -> None:
    script = Script()
    assert not script.run(5, dsl=Line(up=0.2, limited=True), wifi=Line(up=5, limited=True))


def test_a_short_connection_is_left_alone() -> None:
    script = Script()
    script.book.hint("dsl", "up", 1 * MBIT)
    assert not script.run(1, dsl=Line(up=0.1), lte=Line(up=0.5))


def test_a_two_way_connection_is_left_alone() -> None:
    script = Script()
    assert not script.run(5, dsl=Line(up=1, down=10), lte=Line(up=20, down=20))


def test_configured_rates_withhold_the_line_as_soon_as_the_connection_is_bulk() -> None:
    book = CapacityBook()
    for name, rate in (("dsl", 1), ("lte", 20), ("wifi", 20)):
        book.hint(name, "up", rate * MBIT)
    assert Script(book).until_withheld(2.0, dsl=Line(up=1), lte=Line(up=9), wifi=Line(up=12)) <= 0.2


def test_the_next_connection_knows_at_once_and_what_is_found_again_and_again_is_tried_ever_later() -> None:
    lines = {"dsl": Line(up=1), "lte": Line(up=20), "wifi": Line(up=20)}
    script = Script()
    script.until_withheld(2.0, **lines)
    for hold_s in (30, 120, 480, 600, 600):
        begun = script.now
        assert Script(script.book, begun + hold_s - 1).until_withheld(2.0, **lines) <= 0.2, "known"
        script = Script(script.book, begun + hold_s + 0.5)
        assert 0.4 <= script.until_withheld(2.0, **lines) <= 0.8, "found out anew"
    unused = Script(script.book, script.now + 1300)
    unused.until_withheld(2.0, **lines)
    assert Script(script.book, unused.now + 31).until_withheld(2.0, **lines) >= 0.4, "long ago"


def test_a_line_that_was_wrongly_found_slow_is_back_in_half_a_minute_and_stays() -> None:
    script = Script()
    assert script.run(2, dsl=Line(up=1), lte=Line(up=20), wifi=Line(up=20)) == {"dsl"}
    assert script.run(27, dsl=Line(up=5), lte=Line(up=20), wifi=Line(up=20)) == {"dsl"}
    script.run(2, dsl=Line(up=5), lte=Line(up=20), wifi=Line(up=20))
    assert not script.run(60, dsl=Line(up=5), lte=Line(up=20), wifi=Line(up=20))


def test_another_worker_knows_for_how_long_a_line_is_kept_out() -> None:
    lines = {"dsl": Line(up=1), "lte": Line(up=20), "wifi": Line(up=20)}
    first = Script()
    first.until_withheld(2.0, **lines)
    book = CapacityBook()
    for view in first.book.learned():
        book.adopt(view)
    assert Script(book, first.now + 29).until_withheld(2.0, **lines) <= 0.2
    assert Script(book, first.now + 30.5).until_withheld(2.0, **lines) >= 0.4


def test_the_repair_of_a_loss_on_a_slow_line_does_not_speak_against_it() -> None:
    """Acknowledged bytes stand still meanwhile, its round trip is long and its queue full, as it always is."""
    script = Script()
    usual = {"dsl": Line(up=5, srtt_ms=270), "lte": Line(up=20, srtt_ms=60), "wifi": Line(up=20, srtt_ms=60)}
    script.run(5, **usual)
    repairing = replace(usual["dsl"].sample("dsl"), bytes_up=2_000)
    broken = replace(repairing, delivery_rate_bps=0.4 * MBIT)
    for sample, ticks in ((repairing, 10), (usual["dsl"].sample("dsl"), 10), (broken, 3)):
        for _ in range(ticks):
            script.now += TICK_S
            others = [usual[name].sample(name) for name in ("lte", "wifi")]
            assert not script.guard.update([sample, *others], script.now)


def test_a_connection_begins_without_a_line_known_to_harm_and_an_upload_keeps_off_it() -> None:
    book = CapacityBook()
    script = Script(book)
    script.until_withheld(5.0, dsl=Line(up=1), lte=Line(up=20), wifi=Line(up=20))
    presumed = known_to_harm(book, ("dsl", "lte", "wifi"), script.now)
    assert [(held.uplink, held.direction) for held in presumed] == [("dsl", "up")]
    guard = NoHarmGuard(book, script.now, presumed)
    for size in (1_000, 4_000, 40_000, 400_000):
        samples = [replace(Line(up=20).sample(name), bytes_up=size) for name in ("lte", "wifi")]
        held = guard.update([*samples, replace(Line(up=1).sample("dsl"), bytes_up=0)], script.now + 0.025)
        assert {one.uplink for one in held} == {"dsl"}


def test_a_download_takes_the_line_back_after_its_first_kilobytes() -> None:
    book = CapacityBook()
    book.mark_harmful("dsl", "up", "slow", 199.0)
    presumed = known_to_harm(book, ("dsl", "lte", "wifi"), 200.0)
    guard = NoHarmGuard(book, 200.0, presumed)
    samples = [replace(Line().sample(name), bytes_down=6_000) for name in ("dsl", "lte", "wifi")]
    assert guard.update(samples, 200.025) == presumed
    assert guard.update(samples, 200.050) == ()


def test_no_connection_begins_without_any_line_and_what_is_known_expires() -> None:
    book = CapacityBook()
    for name in ("dsl", "lte"):
        book.mark_harmful(name, "up", "slow", 100.0)
    assert len(known_to_harm(book, ("dsl", "lte"), 101.0)) == 1
    assert known_to_harm(book, ("dsl",), 101.0) == ()
    assert known_to_harm(book, ("dsl", "lte"), 130.0) == ()


def test_a_line_that_only_looked_slow_is_measured_again_by_the_next_connection() -> None:
    """Its upstream was full of a download's acknowledgements; now it is free."""
    first = Script()
    assert first.run(5, dsl=Line(up=2), lte=Line(up=20), wifi=Line(up=20)) == {"dsl"}
    second = Script(first.book, first.now)
    assert not second.run(5, dsl=Line(up=5), lte=Line(up=20), wifi=Line(up=20))


def test_an_outage_is_not_taken_for_a_capacity() -> None:
    script = Script()
    for _ in range(20):
        script.run(0.4, dsl=Line(up=5), lte=Line(up=20), wifi=Line(up=20))
        script.run(0.6, dsl=Line(up=5), lte=Line(), wifi=Line(up=20))
        assert not script.withheld
    dead_from_the_start = Script()
    for _ in range(20):
        samples = [Line(up=20).sample("lte"), Line(up=20).sample("wifi"), dead(1)]
        dead_from_the_start.now += TICK_S
        assert not dead_from_the_start.guard.update(samples, dead_from_the_start.now)


def dead(packets: int) -> SubflowSample:
    return SubflowSample("dsl", 0, 0, None, 90.0, 24.0, unacked_bytes=packets * 1400)


def test_the_same_line_stays_for_a_download() -> None:
    lines = {"dsl": Line(up=1), "lte": Line(up=20), "wifi": Line(up=20)}
    first = Script()
    first.until_withheld(2.0, **lines)
    second = Script(first.book, first.now)
    assert not second.run(5, dsl=Line(down=16), lte=Line(down=50), wifi=Line(down=20))


def test_the_last_line_is_never_withheld() -> None:
    script = Script()
    script.book.mark_harmful("dsl", "up", "known bad", script.now)
    script.book.mark_harmful("lte", "up", "known bad", script.now)
    assert len(script.run(3, dsl=Line(up=1), lte=Line(up=20))) == 1


def test_a_line_comes_back_when_the_fast_ones_are_gone() -> None:
    script = Script()
    script.until_withheld(2.0, dsl=Line(up=1), lte=Line(up=20), wifi=Line(up=20))
    assert not script.run(1, dsl=Line(up=1))
    assert script.run(0.4, dsl=Line(up=1), lte=Line(up=5, srtt_ms=33)) <= {"dsl"}


def test_a_line_that_blocks_the_head_of_the_queue_is_withheld() -> None:
    script = Script()
    lines = {"dsl": Line(up=1, srtt_ms=1200), "wifi": Line(up=13, srtt_ms=60)}
    script.book.hint("dsl", "up", 5 * MBIT)  # what the owner was promised
    script.until_withheld(2.0, **lines)
    assert "round trip 1200 ms" in script.withheld[0].reason


@pytest.mark.parametrize(("without", "kept"), [(30.0, False), (20.0, True)])
def test_in_a_download_a_tiny_share_is_tried_without_and_with_again(without: float, kept: bool) -> None:
    script = Script()
    states = [set[str]()]
    for _ in range(80):
        share = without / 2 if script.names() else 10.0
        names = script.tick(dsl=Line(down=0.5), lte=Line(down=share), wifi=Line(down=share))
        if names != states[-1]:
            states.append(names)
    assert states == [set(), {"dsl"}, set(), *([] if kept else [{"dsl"}])]
    assert (script.book.harmful("dsl", "down", script.now) is None) is kept


def test_a_download_that_gets_faster_by_itself_does_not_speak_against_a_line() -> None:
    script = Script()
    rate = 10.0
    for i in range(80):
        rate *= 1.03 if i < 25 else 1.0
        script.tick(dsl=Line(down=0.2), lte=Line(down=rate), wifi=Line(down=rate))
    assert not script.names()
    assert script.book.harmful("dsl", "down", script.now) is None


def test_withholding_does_not_flap() -> None:
    script = Script()
    changes = 0
    before: set[str] = set()
    for i in range(300):
        wobble = 1 + 0.3 * ((i * 7919) % 11 - 5) / 5
        names = script.tick(dsl=Line(up=2.2 * wobble), lte=Line(up=20 / wobble), wifi=Line(up=20))
        changes += names != before
        before = names
    assert changes <= 1


def test_one_burst_is_not_taken_for_a_capacity() -> None:
    script = Script()
    script.run(2, dsl=Line(up=5), lte=Line(up=20), wifi=Line(up=20))
    script.tick(dsl=Line(up=5), lte=Line(up=90), wifi=Line(up=90))
    for _ in range(10):
        assert not script.tick(dsl=Line(up=5), lte=Line(up=20), wifi=Line(up=20))


@dataclass
class Queued(Line):
    """A line in the first moments of an upload: what waits for it, and how fast it leaves."""

    waiting: int = 0
    leaves: float = 0.0

    def sample(self, name: str, burst: float = 1.0) -> SubflowSample:
        found = Line.sample(self, name, burst)
        return replace(found, unacked_bytes=25_000, notsent_bytes=self.waiting, delivery_rate_bps=self.leaves * MBIT)


WIFI = Queued(up=18, min_rtt_ms=16, srtt_ms=49, waiting=307_000, leaves=12.7)
LTE = Queued(up=2.5, min_rtt_ms=51, srtt_ms=52, waiting=130_000, leaves=4.7)


def test_a_line_that_was_given_more_than_it_takes_in_half_a_second_is_withheld_before_all_stand_still() -> None:
    """As measured on adsl: 308 kB were on a line of 1 Mbit/s by the second look; from the third on all stood still."""
    script = Script()
    first = Queued(up=11.6, min_rtt_ms=16, srtt_ms=55, waiting=605_000, leaves=19.4)
    script.tick(wifi=first, dsl=Line(), lte=Line())
    filled = Queued(up=0.6, min_rtt_ms=25, srtt_ms=94, waiting=308_000, leaves=1.0)
    assert not script.tick(wifi=WIFI, dsl=filled, lte=LTE)
    assert script.guard.looks_jammed, "so that the next look comes soon"
    quick = Queued(up=14, min_rtt_ms=16, srtt_ms=26, leaves=19.7), Queued(up=7.7, srtt_ms=59, leaves=17.5)
    jam = Queued(up=0.4, min_rtt_ms=25, srtt_ms=169, waiting=289_000, leaves=1.0)
    assert script.tick(wifi=quick[0], dsl=jam, lte=quick[1]) == {"dsl"}
    assert not script.guard.looks_jammed
    assert script.withheld[0].jammed
    assert "1.0 Mbit/s up beside 2" in script.withheld[0].reason
    # It was withdrawn for that, and is no news when it is back.
    assert script.run(0.6, wifi=Line(up=18), lte=Line(up=18)) == {"dsl"}
    assert script.run(2.0, wifi=Line(up=20), lte=Line(up=20), dsl=Line(up=1)) == {"dsl"}
    assert {held.uplink for held in known_to_harm(script.book, ("wifi", "dsl", "lte"), script.now)} == {"dsl"}


def test_a_line_that_others_send_over_too_is_no_jam_if_it_is_known_to_carry_enough() -> None:
    """As measured while another upload still emptied its queues: a line of 5 Mbit/s was made anew, and all waited."""
    first = Script()
    first.run(2.0, wifi=Line(up=20), lte=Line(up=20), dsl=Line(up=5))
    script = Script(first.book, first.now)
    share = Queued(up=1.5, min_rtt_ms=25, srtt_ms=94, waiting=150_000, leaves=1.5)
    others = {"wifi": Queued(up=8, waiting=80_000, leaves=10), "lte": Queued(up=8, waiting=80_000, leaves=10)}
    for _ in range(3):
        assert not script.tick(dsl=share, **others)


@pytest.mark.parametrize(
    "other",
    [
        Queued(up=0.3, min_rtt_ms=400, srtt_ms=420, waiting=300_000, leaves=0.3),  # its sender has just begun
        Queued(up=5, min_rtt_ms=25, srtt_ms=94, waiting=400_000, leaves=5),  # no more than it is worth
        Queued(up=1, min_rtt_ms=25, srtt_ms=94, waiting=20_000, leaves=1),  # gone in a moment
        Queued(up=1, min_rtt_ms=25, srtt_ms=94, waiting=300_000, leaves=1, limited=True),
    ],
)
def test_a_line_whose_queue_is_no_jam_is_not_withheld_for_it(other: Queued) -> None:
    script = Script()
    script.tick(wifi=WIFI, lte=LTE, dsl=Line())
    script.tick(wifi=WIFI, lte=LTE, dsl=other)
    assert not script.tick(wifi=WIFI, lte=Queued(up=16, waiting=80_000, leaves=17), dsl=other)


def test_a_stall_while_a_sender_begins_makes_no_line_jammed() -> None:
    """One round trip of half a second, and so a rate far below the other lines' known ones, gone at the next look."""
    script = Script()
    script.run(3, wifi=Line(up=18), dsl=Line(up=5))
    stalled = Queued(up=0.3, min_rtt_ms=50, srtt_ms=110, waiting=40_000, leaves=0.3)
    begun = Queued(up=9, min_rtt_ms=50, srtt_ms=90, waiting=80_000, leaves=9)
    for lte in (Queued(), stalled, begun, begun):
        assert not script.tick(wifi=Line(up=18), dsl=Line(up=5), lte=lte)
