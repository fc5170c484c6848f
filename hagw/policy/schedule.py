"""Rules with hours: which of them are asleep at a local time. The caller knows the clock."""

from collections.abc import Iterable

from hagw.model.facts import LocalTime
from hagw.model.intent import RuleIntent, TimeWindow

DAY_MINUTES = 24 * 60
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def asleep(rules: Iterable[RuleIntent], now: LocalTime) -> tuple[str, ...]:
    """Return the names of the rules that are outside their hours."""
    return tuple(rule.name for rule in rules if not is_awake(rule.traffic.times, now))


def awake(rules: Iterable[RuleIntent], now: LocalTime) -> tuple[RuleIntent, ...]:
    """Return the others."""
    return tuple(rule for rule in rules if is_awake(rule.traffic.times, now))


def has_hours(rules: Iterable[RuleIntent]) -> bool:
    """Say whether what is awake changes with time."""
    return any(rule.traffic.times for rule in rules)


def is_awake(times: tuple[TimeWindow, ...], now: LocalTime) -> bool:
    """Say whether one of the windows is open; no window at all is always open."""
    return not times or any(_is_open(window, now) for window in times)


def describe(window: TimeWindow) -> str:
    """Return a window as it is written: "mon,tue 08:00-18:00"."""
    hours = f"{_clock(window.begin_minute)}-{_clock(window.end_minute)}"
    return hours if len(window.days) == len(DAYS) else f"{','.join(DAYS[day] for day in window.days)} {hours}"


def _is_open(window: TimeWindow, now: LocalTime) -> bool:
    if window.begin_minute < window.end_minute:
        return now.day in window.days and window.begin_minute <= now.minute < window.end_minute
    yesterday = (now.day - 1) % len(DAYS)
    return (now.day in window.days and now.minute >= window.begin_minute) or (
        yesterday in window.days and now.minute < window.end_minute
    )


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
