"""Whose clock a cookie is minted by."""

import time

import pytest

from hagw.convert import cookie
from hagw.dataplane.gateway import cookie_for
from hagw.model.snapshot import GatewayView

KEY = "11" * 32
FAR_S = 9e9  # no clock says so


def verifies(gateway: GatewayView, hag_time_s: float) -> bool:
    presented = cookie.parse(cookie_for(gateway))
    assert presented is not None
    return cookie.verify(presented, bytes.fromhex(KEY), "home", hag_time_s)


def gateway(clock_offset_s: float | None) -> GatewayView:
    return GatewayView("hag", ("198.51.100.10",), 5124, "home", KEY, "up", clock_offset_s=clock_offset_s)


def test_the_gateways_clock_is_followed_whatever_ours_says(monkeypatch: pytest.MonkeyPatch) -> None:
    told = gateway(FAR_S - time.clock_gettime(time.CLOCK_BOOTTIME))
    for ours in (0.0, 1.8e9, 4e9):
        monkeypatch.setattr(time, "time", lambda ours=ours: ours)
        assert verifies(told, FAR_S)


def test_a_gateway_that_never_told_its_clock_is_taken_to_have_ours() -> None:
    assert verifies(gateway(None), time.time())
