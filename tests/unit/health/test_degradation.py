"""What speaks against a line that answers: heavy loss, or a rate that collapsed."""

import itertools

import pytest

from hagw.health.degradation import CLEAN_ECHOES, LOSS_SCORE, Degradation
from hagw.pmf.asker import Passage

FLOOR_S = 0.024
PATIENCE_S = 0.3


class Line:
    """A line that moves bytes and is asked, turn by turn of 50 ms."""

    def __init__(self, jitter_s: float = 0.0) -> None:
        self.now = 100.0
        self.jitter_s = jitter_s
        self.degradation = Degradation()
        self.heard_at = float("inf")  # the gateway, over another line
        self._questions = itertools.count()

    def run(self, seconds: float, *, down_bps: float = 0.0, up_bps: float = 0.0, rtt_s: float | None = 0.03) -> None:
        """Let time pass; each turn asks a question that is answered after `rtt_s`, or never."""
        for _ in range(round(seconds / 0.05)):
            self.now += 0.05
            self.degradation.carried(int(down_bps * 0.05 / 8), int(up_bps * 0.05 / 8), self.now)
            self.ask(rtt_s)

    def ask(self, rtt_s: float | None) -> int:
        question = next(self._questions)
        self.degradation.asked(question, self.now)
        if rtt_s is not None:
            self.degradation.answered(question, rtt_s, FLOOR_S, self.jitter_s)
        self.degradation.expire(PATIENCE_S, self.now)
        return question

    def accusation(self) -> str | None:
        return self.degradation.accusation(self.now, self.heard_at)

    def fates(self, *answered: bool) -> None:
        for is_answered in answered:
            self.now += 0.05
            self.ask(0.03 if is_answered else None)
        self.now += 2 * PATIENCE_S
        self.degradation.expire(PATIENCE_S, self.now)


def test_every_second_echo_lost_is_too_much() -> None:
    line = Line()
    line.fates(*[True, False] * 12)
    accusation = line.accusation()
    assert accusation is not None
    assert accusation.startswith("loses too much: ")


@pytest.mark.parametrize("every", [5, 8, 25])
def test_a_loss_now_and_then_is_not(every: int) -> None:
    line = Line()
    line.fates(*[index % every != 0 for index in range(400)])
    assert line.accusation() is None


def one_way(line: Line, direction: str, every: int, echoes: int, load: str = "") -> int | None:
    """Lose every so many-th echo in one direction; return after how many it was too much, None = it never was.

    `load` is the direction of a transfer, the other one has its acknowledgements.
    """
    data, acknowledgements = 30_000, 1_000
    for number in range(1, echoes + 1):
        line.now += 0.03
        sizes = {"": (0, 0), "down": (data, acknowledgements), "up": (acknowledgements, data)}
        line.degradation.carried(*sizes[load], line.now)
        if number % every == 0:
            line.ask(None)
        else:
            line.ask(0.03)
            lost = number % every == 1 and number > 1  # this answer tells of the one before
            line.degradation.passed(Passage(1 + lost, 1 + (lost and direction == "down"), 1))
        if line.accusation() is not None:
            return number
    return None


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_third_lost_in_one_direction_is_too_much_and_is_said(direction: str) -> None:
    line = Line()
    assert (one_way(line, direction, 3, 100, direction) or 100) <= 55
    accusation = line.accusation()
    assert accusation is not None
    assert accusation.endswith(f"echoes, mostly on the way {direction}")


@pytest.mark.parametrize("direction", ["up", "down"])
def test_lost_acknowledgements_do_no_harm_until_data_goes_that_way(direction: str) -> None:
    line = Line()
    assert one_way(line, direction, 3, 200, "down" if direction == "up" else "up") is None
    assert (one_way(line, direction, 3, 100, direction) or 100) <= 40


@pytest.mark.parametrize("every", [8, 10, 50])
def test_a_loss_now_and_then_in_one_direction_is_not(every: int) -> None:
    assert one_way(Line(), "up", every, 2000) is None


def test_what_one_direction_loses_behind_our_own_full_queue_does_not_count() -> None:
    line = Line()
    for _ in range(60):
        line.now += 0.03
        line.ask(0.2)
        line.degradation.passed(Passage(3, 2, 1))
    assert line.accusation() is None


def test_an_answer_before_which_one_is_missing_has_the_loss_looked_into_at_once() -> None:
    line = Line()
    line.ask(0.03)
    line.now += 0.25
    line.ask(None)
    assert not line.degradation.is_looked_into(line.now)
    line.now += 0.25
    line.ask(0.03)
    assert line.degradation.is_looked_into(line.now + 0.03)
    assert not line.degradation.is_looked_into(line.now + 0.7)


def test_an_outage_is_no_loss() -> None:
    line = Line()
    line.fates(*[False] * 40)
    assert line.degradation.score < LOSS_SCORE


