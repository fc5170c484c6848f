"""Round trip, loss and reception as measured."""

import pytest

from hagw.health.estimate import Loss, Reception, RoundTrip


def test_a_first_echo_that_waited_for_neighbour_discovery_is_forgotten() -> None:
    trip = RoundTrip()
    for i, rtt_s in enumerate([0.05, 0.024, 0.025]):
        trip.add(rtt_s, float(i))
    assert trip.smoothed_s == pytest.approx(0.024, abs=0.001)


def test_the_floor_survives_minutes_of_load_and_is_forgotten_after_ten() -> None:
    trip = RoundTrip()
    trip.add(0.024, 0.0)
    for second in range(1, 290):
        trip.add(0.2, float(second))
    assert trip.floor_s == 0.024
    for second in range(290, 700):
        trip.add(0.2, float(second))
    assert trip.floor_s == pytest.approx(0.2)


def test_a_lossier_line_is_asked_more_often_before_it_is_judged() -> None:
    clean, lossy = Loss(), Loss()
    for i in range(100):
        clean.add(False)
        lossy.add(i % 4 == 0)
    assert clean.questions_to_be_sure() == 3
    assert 7 <= lossy.questions_to_be_sure() <= 10


def test_loss_is_unknown_until_somebody_answers() -> None:
    """A line that is asked about before its gateway listens is no lossy line."""
    loss = Loss()
    for _ in range(50):
        loss.add(True)
    assert loss.value is None
    loss.add(False)
    assert loss.value == 0.0
    loss.add(True)
    assert loss.value == pytest.approx(0.5)


def test_an_outage_is_no_loss_once_it_is_over() -> None:
    loss = Loss()
    for i in range(40):
        loss.add(i % 10 == 9)
    ordinary = loss.value
    for _ in range(30):
        loss.add(True)
    assert ordinary is not None
    assert loss.value is not None
    assert ordinary < 0.2 < 0.7 < loss.value
    loss.add(False)
    assert loss.value == 0.0


def test_reception_is_steady_only_while_packets_keep_coming() -> None:
    reception = Reception()
    for i in range(20):
        reception.add(2, 1.0 + i * 0.02)
    assert reception.is_steady(1.39)
    assert not reception.is_steady(1.50)
    reception.add(1, 1.52)  # a stray packet
    assert not reception.is_steady(1.53)


def test_a_few_packets_are_no_steady_reception() -> None:
    reception = Reception()
    for i in range(5):
        reception.add(1, 1.0 + i * 0.02)
    assert reception.mean_gap_s() is None
