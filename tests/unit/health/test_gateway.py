"""A gateway's reachability from echoes and from what connections to it met."""

from hagw.health.gateway import GatewayWatch, Told

LINES = {"dsl", "lte"}


def heard(watch: GatewayWatch, now: float, offset_s: float = 3.0, rtt_s: float = 0.02) -> None:
    watch.asked("dsl", now - rtt_s)
    watch.answered(rtt_s, Told(True, offset_s), now)


def silent(watch: GatewayWatch, begin: float, seconds: float, receiving: bool = False) -> float | None:
    """Ask over all lines every 0.1 s without answers; return after how long it is down."""
    for i in range(round(seconds * 10)):
        now = begin + i * 0.1
        for line in LINES:
            watch.asked(line, now)
        watch.turn(now + 0.05, LINES, receiving, 0.05)
        if watch.reach == "down":
            return now + 0.05 - begin
    return None


def test_silence_on_all_lines_is_down_and_two_answers_are_up() -> None:
    watch = GatewayWatch(0.0)
    heard(watch, 1.0)
    assert watch.reach == "up"
    after = silent(watch, 2.0, 2.0)
    assert after is not None
    assert 0.4 <= after <= 0.5
    heard(watch, 5.0)
    assert watch.reach == "down"
    assert watch.turn(5.0, LINES, False, 0.05)  # asks again at once
    heard(watch, 5.1)
    assert (watch.reach, watch.reason) == ("up", "")


def asked_when_idle(watch: GatewayWatch, begin: float, seconds: float) -> list[float]:
    """Let time pass in which nothing but what it wants itself is asked, and each question is answered; return when."""
    asked = []
    for i in range(round(seconds * 10)):
        now = begin + i / 10
        if watch.turn(now, LINES, False, 0.05):
            watch.asked("dsl", now)
            watch.answered(0.02, Told(True, 3.0, draining=watch.draining), now + 0.02)
            asked.append(now)
    return asked


def test_one_that_drains_is_asked_whether_it_still_does_also_while_nothing_else_is() -> None:
    watch = GatewayWatch(0.0)
    heard(watch, 1.0)
    assert asked_when_idle(watch, 1.1, 60.0) == []
    watch.answered(0.02, Told(True, 3.0, draining=True), 70.0)
    assert 40 <= len(asked_when_idle(watch, 70.1, 60.0)) <= 60  # the longer it drains, the less often
    assert 10 <= len(asked_when_idle(watch, 400.0, 60.0)) <= 13
    watch.answered(0.02, Told(True, 3.0), 470.0)
    assert asked_when_idle(watch, 470.1, 60.0) == []


def test_it_takes_longer_while_something_is_received() -> None:
    quiet, busy = GatewayWatch(0.0), GatewayWatch(0.0)
    heard(quiet, 1.0)
    heard(busy, 1.0)
    after_quiet, after_busy = silent(quiet, 2.0, 2.0), silent(busy, 2.0, 2.0, receiving=True)
    assert after_quiet is not None
    assert after_busy is not None
    assert after_quiet < after_busy <= 0.7


def test_an_unanswered_line_beside_one_that_was_not_asked_says_nothing() -> None:
    watch = GatewayWatch(0.0)
    heard(watch, 1.0)
    for i in range(50):
        watch.asked("dsl", 2.0 + i / 10)
        watch.turn(2.0 + i / 10, LINES, False, 0.05)
    assert watch.reach == "up"
    watch.asked("lte", 8.0)
    watch.turn(8.01, LINES, False, 0.05)
    assert watch.reach == "up"


def test_one_that_never_answered_echoes_is_judged_by_connections_alone() -> None:
    watch = GatewayWatch(0.0)
    assert silent(watch, 1.0, 5.0) is None
    assert watch.reach == "unknown"
    watch.connection_answered(7.0)
    assert watch.reach == "up"
    assert silent(watch, 8.0, 5.0) is None
    watch.connection_failed("connection refused", 14.0)
    assert (watch.reach, watch.reason) == ("down", "connection refused")


def test_a_refusing_host_is_down_after_two_refusals() -> None:
    watch = GatewayWatch(0.0)
    heard(watch, 1.0)
    watch.refused(2.0)
    assert watch.reach == "up"
    watch.refused(2.01)
    assert watch.reach == "down"


def test_a_dead_converter_beside_a_live_echo_port_does_not_flap() -> None:
    watch = GatewayWatch(0.0)
    now, ups = 1.0, 0
    heard(watch, now)
    while now < 120.0:
        if watch.reach == "up":
            ups += 1
            watch.connection_failed("connection refused", now)
        if watch.turn(now, LINES, False, 0.05):
            heard(watch, now + 0.02)
        now += 0.1
    assert ups <= 9


def test_an_accepted_connection_brings_it_back() -> None:
    watch = GatewayWatch(0.0)
    heard(watch, 1.0)
    watch.connection_failed("connection reset", 2.0)
    watch.connection_answered(2.1)
    assert watch.reach == "up"


def test_the_clock_offset_keeps_the_best_sample_and_follows_a_step() -> None:
    watch = GatewayWatch(0.0)
    heard(watch, 1.0, offset_s=3.0, rtt_s=0.02)
    heard(watch, 2.0, offset_s=3.08, rtt_s=0.3)
    assert watch.clock_offset_s == 3.0
    heard(watch, 3.0, offset_s=3603.0, rtt_s=0.3)
    assert watch.clock_offset_s == 3603.0
