"""The scheduling model of a link, with a clock of our own."""

from random import Random

import pytest

from hagw.lab.link import BadLinkParameter, Direction, LinkState, changed, tcp_payload_share

NEVER_LOST = 0.5


def direction(rate_bps: float | None = None, **parameters: object) -> Direction:
    made = Direction()
    made.configure(rate_bps, changed(LinkState(), parameters), is_open=True, now=0.0)
    return made


def test_a_lone_frame_takes_serialisation_and_delay() -> None:
    line = direction(8_000_000, delay="12ms")
    assert line.depart(1.0, 1500, NEVER_LOST) == pytest.approx(1.0 + 0.0015 + 0.012)


def test_frames_leave_at_the_rate() -> None:
    line = direction(12_000_000, delay="5ms", queue="10s")
    departures = [line.depart(0.0, 1500, NEVER_LOST) for _ in range(100)]
    assert departures[-1] - departures[0] == pytest.approx(99 * 0.001)


def test_an_idle_line_saves_up_no_credit() -> None:
    line = direction(12_000_000)
    line.depart(0.0, 1500, NEVER_LOST)
    assert line.depart(100.0, 1500, NEVER_LOST) == pytest.approx(100.001)


def test_a_frame_that_would_wait_longer_than_the_queue_is_dropped() -> None:
    line = direction(12_000_000, queue="10.5ms")
    outcomes = [line.depart(0.0, 1500, NEVER_LOST) for _ in range(20)]
    assert [out >= 0 for out in outcomes] == [True] * 11 + [False] * 9
    assert line.dropped == 9


def test_without_a_rate_nothing_waits() -> None:
    line = direction(delay="10ms")
    assert {line.depart(0.0, 65_000, NEVER_LOST) for _ in range(50)} == {0.010}


@pytest.mark.parametrize("seed", range(5))
def test_jitter_stays_within_its_bounds_and_keeps_the_order(seed: int) -> None:
    random = Random(seed)
    line = direction(delay="20ms", jitter="5ms", loss=0.2)
    arrivals = [number * 0.0005 for number in range(2000)]
    passed = [(out, now) for now in arrivals if (out := line.depart(now, 100, random.random())) >= 0]
    assert [out for out, _ in passed] == sorted(out for out, _ in passed)
    assert all(0.015 <= out - now <= 0.025 for out, now in passed)
    assert max(out - now for out, now in passed) > 0.024


def test_loss_takes_its_share() -> None:
    random = Random(1)
    line = direction(loss="10%")
    lost = sum(line.depart(0.0, 100, random.random()) < 0 for _ in range(10_000))
    assert lost == line.lost
    assert 900 < lost < 1100


@pytest.mark.parametrize(
    ("settings", "up", "down"),
    [
        ({"blackhole": "none"}, True, True),
        ({"blackhole": "up"}, False, True),
        ({"blackhole": "down"}, True, False),
        ({"blackhole": "both"}, False, False),
        ({"carrier": "off"}, False, False),
    ],
)
def test_blackhole_and_carrier_close_directions(settings: dict[str, object], up: bool, down: bool) -> None:
    state = changed(LinkState(), settings)
    assert (state.is_open("up"), state.is_open("down")) == (up, down)


def test_a_closed_direction_loses_everything() -> None:
    line = Direction()
    line.configure(None, LinkState(), is_open=False, now=0.0)
    assert line.depart(0.0, 100, NEVER_LOST) < 0


def test_a_faster_line_does_not_serve_the_old_backlog_at_the_old_rate() -> None:
    line = direction(1_000_000, queue="1s")
    while line.depart(0.0, 1500, NEVER_LOST) >= 0:
        pass
    line.configure(100_000_000, changed(LinkState(), {"queue": "20ms"}), is_open=True, now=0.0)
    assert line.free_at <= 0.020


def test_settings_come_with_or_without_units() -> None:
    state = changed(
        LinkState(), {"rate_down": "16mbit", "rate_up": 5_000_000, "delay": "0.012s", "loss": "1%", "queue": 80}
    )
    assert state == LinkState(rate_down_bps=16e6, rate_up_bps=5e6, delay_ms=12.0, loss=0.01, queue_ms=80.0)


def test_a_rate_of_none_is_no_limit() -> None:
    assert changed(LinkState(rate_up_bps=1e6), {"rate_up": "none"}).rate_up_bps is None


def test_settings_not_given_stay() -> None:
    state = changed(LinkState(delay_ms=3.0), {"blackhole": "up"})
    assert changed(state, {"delay": 5}) == LinkState(delay_ms=5.0, blackhole="up")


@pytest.mark.parametrize(
    "settings",
    [
        {"rate_down": "fast"},
        {"rate_up": "-1"},
        {"delay": "12 parsec"},
        {"loss": "101%"},
        {"blackhole": "left"},
        {"carrier": "maybe"},
        {"mtu": 1500},
    ],
)
def test_a_setting_that_makes_no_sense_is_named(settings: dict[str, object]) -> None:
    with pytest.raises(BadLinkParameter, match=next(iter(settings))):
        changed(LinkState(), settings)


def test_payload_share_of_a_full_segment() -> None:
    assert tcp_payload_share() == pytest.approx(1448 / 1500)
    assert tcp_payload_share(ipv6=True) == pytest.approx(1428 / 1500)
    assert tcp_payload_share(mptcp=True) < tcp_payload_share()


def test_one_direction_may_lose_more_than_the_other() -> None:
    state = changed(LinkState(), {"loss": "2%", "loss_up": "30%"})
    up, down = Direction(), Direction()
    up.configure(None, state, is_open=True, now=0.0, loss=state.loss_up)
    down.configure(None, state, is_open=True, now=0.0, loss=state.loss_down)
    assert (up.depart(0.0, 100, 0.29), down.depart(0.0, 100, 0.29)) == (-1.0, 0.0)
    assert down.depart(0.0, 100, 0.01) == -1.0
