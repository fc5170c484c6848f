"""A line keeps its slot for as long as it is configured."""

from hypothesis import given
from hypothesis import strategies as st

from hagw.model.intent import CpeIntent, UplinkIntent
from hagw.plan.slots import inherit_slots, keep_slots, slots_of
from tests.unit.plan.states import GATEWAY


def intent(*names: str) -> CpeIntent:
    uplinks = tuple(UplinkIntent(name, "dsl", f"{name}0", slot) for slot, name in enumerate(names, start=1))
    return CpeIntent(("lan0",), uplinks, (GATEWAY,))


names = st.lists(st.sampled_from([f"u{number}" for number in range(40)]), min_size=1, max_size=32, unique=True)


@given(names, names)
def test_who_stays_keeps_the_slot_and_nobody_shares_one(before: list[str], after: list[str]) -> None:
    known = slots_of(keep_slots(intent(*before), {}))
    now = slots_of(keep_slots(intent(*after), known))
    assert all(now[name] == known[name] for name in after if name in known)
    assert sorted(set(now.values())) == sorted(now.values())
    assert all(1 <= slot <= 32 for slot in now.values())


def test_a_new_line_does_not_inherit_the_flows_of_one_that_left() -> None:
    assert slots_of(keep_slots(intent("new"), {"old": 1})) == {"new": 2}


def test_a_line_that_is_renamed_stays_the_same() -> None:
    present = keep_slots(intent("dsl", "lte"), {"dsl": 7, "lte": 3})
    renamed = CpeIntent(("lan0",), (UplinkIntent("copper", "dsl", "dsl0", 1),), (GATEWAY,))
    assert slots_of(inherit_slots(renamed, present)) == {"copper": 7}
