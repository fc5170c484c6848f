"""What all flows carry, and what part that is of what the lines can."""

from dataclasses import replace
from typing import Any

import pytest

from hagw.control.efficiency import Goodput, GoodputMeter, bonding_efficiency
from hagw.control.status import status_document
from hagw.control.workers import WorkerReport
from hagw.model.health import UplinkHealth
from hagw.model.snapshot import LearnedView
from tests.fakes import ALL_UP, CPE, HAG, STATUS_INPUTS, WORKER, Carried

NOW = 1000.0
DSL, LTE = (
    replace(line, rate_down_bps=rate, rate_up_bps=5_000_000)
    for line, rate in zip(CPE.uplinks, (50e6, 30e6), strict=True)
)
NOTHING: dict[str, Carried] = {}


def said(pid: int, at: float, down: int, up: int = 0) -> WorkerReport:
    return replace(WORKER, pid=pid, told_at=at, stats={"bytes_down": down, "bytes_up": up})


def share(goodput: Goodput | None, **other: Any) -> float | None:
    known: dict[str, Any] = {"uplinks": (DSL, LTE), "healths": ALL_UP, "traffic": NOTHING, "learned": (), "now": NOW}
    return bonding_efficiency(goodput, **{**known, **other})


def test_rates_are_those_between_what_workers_said_whenever_they_are_looked_at() -> None:
    meter = GoodputMeter()
    assert meter.rate() is None
    meter.take([said(1, 10.0, 0), said(2, 10.2, 0)])
    assert meter.rate() is None, "one reading is no rate"
    meter.take([said(1, 10.3, 300_000), said(2, 10.5, 150_000)])
    meter.take([said(1, 10.3, 300_000), said(2, 10.5, 150_000)])  # looked at again before they said more
    assert meter.rate() == Goodput(pytest.approx(8e6 + 4e6), 0.0)
    for step in range(1, 8):
        meter.take([said(1, 10.3 + step * 0.3, 300_000), said(2, 10.5 + step * 0.3, 150_000 + step * 600_000)])
    assert meter.rate() == Goodput(pytest.approx(16e6), 0.0), "what was more than a second ago is over"


def test_a_worker_that_was_replaced_or_went_begins_from_nothing() -> None:
    meter = GoodputMeter()
    meter.take([said(1, 10.0, 5_000_000), said(2, 10.0, 0)])
    meter.take([said(1, 11.0, 1_000), said(2, 11.0, 1_000_000)])  # another process with the number of the first
    assert meter.rate() == Goodput(pytest.approx(8e6), 0.0)
    meter.take([said(3, 12.0, 7)])
    assert meter.rate() is None
    meter.take([replace(WORKER, pid=3, told_at=12.3, stats={})])
    assert meter.rate() is None


def test_it_is_the_payload_over_what_usable_lines_can_carry_in_the_fuller_direction() -> None:
    assert share(Goodput(76e6, 1e6)) == 0.95
    assert share(Goodput(8e6, 9e6)) == 0.9
    assert share(Goodput(200e6, 0.0)) == 1.0, "rates in the configuration may be too low"
    down = {**ALL_UP, "lte": UplinkHealth("down", "no answer")}
    assert share(Goodput(45e6, 0.0), healths=down) == 0.9
    assert share(Goodput(45e6, 0.0), uplinks=(DSL, replace(LTE, enabled=False))) == 0.9
    cut = {**ALL_UP, "lte": replace(ALL_UP["lte"], cap="cut")}
    assert share(Goodput(45e6, 0.0), healths=cut) == 0.9


def test_learnt_rates_count_until_they_are_old_and_no_line_carries_more_than_it_can() -> None:
    unrated = tuple(replace(line, rate_down_bps=None, rate_up_bps=None) for line in (DSL, LTE))
    learned = (
        LearnedView("dsl", "down", bps=40e6, full=True, at=NOW - 5),
        LearnedView("lte", "down", bps=10e6, at=NOW - 5),
        LearnedView("lte", "up", bps=1e6, at=NOW - 5),
    )
    assert share(Goodput(45e6, 0.0), uplinks=unrated, learned=learned) == 0.9
    old = tuple(replace(view, at=NOW - 3600) for view in learned)
    traffic = {"dsl": Carried(0, 0, 40e6, 0.0), "lte": Carried(0, 0, 20e6, 0.0)}
    assert share(Goodput(54e6, 0.0), uplinks=unrated, learned=old, traffic=traffic) == 0.9
    assert share(Goodput(54e6, 0.0), uplinks=unrated, learned=learned, traffic=traffic) == 0.9
    assert share(Goodput(54e6, 0.0), uplinks=unrated) is None, "nothing is known of any line"


def test_it_is_null_where_nothing_runs_or_nothing_is_usable() -> None:
    assert share(None) is None
    assert share(Goodput(30_000, 30_000)) is None
    assert share(Goodput(1e6, 0.0), healths={}) is None


def test_the_status_has_it_on_a_cpe_alone() -> None:
    rated = replace(CPE, uplinks=(DSL, LTE))
    shown = status_document(replace(STATUS_INPUTS, intent=rated, goodput=Goodput(60e6, 123.4)))
    assert (shown["bonding_efficiency"], shown["goodput_down_bps"], shown["goodput_up_bps"]) == (0.75, 60_000_000, 123)
    idle = status_document(STATUS_INPUTS)
    assert (idle["bonding_efficiency"], idle["goodput_down_bps"], idle["goodput_up_bps"]) == (None, None, None)
    assert status_document(replace(STATUS_INPUTS, intent=HAG, goodput=Goodput(60e6, 0)))["bonding_efficiency"] is None
