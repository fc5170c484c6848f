"""Lines that die, heal, stall and idle, in simulated time."""

import pytest
from fleet_world import SimLine, World, demo


@pytest.mark.parametrize("load", ["download", "upload", "both"])
@pytest.mark.parametrize("name", ["dsl", "lte", "wifi"])
@pytest.mark.parametrize("queue_s", [0.0, 0.2])
@pytest.mark.parametrize(("up", "down"), [(True, True), (True, False), (False, True)])
def test_a_blackhole_under_load_is_found_in_time(load: str, name: str, queue_s: float, up: bool, down: bool) -> None:
    queues = {"queue_down_s": queue_s} if load == "download" else {"queue_up_s": queue_s}
    world = demo(load, **queues)
    line = world.lines[name]
    line.blackhole(up=up, down=down)
    broken_at = world.now
    world.until(lambda: world.state(name) == "suspect", 1.0)
    # The receiver's gap begins when packets stop arriving at it, not when the line broke.
    flowing = 0.0 if down else 2 * line.delay_s + line.queue_down_s + (line.queue_up_s if load == "download" else 0)
    assert world.now - broken_at - flowing <= 0.2
    world.run(2.0)
    assert {change[1] for change in world.changes} == {name}


@pytest.mark.parametrize("name", ["dsl", "lte", "wifi"])
@pytest.mark.parametrize("stall_ms", range(30, 61, 5))
def test_a_pause_just_before_does_not_make_it_slower(name: str, stall_ms: int) -> None:
    world = demo("download", queue_down_s=0.15)
    line = world.lines[name]
    line.stall_until = world.now + stall_ms / 1000
    world.run(stall_ms / 1000)
    line.blackhole(up=True, down=False)
    took = world.until(lambda: world.state(name) == "suspect", 1.0)
    assert took - 2 * line.delay_s - line.queue_down_s <= 0.2


@pytest.mark.parametrize("name", ["dsl", "lte", "wifi"])
def test_it_is_found_in_time_wherever_the_periodic_echo_stands(name: str) -> None:
    """The answer to a question asked before the line broke arrives after it, and must not delay the verdict."""
    for offset in range(30):
        world = demo("download", queue_down_s=0.05)
        line = world.lines[name]
        world.run(0.2 + offset * 0.008)
        line.blackhole(up=True, down=False)
        took = world.until(lambda: world.state(name) == "suspect", 1.0)  # noqa: B023
        assert took - 2 * line.delay_s - line.queue_down_s <= 0.2


@pytest.mark.parametrize("name", ["dsl", "lte", "wifi"])
def test_a_healed_line_is_up_again_at_once_and_not_before(name: str) -> None:
    world = demo("download")
    world.lines[name].blackhole()
    world.run(6.5)
    assert world.state(name) == "down"
    world.lines[name].heal()
    assert world.until(lambda: world.state(name) == "up", 3.0) <= 1.2


def test_a_short_blackhole_heals_within_half_a_second() -> None:
    world = demo("download")
    world.lines["dsl"].blackhole()
    world.run(1.5)
    world.lines["dsl"].heal()
    assert world.until(lambda: world.state("dsl") == "up", 3.0) <= 0.5


def test_retransmissions_over_a_one_way_line_do_not_clear_it() -> None:
    world = demo("download")
    world.lines["lte"].blackhole(up=True, down=False)
    world.until(lambda: world.state("lte") == "suspect", 1.0)
    world.run(4.5)
    assert [change[1:] for change in world.changes] == [("lte", "suspect")]


def test_steady_packets_do_not_hide_that_nothing_gets_out() -> None:
    world = demo("download")
    line = world.lines["lte"]
    line.load = None
    line.blackhole(up=True, down=False)
    begun = world.now
    while world.now - begun < 2.0 and world.state("lte") == "up":
        line.rx += 1
        line.rx_bytes += 1400
        world.run(0.003)
    assert world.state("lte") == "suspect"
    assert "although" in world.fleet.uplinks()["lte"].reason or "packets arrive" in world.fleet.uplinks()["lte"].reason


