"""The demo's figures: steady rates from bins, and when a line carries data again."""

import pytest

from hagw.lab.demo_measure import Sample, carries_again_s, steady_rate_bps


def bins(*runs: tuple[int, int]) -> list[int]:
    """Return bins of 10 ms from (number of bins, bytes in each)."""
    return [received for count, received in runs for _ in range(count)]


def test_the_ramp_does_not_count() -> None:
    assert steady_rate_bps(bins((100, 10), (300, 1000)), skip_s=1.2) == pytest.approx(800_000)


def test_the_ramp_is_counted_from_the_first_arrival() -> None:
    assert steady_rate_bps(bins((150, 0), (100, 10), (300, 1000)), skip_s=1.2) == pytest.approx(800_000)


def test_the_tail_does_not_count() -> None:
    assert steady_rate_bps(bins((300, 1000), (50, 10)), skip_s=1.0, tail_s=0.6) == pytest.approx(800_000)


def test_a_silence_in_steady_state_counts() -> None:
    assert steady_rate_bps(bins((200, 1000), (100, 0), (101, 1000)), skip_s=1.0) == pytest.approx(532_000, rel=0.01)


def test_a_silence_at_the_end_of_the_ramp_counts() -> None:
    """A stall that spans the beginning of the interval is not cut out of it."""
    silent_in_between = bins((100, 1000), (300, 0), (100, 1000))
    assert steady_rate_bps(silent_in_between, skip_s=1.5) == pytest.approx(8 * 100_000 / 4.01, rel=0.01)


def test_arrivals_in_blocks_give_no_error() -> None:
    """A server that writes 16 kB at a time: one arrival every 131 ms is 1 Mbit/s wherever the interval begins."""
    blocks = [16_384 if index % 13 == 0 else 0 for index in range(400)]
    for skip_s in (1.0, 1.03, 1.06, 1.09, 1.12):
        assert steady_rate_bps(blocks, skip_s, tail_s=0.2) == pytest.approx(16_384 * 8 / 0.13)


@pytest.mark.parametrize("arrived", [[], [0, 0, 0], [1000], [1000, 1000]])
def test_too_little_gives_no_rate(arrived: list[int]) -> None:
    assert steady_rate_bps(arrived, skip_s=1.0) == 0.0


def counted(*steps: tuple[float, int]) -> list[Sample]:
    """Return samples every 50 ms from (duration in s, bytes a sample), beginning at 100 s."""
    samples, total, at = [Sample(100.0, 0)], 0, 100.0
    for duration_s, grows in steps:
        for _ in range(round(duration_s / 0.05)):
            at, total = at + 0.05, total + grows
            samples.append(Sample(at, total))
    return samples


def test_a_line_is_back_when_it_carries_a_tenth_of_its_rate() -> None:
    """16 Mbit/s are 100,000 bytes in 50 ms."""
    samples = counted((0.4, 0), (1.0, 100_000))
    assert carries_again_s(samples, 100.0, 16e6) == pytest.approx(0.45)


def test_probes_and_handshakes_are_not_data() -> None:
    samples = counted((2.0, 500), (1.0, 20_000))
    assert carries_again_s(samples, 100.0, 16e6) == pytest.approx(2.05, abs=0.051)


def test_what_was_carried_before_does_not_count() -> None:
    samples = counted((1.0, 100_000), (0.5, 0), (0.5, 100_000))
    assert carries_again_s(samples, 101.01, 16e6) == pytest.approx(0.54, abs=0.051)


def test_a_line_that_never_comes_back_has_no_time() -> None:
    assert carries_again_s(counted((5.0, 500)), 100.0, 16e6) is None
    assert carries_again_s([], 100.0, 16e6) is None
    assert carries_again_s(counted((1.0, 0)), 100.0, 0.0) is None
