"""What runs come to, and whether targets are met."""

import pytest

from hagw.lab.bench.asks import Asked, percentile
from hagw.lab.bench.bulk import Moved, Timeline
from hagw.lab.bench.figures import by_run, jain, met, summary, verdict
from hagw.lab.bench.scenario import Target


def test_a_summary_has_median_and_extremes() -> None:
    found = summary([5.0, 1.0, 2.0])
    assert found is not None
    assert (found.median, found.min, found.max, found.runs) == (2.0, 1.0, 5.0, (5.0, 1.0, 2.0))
    assert summary([]) is None


def test_fairness_is_one_among_equals_and_a_share_for_a_tyrant() -> None:
    assert jain([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain([9.0, 0.0, 0.0]) == pytest.approx(1 / 3)
    assert jain([]) == jain([0.0]) == 1.0


def test_lines_are_added_up_run_by_run() -> None:
    assert by_run([[10.0, 12.0], [5.0, 1.0]], sum) == [15.0, 13.0]
    assert by_run([[10.0, 12.0], [5.0]], max) == [10.0]


def test_targets_are_judged_by_their_statistic_and_against_other_rows() -> None:
    found = summary([80.0, 90.0, 100.0])
    assert found is not None
    assert met(Target("median", "at_least", 0.9, "sum"), found, {"sum": 100.0})
    assert not met(Target("median", "at_least", 0.91, "sum"), found, {"sum": 100.0})
    assert met(Target("max", "at_most", 100.0), found, {})
    assert not met(Target("max", "at_most", 99.0), found, {})
    assert met(Target("min", "at_least", 1.0, "direct"), found, {}) is None


def test_a_missed_target_outweighs_one_that_cannot_be_judged() -> None:
    found = summary([80.0])
    unknown, missed, good = (
        Target("median", "at_least", 1, "sum"),
        Target("min", "at_least", 81),
        Target("min", "at_least", 1),
    )
    assert verdict([unknown, missed], found, {}) is False
    assert verdict([unknown, good], found, {}) is None
    assert verdict([good], found, {}) is True
    assert verdict([], found, {}) is None
    assert verdict([good], None, {}) is None


def test_a_silence_until_the_end_is_a_gap_and_the_wait_for_the_first_byte_is_none() -> None:
    moved = _moved([0] * 30 + [100] * 10 + [0] * 5 + [100] * 5)
    assert moved.gap_ms(0.5) == pytest.approx(50)
    assert moved.gap_ms(1.0) == pytest.approx(500)


def test_cpu_time_is_told_by_what_arrived() -> None:
    assert _moved([0] * 5 + [250_000_000] * 2).cpu_s_per_gb() == pytest.approx(1.0)
    assert _moved([0] * 5).cpu_s_per_gb() is None


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert percentile(values, 0.99) == 99.0
    assert percentile(values, 1.0) == 100.0
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0


def test_what_a_connection_costs_is_told_by_those_that_were_answered() -> None:
    asked = Asked([1.0, 2.0, 9.0, 3.0], took_s=2.0, failed=1, cpu_s=0.002)
    assert (asked.median_ms(), asked.p99_ms(), asked.rate()) == (2.5, 9.0, 2.0)
    assert asked.cpu_us_each() == pytest.approx(500)


def _moved(bins: list[int]) -> Moved:
    return Moved(bins, [sum(bins)], 0, 0.5, None, Timeline(0.1, {}, [], []))
