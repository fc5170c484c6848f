"""Load balancing by weight against lines that are computed: each carries its percentage of the bytes."""

import pytest

from hagw.policy.modes.split import Split

TICK_S = 0.1
RATES = {1: 16.0, 2: 50.0}
BOTH = frozenset((1, 2))


def shares(
    weights: dict[int, int], usable: frozenset[int] = frozenset((1, 2)), seconds: float = 60.0
) -> dict[int, float]:
    """Return each line's part of the last half of the time, every open line carrying all it can."""
    split = Split(weights)
    closed: frozenset[int] = frozenset()
    carried = dict.fromkeys(weights, 0)
    for tick in range(round(seconds / TICK_S)):
        moved = {slot: round(RATES[slot] * 1e6 / 8 * TICK_S) for slot in usable - closed}
        assert moved, "some line is always open"
        for slot, size in moved.items():
            carried[slot] += size if tick * TICK_S > seconds / 2 else 0
        closed = split.update(moved, usable, tick * TICK_S)
    return {slot: 100 * size / sum(carried.values()) for slot, size in carried.items()}


@pytest.mark.parametrize("first", [10, 24, 50, 70, 90])
def test_bytes_are_split_by_weight(first: int) -> None:
    found = shares({1: first, 2: 100 - first})
    assert abs(found[1] - first) < 3.0


def test_the_weight_of_a_line_that_is_gone_falls_to_the_others() -> None:
    assert shares({1: 70, 2: 30}, frozenset((2,))) == {1: 0.0, 2: 100.0}


def test_little_is_not_split() -> None:
    split = Split({1: 50, 2: 50})
    assert split.update({1: 10_000}, frozenset((1, 2)), 0.0) == frozenset()
    assert split.update({1: 10**6}, frozenset((1, 2)), 0.1) == {1}
