"""Which flows carry most, and how much."""

from hypothesis import given
from hypothesis import strategies as st

from hagw.dataplane.busiest import PAUSE_S, Busiest


def test_rates_are_of_the_time_since_the_last_question() -> None:
    busiest = Busiest()
    assert busiest.choose({1: (1000, 0), 2: (9_000_000, 0)}, 2, 10.0) == {2: (0, 0), 1: (0, 0)}, (
        "nothing to compare with"
    )
    found = busiest.choose({1: (251_000, 500_000), 2: (9_000_000, 0), 3: (1000, 0)}, 2, 10.5)
    assert list(found.items()) == [(1, (4_000_000, 8_000_000)), (3, (16_000, 0))]


def test_after_a_pause_nothing_is_said_of_now() -> None:
    busiest = Busiest()
    busiest.choose({1: (0, 0)}, 1, 10.0)
    assert busiest.choose({1: (1000, 0)}, 1, 10.0 + PAUSE_S + 1) == {1: (0, 0)}
    assert busiest.choose({1: (2000, 0)}, 1, 11.0 + PAUSE_S + 1) == {1: (8000, 0)}


@given(
    st.lists(st.dictionaries(st.integers(1, 30), st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))), max_size=5),
    st.integers(1, 20),
)
def test_there_are_never_more_than_wanted_and_none_is_busier_than_those(
    looks: list[dict[int, tuple[int, int]]], most: int
) -> None:
    busiest, before = Busiest(), dict[int, tuple[int, int]]()
    for at, flows in enumerate(looks):
        found = busiest.choose(flows, most, float(at))
        assert len(found) == min(most, len(flows))
        rates = [sum(rate) for rate in found.values()]
        assert rates == sorted(rates, reverse=True)
        if at and found:
            moved = {
                n: [max(0, now - was) for now, was in zip(flows[n], before.get(n, (0, 0)), strict=True)] for n in flows
            }
            assert all(sum(moved[n]) * 8 <= rates[-1] for n in flows if n not in found)
        before = flows
