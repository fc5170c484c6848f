"""Rules with hours, local time."""

import pytest

from hagw.config.rule_values import parse_window
from hagw.model.facts import LocalTime
from hagw.policy.schedule import describe, is_awake

MON, FRI, SAT, SUN = 0, 4, 5, 6


@pytest.mark.parametrize(
    ("text", "day", "clock", "open_"),
    [
        ("08:00-18:00", MON, (8, 0), True),
        ("08:00-18:00", MON, (7, 59), False),
        ("08:00-18:00", SUN, (17, 59), True),
        ("08:00-18:00", SUN, (18, 0), False),
        ("mon-fri 08:00-18:00", SAT, (12, 0), False),
        ("fri 22:00-06:00", FRI, (23, 0), True),
        ("fri 22:00-06:00", SAT, (5, 59), True),
        ("fri 22:00-06:00", SAT, (6, 0), False),
        ("fri 22:00-06:00", FRI, (5, 0), False),
        ("sun 22:00-06:00", MON, (1, 0), True),
        ("sat,sun", SUN, (23, 59), True),
        ("sat,sun", MON, (0, 0), False),
        ("sat-mon", MON, (12, 0), True),
        ("sat-mon", FRI, (12, 0), False),
        ("00:00-24:00", SAT, (23, 59), True),
    ],
)
def test_a_window_is_open_or_not(text: str, day: int, clock: tuple[int, int], open_: bool) -> None:
    assert is_awake((parse_window(text),), LocalTime(day, clock[0] * 60 + clock[1])) == open_


@pytest.mark.parametrize(
    "text", ["8-18", "25:00-26:00", "08:60-09:00", "08:00-08:00", "mo 08:00-09:00", "", "mon 08:00"]
)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|weekday|ends when"):
        parse_window(text)


def test_a_window_reads_back_as_written() -> None:
    assert describe(parse_window("mon-wed 8:00-18:30")) == "mon,tue,wed 08:00-18:30"
    assert parse_window(describe(parse_window("22:00-06:00"))) == parse_window("22:00-06:00")


def test_without_windows_a_rule_is_always_awake() -> None:
    assert is_awake((), LocalTime(0, 0))
