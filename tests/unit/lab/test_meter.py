"""Rates and gaps from bins."""

import pytest

from hagw.lab.traffic import Meter


def metered(*arrivals: tuple[float, int]) -> Meter:
    meter = Meter(start=100.0)
    for at, received in arrivals:
        meter.add(100.0 + at, received)
    return meter


def test_the_rate_counts_only_its_interval() -> None:
    meter = metered(*((second / 10, 1000) for second in range(20)))
    assert meter.rate_bps(0.5, 1.5) == pytest.approx(80_000)


def test_a_rate_beyond_the_last_byte_counts_the_silence() -> None:
    assert metered((0.0, 1000)).rate_bps(0.0, 2.0) == pytest.approx(4_000)


def test_the_longest_gap_is_between_received_bytes() -> None:
    meter = metered((0.105, 1), (0.305, 1), (0.355, 1), (0.855, 1))
    assert meter.longest_gap_s() == pytest.approx(0.49)
    assert meter.longest_gap_s(0.1, 0.4) == pytest.approx(0.19)


def test_silence_up_to_the_end_of_the_interval_is_a_gap() -> None:
    assert metered((0.0, 1)).longest_gap_s(0.0, 1.0) == pytest.approx(0.99)


def test_nothing_received_is_one_long_gap() -> None:
    assert metered().longest_gap_s(0.0, 1.0) == pytest.approx(1.0)
