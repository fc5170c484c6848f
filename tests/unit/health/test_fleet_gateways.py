"""Gateways that die, stay away and come back, in simulated time: no line is blamed."""

import pytest
from fleet_world import SimLine, World, demo


def test_a_dead_gateway_is_known_soon_and_blamed_on_no_line() -> None:
    world = demo("download")
    world.gateway_alive = False
    assert world.until(lambda: world.reach() == "down", 1.0) <= 0.6
    world.run(10.0)
    assert not [change for change in world.changes if change[1] != "gw"]
    world.gateway_alive = True
    assert world.until(lambda: world.reach() == "up", 2.0) <= 1.1
    world.run(3.0)
    assert not [change for change in world.changes if change[1] != "gw"]


def test_a_dead_gateway_is_known_while_direct_traffic_flows_and_lines_are_pardoned() -> None:
    world = demo("download")
    world.gateway_alive = False
    world.lines["lte"].load = None
    begun = world.now

    def direct() -> None:
        world.lines["lte"].rx += 2
        world.lines["lte"].tx += 1
        world.run(0.003)

    while world.reach() != "down":
        direct()
        assert world.now - begun < 0.8
    assert {world.state(name) for name in world.lines} == {"up"}
    for _ in range(1000):
        direct()
    assert {world.state(name) for name in world.lines} == {"up"}


def test_without_a_gateway_a_line_that_returns_nothing_is_found_by_its_traffic() -> None:
    world = demo("download")
    world.gateway_alive = False
    world.until(lambda: world.reach() == "down", 1.0)
    dsl, lte = world.lines["dsl"], world.lines["lte"]
    for line in world.lines.values():
        line.load = None
    for _ in range(1200):
        lte.rx += 1
        lte.tx += 1
        dsl.tx += 1
        world.run(0.003)
    assert world.state("dsl") == "suspect"
    assert world.state("lte") == world.state("wifi") == "up"


@pytest.mark.slow
def test_a_gateway_that_stays_away_costs_a_metered_line_little() -> None:
    world = World(1, dsl=SimLine(kind="dsl"), lte=SimLine(kind="wwan", delay_s=0.025))
    world.configure(metered=("lte",))
    world.run(5.0)
    world.gateway_alive = False
    world.lines["dsl"].load = "download"
    world.run(600.0)
    assert world.reach() == "down"
    world.asks.clear()
    world.run(600.0)
    assert sum(ask.line == "lte" for _, ask in world.asks) <= 600 / 15 + 1
    world.gateway_alive = True
    world.until(lambda: world.reach() == "up", 6.0)


def test_a_lone_line_is_not_blamed_for_a_dead_gateway() -> None:
    world = demo("download", names=("dsl",))
    world.gateway_alive = False
    world.until(lambda: world.reach() == "down", 1.0)
    for _ in range(2000):
        world.lines["dsl"].rx += 1
        world.lines["dsl"].tx += 1
        world.run(0.003)
    assert world.state("dsl") == "up"


def test_without_any_answering_gateway_lines_are_taken_as_up() -> None:
    world = World(1, dsl=SimLine(load="download"), lte=SimLine(delay_s=0.025))
    world.gateway_alive = False
    world.run(30.0)
    assert world.state("dsl") == world.state("lte") == "up"
    assert world.reach() == "unknown"
    assert world.asked_between(world.now - 10, world.now) <= 6
