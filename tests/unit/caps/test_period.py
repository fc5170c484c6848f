"""Billing periods: months of any length, leap years, days."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagw.caps.period import period
from hagw.model.intent import CapPeriod, DataCapIntent

TIMES = st.datetimes(datetime.fromisoformat("2020-01-01"), datetime.fromisoformat("2040-01-01"))
KINDS: list[CapPeriod] = ["month", "day"]


def cap(billing_day: int = 1, kind: CapPeriod = "month") -> DataCapIntent:
    return DataCapIntent("plan", ("lte",), 10**9, period=kind, billing_day=billing_day)


@pytest.mark.parametrize(
    ("day", "now", "begin", "end"),
    [
        (1, "2026-11-23T03:00", "2026-11-01", "2026-12-01"),
        (15, "2026-11-14T23:59:59", "2026-10-15", "2026-11-15"),
        (15, "2026-11-15T00:00", "2026-11-15", "2026-12-15"),
        (31, "2026-02-28T12:00", "2026-02-28", "2026-03-31"),
        (31, "2026-03-30T12:00", "2026-02-28", "2026-03-31"),
        (30, "2028-02-29T00:00", "2028-02-29", "2028-03-30"),
        (1, "2026-12-31T23:00", "2026-12-01", "2027-01-01"),
        (5, "2027-01-01T01:00", "2026-12-05", "2027-01-05"),
    ],
)
def test_a_month_begins_on_its_billing_day_or_its_last(day: int, now: str, begin: str, end: str) -> None:
    found = period(cap(day), datetime.fromisoformat(now))
    assert (found.begin, found.end) == (datetime.fromisoformat(begin), datetime.fromisoformat(end))


def test_a_day_begins_at_midnight() -> None:
    found = period(cap(kind="day"), datetime.fromisoformat("2026-12-31T23:59"))
    assert (str(found.begin), str(found.end)) == ("2026-12-31 00:00:00", "2027-01-01 00:00:00")


@given(TIMES, st.integers(1, 31), st.sampled_from(KINDS))
def test_periods_follow_each_other_without_gap_or_overlap(now: datetime, day: int, kind: CapPeriod) -> None:
    found = period(cap(day, kind), now)
    assert found.begin <= now < found.end
    assert period(cap(day, kind), found.end).begin == found.end
    assert period(cap(day, kind), found.begin - timedelta(microseconds=1)).end == found.begin