def test_losses_behind_our_own_full_queue_do_not_count() -> None:
    line = Line()
    for _ in range(12):
        line.run(0.05, rtt_s=0.2)
        line.run(0.05, rtt_s=None)
    line.run(0.4, rtt_s=0.2)
    assert line.degradation.score == 0.0


def test_an_answer_that_is_only_late_is_no_loss() -> None:
    line = Line()
    late = []
    for _ in range(3):
        line.now += 0.05
        late.append(line.ask(None))
    line.now += 0.4
    line.degradation.expire(PATIENCE_S, line.now)
    assert line.degradation.score > 0.0
    for question in late:
        line.degradation.answered(question, 0.5, FLOOR_S)
    assert line.degradation.score == pytest.approx(0.0, abs=1e-9)


def test_a_line_that_carries_next_to_nothing_while_echoes_wait_has_collapsed() -> None:
    line = Line()
    line.run(3.0, down_bps=50e6, up_bps=1e6, rtt_s=0.06)
    assert line.accusation() is None
    line.run(1.3, down_bps=0.5e6, up_bps=0.02e6, rtt_s=0.2)
    assert (
        line.accusation()
        == "collapsed: carries 0.5 Mbit/s down and 0.0 Mbit/s up at most, lately 50.0 Mbit/s and 1.0 Mbit/s"
    )


def test_a_gateway_that_falls_silent_is_no_lines_collapse() -> None:
    line = Line()
    line.run(3.0, down_bps=50e6, up_bps=1e6, rtt_s=0.15)
    line.heard_at = line.now
    line.run(2.0, down_bps=0.02e6, up_bps=0.01e6, rtt_s=None)
    assert line.accusation() is None
    line.heard_at = line.now
    assert (line.accusation() or "").startswith("collapsed: ")


def test_a_transfer_that_ends_is_no_collapse() -> None:
    line = Line()
    line.run(3.0, down_bps=50e6, up_bps=1e6, rtt_s=0.15)
    for _ in range(40):
        line.run(0.05, down_bps=0.5e6, up_bps=0.02e6, rtt_s=0.03)
        assert line.accusation() is None


def test_answers_that_jitter_holds_up_when_an_upload_ends_are_no_collapse() -> None:
    line = Line(jitter_s=0.13)
    line.run(3.0, up_bps=10e6, down_bps=0.3e6, rtt_s=0.2)
    for _ in range(40):
        line.run(0.05, up_bps=0.05e6, down_bps=0.001e6, rtt_s=0.12)
        assert line.accusation() is None
    line.run(1.0, up_bps=0.05e6, down_bps=0.001e6, rtt_s=0.16)  # more than jitter explains
    assert (line.accusation() or "").startswith("collapsed: ")


def test_a_full_upload_after_a_download_is_no_collapse() -> None:
    line = Line()
    line.run(3.0, down_bps=16e6, up_bps=0.4e6, rtt_s=0.03)
    for _ in range(60):
        line.run(0.05, down_bps=0.1e6, up_bps=5e6, rtt_s=0.2)
        assert line.accusation() is None


def test_an_upload_that_is_slowed_after_a_download_is_no_collapse() -> None:
    """Down there is only what acknowledges it, next to nothing of what the download was."""
    line = Line()
    line.run(3.0, down_bps=6.4e6, up_bps=0.4e6, rtt_s=0.03)
    line.run(3.0, down_bps=0.1e6, up_bps=6.8e6, rtt_s=0.2)
    for _ in range(60):
        line.run(0.05, down_bps=0.03e6, up_bps=1.6e6, rtt_s=0.2)
        assert line.accusation() is None


def test_a_line_that_is_full_at_half_its_rate_has_not_collapsed() -> None:
    line = Line()
    line.run(3.0, down_bps=50e6, rtt_s=0.06)
    for _ in range(60):
        line.run(0.05, down_bps=5e6, rtt_s=0.2)
        assert line.accusation() is None


def test_a_degraded_line_is_held_back_the_longer_the_more_often_it_fails() -> None:
    line = Line()
    holds = []
    for _ in range(4):
        line.run(3.0, down_bps=50e6, rtt_s=0.06)
        line.degradation.hold(line.now)
        assert line.degradation.held_until is not None
        holds.append(line.degradation.held_until - line.now)
        line.degradation.begin_anew()
    assert holds == pytest.approx([10.0, 20.0, 40.0, 60.0])


def test_it_is_used_again_after_that_and_when_enough_echoes_came_back_in_a_row() -> None:
    line = Line()
    line.degradation.hold(line.now)
    line.run(9.5)
    assert not line.degradation.has_recovered(line.now)
    line.run(1.0)
    assert line.degradation.has_recovered(line.now)
    line.fates(False)
    assert not line.degradation.has_recovered(line.now)
    line.fates(*[True] * (CLEAN_ECHOES - 1))
    assert not line.degradation.has_recovered(line.now)
    line.fates(True)
    assert line.degradation.has_recovered(line.now)