@pytest.mark.parametrize("whole_machine", [True, False])
@pytest.mark.parametrize("load", ["download", "upload", None])
def test_a_hiccup_is_not_silence(load: str | None, whole_machine: bool) -> None:
    world = demo(load)
    for i in range(60):
        world.hiccup(0.03 + 0.01 * (i % 20), whole_machine=whole_machine)
        world.run(0.3 + 0.013 * (i % 7))
    assert not world.suspicions()


def test_a_line_that_stands_still_for_60_ms_is_not_suspected() -> None:
    world = demo("download")
    for i in range(30):
        world.lines["dsl"].stall_until = world.now + 0.06
        world.run(0.4 + 0.007 * i)
    assert not world.suspicions()


@pytest.mark.parametrize("load", ["download", "upload"])
def test_a_queue_that_builds_up_is_not_an_outage(load: str) -> None:
    world = demo(load)
    for queue_ms in [*range(0, 200, 10), *range(200, 0, -5)]:
        for line in world.lines.values():
            line.queue_up_s = line.queue_down_s = queue_ms / 1000
        world.run(0.05)
    assert not world.suspicions()


def test_a_queue_of_udp_towards_the_gateway_is_not_an_outage() -> None:
    world = demo(None)
    world.lines["wifi"].load = "download"
    world.lines["dsl"].load = "udp-up"
    for queue_ms in range(0, 400, 8):
        world.lines["dsl"].queue_up_s = queue_ms / 1000
        world.run(0.03)
    assert not world.suspicions()


def test_pauses_of_an_application_are_not_outages() -> None:
    world = demo("download")
    for i in range(40):
        for line in world.lines.values():
            line.load = None if i % 2 else "download"
        world.run(0.1 + 0.05 * (i % 9))
    assert not world.suspicions()


@pytest.mark.slow
def test_a_metered_line_costs_little_while_it_idles_and_while_it_is_dead() -> None:
    world = World(1, dsl=SimLine(kind="dsl"), lte=SimLine(kind="wwan", delay_s=0.025))
    world.configure(metered=("lte",))
    world.run(600.0)
    world.asks.clear()
    world.run(1800.0)
    assert sum(ask.line == "lte" for _, ask in world.asks) <= 8
    world.lines["lte"].blackhole()
    world.lines["lte"].load = "chat"
    world.run(1200.0)
    assert world.state("lte") == "down"
    world.asks.clear()
    world.run(600.0)
    assert sum(ask.line == "lte" for _, ask in world.asks) <= 600 / 15 + 1


def test_an_idle_line_that_dies_is_found_when_it_is_used() -> None:
    world = demo(None)
    world.run(20.0)
    world.lines["dsl"].blackhole()
    world.run(5.0)
    world.lines["dsl"].load = "chat"
    world.lines["wifi"].load = "download"
    world.lines["dsl"].tx += 1
    assert world.until(lambda: world.state("dsl") == "suspect", 2.0) <= 0.6


def test_a_sleeping_modem_may_take_a_second_to_wake() -> None:
    world = demo(None)
    world.run(20.0)
    lte = world.lines["lte"]
    world.lines["wifi"].load = "download"
    lte.delay_s += 0.8
    lte.tx += 2
    world.run(0.82)
    lte.delay_s -= 0.8
    world.run(3.0)
    assert not world.suspicions()


def test_the_first_round_trip_which_includes_neighbour_discovery_is_not_kept() -> None:
    world = World(1, dsl=SimLine(kind="dsl", delay_s=0.024))
    world.run(0.04)
    world.lines["dsl"].delay_s = 0.012
    world.run(1.0)
    assert world.fleet.uplinks()["dsl"].rtt_ms == pytest.approx(24, abs=3)


