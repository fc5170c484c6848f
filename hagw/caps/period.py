"""When a contract's period begins and ends: from midnight to midnight, local time."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, timedelta

from hagw.model.intent import DataCapIntent


@dataclass(frozen=True, slots=True)
class Period:
    """From `begin` on, until `end`, which is the next one's."""

    begin: datetime
    end: datetime


def period(cap: DataCapIntent, now: datetime) -> Period:
    """Return the period that `now` (local time) is in."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if cap.period == "day":
        return Period(today, today + timedelta(days=1))
    first = today.replace(day=1)
    begin = _in_month(first, cap.billing_day)
    if today < begin:
        return Period(_in_month((first - timedelta(days=1)).replace(day=1), cap.billing_day), begin)
    return Period(begin, _in_month((first + timedelta(days=32)).replace(day=1), cap.billing_day))


def _in_month(first: datetime, day: int) -> datetime:
    """Return the day of a month that a period begins on: its last one where the month is too short."""
    return first.replace(day=min(day, monthrange(first.year, first.month)[1]))
