"""How rules want their connections carried: tiers of lines, and which of them stand by."""

from dataclasses import replace

import pytest

from hagw.model.intent import RuleIntent, TrafficDescriptor
from hagw.model.snapshot import UplinkView
from hagw.policy.modes.plan import plan

DSL = UplinkView(1, "dsl", "dsl0", 11, "192.0.2.1", None, "up")
LTE = UplinkView(2, "lte", "lte0", 12, "192.0.2.2", None, "up", metered=True)
WIFI = UplinkView(3, "wifi", "wifi0", 13, "192.0.2.3", None, "up")
LINES = (DSL, LTE, WIFI)


def rule(mode: str, *uplinks: str, standby: str = "warm") -> RuleIntent:
    return RuleIntent("r", 1, TrafficDescriptor(), mode, uplinks, standby)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "tiers"),
    [
        (None, ((1, 2, 3),)),
        (rule("load-balancing", "wifi", "dsl"), ((1, 3),)),
        (rule("priority-based", "wifi", "lte"), ((3,), (2,))),
        (rule("priority-based"), ((1, 3), (2,))),
        (rule("active-standby", "lte", "dsl", "wifi"), ((2,), (1,), (3,))),
    ],
    ids=["default", "bonded", "in the rule's order", "by price", "active first"],
)
def test_tiers_follow_the_rule_else_the_price(given: RuleIntent | None, tiers: tuple[tuple[int, ...], ...]) -> None:
    assert plan(given, LINES).tiers == tiers


def test_weights_are_those_of_the_lines_there_are() -> None:
    weighted = replace(rule("load-balancing", "wifi", "dsl"), weights=(30, 70))
    assert plan(weighted, LINES).weights == ((1, 70), (3, 30))
    assert plan(weighted, (WIFI, LTE)).weights == ((3, 30),)
    assert plan(rule("load-balancing", "wifi", "dsl"), LINES).weights == ()


def test_cost_goes_before_metered() -> None:
    assert plan(rule("priority-based"), (replace(DSL, cost=5), LTE, WIFI)).tiers == ((3,), (2,), (1,))


def test_what_stands_by_depends_on_what_works() -> None:
    wish = plan(rule("active-standby", "dsl", "wifi", "lte"), LINES)
    assert wish.reserve((1, 2, 3)) == {2, 3}
    assert wish.reserve((2, 3)) == {2}
    assert wish.reserve((2,)) == set()
    assert wish.reserve(()) == {2, 3}, "nothing works: nobody is better than the first"


def test_bonded_connections_have_no_reserve() -> None:
    assert plan(None, LINES).reserve((1, 2, 3)) == set()


def test_cold_is_told() -> None:
    assert plan(rule("active-standby", "dsl", "lte", standby="cold"), LINES).cold
