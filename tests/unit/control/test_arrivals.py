"""Interception gives way to whatever swallows what it takes."""

from hagw.control.arrivals import BLOCKED_S, Arrivals


def counters(taken: int, arrived: int, taken6: int = 0, arrived6: int = 0) -> dict[str, int]:
    return {"intercepted4": taken, "arrived4": arrived, "intercepted6": taken6, "arrived6": arrived6}


def test_connections_that_arrive_are_no_reason() -> None:
    arrivals = Arrivals()
    for second in range(100):
        assert not arrivals.look(counters(10 * second, 9 * second), float(second))
    assert not arrivals.is_suspicious
    assert arrivals.blocked(100.0) == frozenset()
    assert arrivals.due_at(100.0) is None


def test_what_never_arrives_is_not_taken_any_more() -> None:
    arrivals = Arrivals()
    arrivals.look(counters(50, 50), 0.0)
    assert not arrivals.look(counters(53, 50), 2.0)
    assert arrivals.is_suspicious
    assert arrivals.look(counters(53, 50), 2.5)
    assert arrivals.blocked(2.5) == {4}
    assert arrivals.due_at(2.5) == 2.5 + BLOCKED_S


def test_one_lost_syn_is_no_reason() -> None:
    arrivals = Arrivals()
    for second in range(20):
        assert not arrivals.look(counters(51, 50), float(second))
    assert not arrivals.look(counters(52, 51), 20.0)
    assert not arrivals.is_suspicious


def test_families_are_judged_apart() -> None:
    arrivals = Arrivals()
    arrivals.look(counters(5, 5, taken6=4), 0.0)
    arrivals.look(counters(9, 9, taken6=4), 0.5)
    assert arrivals.blocked(0.5) == {6}


def test_it_is_tried_again_ever_more_rarely_until_it_works() -> None:
    arrivals = Arrivals()
    now, taken, waits = 0.0, 0, []
    for _ in range(4):
        taken += 3
        arrivals.look(counters(taken, 0), now)
        arrivals.look(counters(taken, 0), now + 0.5)
        due = arrivals.due_at(now + 0.5)
        assert due is not None
        waits.append(due - now - 0.5)
        now = due
        assert arrivals.blocked(now) == frozenset()
    assert waits == [60.0, 120.0, 240.0, 480.0]
    arrivals.look(counters(taken + 1, 1), now)
    arrivals.look(counters(taken + 4, 1), now + 2.0)
    arrivals.look(counters(taken + 4, 1), now + 2.5)
    assert arrivals.due_at(now + 2.5) == now + 2.5 + BLOCKED_S


def test_a_table_made_anew_counts_from_zero() -> None:
    arrivals = Arrivals()
    arrivals.look(counters(50, 50), 0.0)
    assert not arrivals.look(counters(2, 2), 2.0)
    assert not arrivals.is_suspicious


def test_a_family_is_tried_at_once_when_something_ended_but_the_wait_goes_on_growing() -> None:
    arrivals = Arrivals()
    assert not arrivals.retry()
    arrivals.look(counters(3, 0), 0.0)
    arrivals.look(counters(3, 0), 0.5)
    assert arrivals.blocked(1.0) == {4}
    assert arrivals.retry()
    assert arrivals.blocked(1.0) == frozenset()
    arrivals.look(counters(6, 0), 2.0)
    arrivals.look(counters(6, 0), 2.5)
    assert arrivals.due_at(2.5) == 2.5 + 2 * BLOCKED_S