def test_idle_lines_are_silent() -> None:
    world = demo(None)
    world.run(1.0)
    begun = world.now
    world.run(120.0)
    assert world.asked_between(begun, world.now) <= 5
    assert not world.suspicions()


def test_busy_lines_cost_four_echoes_a_second() -> None:
    world = demo("download")
    begun = world.now
    world.run(10.0)
    assert world.asked_between(begun, world.now) <= 3 * 4 * 10 + 6


def test_asked_to_be_gentle_busy_lines_cost_one_echo_a_second_and_stay_up() -> None:
    world = World(dsl=SimLine(load="download"), lte=SimLine("wwan", 0.05, load="both"))
    world.run(5.0)
    world.configure(style="gentle")
    assert {world.state("dsl"), world.state("lte")} == {"up"}
    begin = world.now
    world.run(20.0)
    assert 30 < world.asked_between(begin, world.now) <= 44
    assert world.suspicions() == []
    world.configure()
    begin = world.now
    world.run(5.0)
    assert world.asked_between(begin, world.now) >= 32


def test_asked_to_be_gentle_a_silent_death_is_found_as_soon() -> None:
    world = World(dsl=SimLine(load="download"), lte=SimLine("wwan", 0.05, load="both"))
    world.configure(style="gentle")
    world.run(5.0)
    world.lines["dsl"].blackhole()
    assert world.until(lambda: world.state("dsl") == "suspect", 0.5) < 0.25


def test_a_flapping_line_has_to_answer_more_often() -> None:
    world = demo("download")
    dsl = world.lines["dsl"]
    took = []
    for _ in range(4):
        dsl.blackhole()
        world.until(lambda: world.state("dsl") == "suspect", 1.0)
        world.run(1.0)
        dsl.heal()
        took.append(world.until(lambda: world.state("dsl") == "up", 3.0))
        world.run(0.5)
    assert took[3] > took[0] + 0.05
    assert took[3] < 1.0


def test_reconfiguring_keeps_what_is_known() -> None:
    world = demo("download")
    world.lines["dsl"].blackhole()
    world.run(1.0)
    rtt_ms = world.fleet.uplinks()["wifi"].rtt_ms
    world.lines["usb"] = SimLine(kind="wwan", delay_s=0.03)
    world.configure()
    assert world.state("dsl") == "suspect"
    assert world.fleet.uplinks()["wifi"].rtt_ms == rtt_ms
    world.until(lambda: world.state("usb") == "up", 1.0)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_questions_are_bounded_and_states_calm(seed: int) -> None:
    """Random outages, stalls, loads: never more than a burst of questions, never a storm of changes."""
    world = demo("download", seed)
    rng = world.rng
    begun = world.now
    for _ in range(40):
        line = rng.choice(list(world.lines.values()))
        match rng.randrange(8):
            case 0 | 1:
                line.blackhole(up=rng.random() < 0.7, down=rng.random() < 0.7)
            case 2 | 3:
                line.heal()
            case 4:
                line.load = rng.choice(["download", "upload", "both", "chat", "udp-up", None])
            case 5:
                world.hiccup(rng.random() * 0.2, whole_machine=rng.random() < 0.5)
            case 6:
                line.queue_down_s = line.queue_up_s = rng.random() * 0.2
            case _:
                world.gateway_alive = not world.gateway_alive
        world.run(rng.random())
    seconds = world.now - begun
    for second in range(int(seconds)):
        assert world.asked_between(begun + second, begun + second + 1) <= 3 * 30
    assert len(world.asks) / seconds <= 3 * 15
    assert len(world.changes) <= 40 * 4
    for line in world.lines.values():
        line.heal()
        line.queue_down_s = line.queue_up_s = 0.0
    world.gateway_alive = True
    world.until(lambda: {world.state(n) for n in world.lines} == {"up"} and world.reach() == "up", 70.0)
