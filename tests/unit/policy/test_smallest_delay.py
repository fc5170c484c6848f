"""The quickest line for new connections, and patience with those that live."""

from hagw.policy.modes.smallest_delay import DWELL_S, Choice, others, quickest


def test_the_quickest_line_is_chosen_and_kept_while_others_are_about_as_quick() -> None:
    assert quickest({1: 24.0, 2: 50.0}) == 1
    assert quickest({1: 24.0, 2: 23.0}, usual=1) == 1
    assert quickest({1: 24.0, 2: 20.0}, usual=1) == 2
    assert quickest({1: None, 2: 50.0}, usual=1) == 2
    assert quickest({1: None, 2: None}) == 1
    assert quickest({}) is None
    assert others((1, 2, 3), 2) == {1, 3}
    assert others((1, 2), None) == frozenset()


def looked(choice: Choice, rtts: dict[int, float | None], begin: float, seconds: int) -> list[int | None]:
    return [choice.look(rtts, begin + second) for second in range(seconds)]


def test_a_living_connection_moves_when_another_line_is_clearly_quicker_for_a_while() -> None:
    choice = Choice(1, 0.0)
    assert set(looked(choice, {1: 60.0, 2: 52.0}, 20.0, 10)) == {1}, "not clearly"
    assert looked(choice, {1: 60.0, 2: 40.0}, 30.0, 5) == [1, 1, 1, 2, 2]


def test_it_does_not_hop() -> None:
    choice = Choice(1, 0.0)
    turns = 0
    for second in range(60):
        mine = choice.slot
        turns += choice.look({1: 90.0 if mine == 1 else 20.0, 2: 90.0 if mine == 2 else 20.0}, float(second)) != mine
    assert turns <= 60 / DWELL_S


def test_a_line_that_is_lost_is_left_at_once() -> None:
    assert Choice(1, 0.0).look({2: 50.0}, 0.1) == 2
    assert Choice(1, 0.0).look({}, 0.1) == 1
