"""What a CPE makes of settings, whatever they hold: what it does not understand was not said."""

import pytest

from hagw.channel.settings import read
from hagw.model.intent import CustomerLimits
from hagw.model.told import Told


def test_everything_we_know_is_taken() -> None:
    limits = {"connections_max": 9, "connects_per_s": 2.5, "pending_max": 3, "rate_down_bps": 10, "rate_up_bps": 11}
    found = read(
        {
            "type": "settings",
            "blocked": "used up",
            "limits": {**limits, "month_bytes": 1 << 40, "of_tomorrow": {}},
            "probe": {"port": 5999, "style": "gentle", "of_tomorrow": 1},
        }
    )
    assert found == Told("used up", CustomerLimits(9, 2.5, 3, 10, 11, 1 << 40), 5999, "gentle")


@pytest.mark.parametrize(
    "bad", [None, [], "x", {}, {"port": 0, "connections_max": -1}, {"port": True}, {"port": 1 << 16}]
)
def test_what_is_not_understood_was_not_said(bad: object) -> None:
    assert read({"type": "settings", "limits": bad, "probe": bad, "blocked": None}) == Told()
