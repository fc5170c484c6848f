"""Attentive time stands still while nobody listened."""

import pytest

from hagw.health.attention import SLACK_S, Attention


def test_turns_in_time_follow_the_real_clock() -> None:
    clock = Attention(10.0)
    clock.plan(0.012)
    for i in range(1, 100):
        assert clock.advance(10.0 + i * 0.013) == pytest.approx(10.0 + i * 0.013)


def test_a_late_turn_counts_as_long_as_planned() -> None:
    clock = Attention(10.0)
    clock.plan(0.012)
    assert clock.advance(10.0 + 0.012 + SLACK_S + 0.001) == pytest.approx(10.012)
    assert clock.at(11.0) == pytest.approx(10.024)


def test_a_clock_that_went_back_is_not_followed() -> None:
    clock = Attention(10.0)
    clock.plan(0.1)
    assert clock.advance(9.0) == 10.0
