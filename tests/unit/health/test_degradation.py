"""What speaks against a line that answers: heavy loss, or a rate that collapsed."""

import itertools

import pytest

from hagw.health.degradation import CLEAN_ECHOES, LOSS_SCORE, Degradation

FLOOR_S = 0.024
PATIENCE_S = 0.3


class Line:
    """A line that moves bytes and is asked, turn by turn of 50 ms."""

    def __init__(self) -> None:
        self.now = 100.0
        self.degradation = Degradation()
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
            self.degradation.answered(question, rtt_s, FLOOR_S)
        self.degradation.expire(PATIENCE_S, self.now)
        return question

    def accusation(self) -> str | None:
        return self.degradation.accusation(self.now)

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


def test_a_transfer_that_ends_is_no_collapse() -> None:
    line = Line()
    line.run(3.0, down_bps=50e6, up_bps=1e6, rtt_s=0.15)
    for _ in range(40):
        line.run(0.05, down_bps=0.5e6, up_bps=0.02e6, rtt_s=0.03)
        assert line.accusation() is None


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
