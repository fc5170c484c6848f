"""The ladder and the forecast: what a share of a volume leads to."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagw.caps.ladder import STAGES, left_bytes, restraints, share_used, standing, volume_text
from hagw.caps.restrain import restrained
from hagw.model.health import CapStage, UplinkHealth, UplinkState
from hagw.model.intent import DataCapIntent
from hagw.model.usage import Account, Book, CapStanding, Correction, Restraint, Volume

BEGIN = datetime.fromisoformat("2026-11-01")
DAY = timedelta(days=1)
FULL = DataCapIntent("plan", ("lte",), 1000, overflow_only=0.7, standby_only=0.8, throttle=0.95)


def book(down: int, up: int = 0, *earlier: Account) -> Book:
    return Book(Account(BEGIN, BEGIN, {"lte": Volume(down, up)}), earlier)


def stands(cap: DataCapIntent, down: int, up: int = 0, days: float = 10.0) -> CapStanding:
    return standing(cap, book(down, up), BEGIN + days * DAY)


@pytest.mark.parametrize(
    ("used", "stage", "warned"),
    [
        (699, "normal", None),
        (700, "overflow", None),
        (750, "overflow", 0.75),
        (800, "standby", 0.75),
        (950, "throttle", 0.9),
        (1000, "cut", 0.9),
        (5000, "cut", 0.9),
    ],
)
def test_the_ladder_is_climbed_rung_by_rung(used: int, stage: CapStage, warned: float | None) -> None:
    found = stands(FULL, used)
    assert (found.stage, found.warned) == (stage, warned)


def test_rungs_may_be_left_out() -> None:
    assert stands(replace(FULL, overflow_only=None, standby_only=None, throttle=None), 999).stage == "normal"
    assert stands(replace(FULL, cut=None), 5000).stage == "throttle"


def test_directions_count_for_themselves_and_the_worst_counts() -> None:
    cap = replace(FULL, volume_bytes=None, volume_down_bytes=1000, volume_up_bytes=100)
    assert stands(cap, 600, 90).share == 0.9
    assert stands(cap, 1000, 10).stage == "cut"


def test_the_reason_says_how_much_of_what_and_until_when() -> None:
    cap = replace(FULL, volume_bytes=50_000_000_000)
    assert stands(cap, 50_100_000_000).reason == (
        "cut; data cap plan: 50.1 GB of 50 GB used (100 %), next period 2026-12-01"
    )


@given(st.integers(0, 3000))
def test_what_is_left_leads_to_the_next_rung_and_not_before(used: int) -> None:
    account = book(used).now
    left = left_bytes(FULL, account)
    if left is None:
        assert stands(FULL, used).stage == "cut"
        return
    assert stands(FULL, used + left - 1).stage == stands(FULL, used).stage
    assert STAGES.index(stands(FULL, used + left).stage) > STAGES.index(stands(FULL, used).stage)


def test_a_line_obeys_the_strictest_of_its_caps() -> None:
    daily = replace(FULL, name="daily", uplinks=("lte", "wwan"), volume_bytes=100, cut=None)
    caps = (FULL, daily)
    found = restraints(caps, [stands(FULL, 10), stands(daily, 96)])
    assert {line: each.stage for line, each in found.items()} == {"lte": "throttle", "wwan": "throttle"}
    found = restraints(caps, [stands(FULL, 2000), stands(daily, 96)])
    assert (found["lte"].stage, found["wwan"].rate_bps) == ("cut", 512_000)


def test_the_forecast_is_the_pace_so_far() -> None:
    found = stands(FULL, 300, days=10.0)
    assert (found.forecast_bytes, found.forecast_share, found.reached_at) == (900, 0.9, None)


def test_the_forecast_says_when_nothing_is_left() -> None:
    assert stands(FULL, 500, days=10.0).reached_at == BEGIN + 20 * DAY
    assert stands(FULL, 1500, days=10.0).reached_at is None


def test_no_forecast_from_the_first_hours() -> None:
    assert stands(FULL, 300, days=0.1).forecast_bytes is None


def test_the_period_before_has_its_say_while_this_one_is_young() -> None:
    earlier = Account(BEGIN - 31 * DAY, BEGIN - 31 * DAY, {"lte": Volume(310, 0)})
    found = standing(FULL, book(30, 0, earlier), BEGIN + DAY / 24)
    assert found.forecast_bytes is not None
    assert 550 < found.forecast_bytes < 650  # an evening of 30 alone would make it 21,600


def test_counting_that_began_late_has_its_own_pace_unless_the_operator_gave_a_figure() -> None:
    late = Book(Account(BEGIN, BEGIN + 20 * DAY, {"lte": Volume(100, 0)}))
    assert standing(FULL, late, BEGIN + 25 * DAY).forecast_bytes == 200
    told = Book(replace(late.now, correction=Correction(total=400, at=BEGIN + 25 * DAY)))
    assert standing(FULL, told, BEGIN + 25 * DAY).forecast_bytes == 600


@given(st.integers(0, 10**15))
def test_volumes_read_well(size: int) -> None:
    assert len(volume_text(size)) <= 9


def test_share_of_nothing_is_nothing() -> None:
    assert share_used(FULL, book(0).now) == 0.0


# --- what it makes of health


def health(**states: UplinkState) -> dict[str, UplinkHealth]:
    return {name: UplinkHealth(state) for name, state in states.items()}


def acted(states: dict[str, UplinkHealth], **stages: CapStage) -> dict[str, str]:
    found = restrained(states, {line: Restraint(stage, "because") for line, stage in stages.items()})
    assert found.keys() == states.keys()
    return {name: each.state for name, each in found.items()}


def test_a_line_that_is_cut_is_down_also_as_the_last_one() -> None:
    assert acted(health(dsl="down", lte="up"), lte="cut") == {"dsl": "down", "lte": "down"}


def test_a_line_on_standby_is_used_while_no_other_works() -> None:
    stages: list[CapStage] = ["standby", "throttle"]
    for stage in stages:
        assert acted(health(dsl="up", lte="up"), lte=stage)["lte"] == "down"
        assert acted(health(dsl="suspect", lte="up"), lte=stage)["lte"] == "up"
        assert acted(health(dsl="up", lte="up"), lte=stage, dsl="cut")["lte"] == "up"
        assert acted(health(dsl="up", lte="up"), lte=stage, dsl="standby") == {"dsl": "up", "lte": "up"}


def test_a_line_for_overflow_is_up_and_says_so() -> None:
    found = restrained(health(dsl="up", lte="up"), {"lte": Restraint("overflow", "because")})
    assert (found["lte"].state, found["lte"].cap, found["lte"].reason) == ("up", "overflow", "because")
    assert found["dsl"] == UplinkHealth("up")


def test_what_is_wrong_with_a_line_is_not_hidden() -> None:
    found = restrained({"lte": UplinkHealth("down", "no carrier")}, {"lte": Restraint("standby", "because")})
    assert (found["lte"].state, found["lte"].reason) == ("down", "no carrier")
