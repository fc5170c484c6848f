"""IPv6 that is broken on a line whose IPv4 works, and the other way round, in simulated time."""

from dataclasses import replace

import pytest
from fleet_world import SimLine, World

KINDS = {"dsl": 0.012, "lte": 0.025, "wifi": 0.008}


def bonded(load: str | None = "download", seed: int = 1, **changes: float) -> World:
    world = World(
        seed,
        versions=(4, 6),
        dsl=SimLine("dsl", KINDS["dsl"], **changes),  # type: ignore[arg-type]
        lte=SimLine("wwan", KINDS["lte"], **changes),  # type: ignore[arg-type]
    )
    world.run(2.0)
    for line in world.lines.values():
        line.load = load
    world.run(3.0)
    assert not any(broken(world, name) for name in world.lines)
    world.changes.clear()
    return world


def broken(world: World, name: str) -> set[int]:
    return set(world.fleet.uplinks()[name].broken)


def test_the_family_not_in_use_is_found_broken_while_there_is_traffic() -> None:
    world = bonded()
    world.lines["dsl"].dead_families = {6}
    assert world.until(lambda: broken(world, "dsl") == {6}, 6.0) < 5.0
    assert world.fleet.uplinks()["dsl"].broken[6] == "the gateway is reached by IPv4 only, not by IPv6"
    assert broken(world, "lte") == set()
    world.run(5.0)
    assert world.suspicions() == []


@pytest.mark.parametrize("name", ["dsl", "lte"])
@pytest.mark.parametrize("load", ["download", "upload"])
def test_where_the_one_in_use_breaks_the_line_goes_on_in_the_other_at_once(name: str, load: str) -> None:
    """The traffic that went by it stalls, as on a dead line; echoes come through by the other one."""
    world = bonded(load)
    line = world.lines[name]
    line.dead_families = {4}
    line.load = None  # what it carried went by IPv4
    world.run(0.3)
    line.load = load  # and goes on by IPv6
    took = world.until(lambda: broken(world, name) == {4} and world.state(name) == "up", 2.0)
    assert took < 0.6
    world.changes.clear()
    world.run(10.0)
    assert world.suspicions() == []
    assert broken(world, name) == {4}


def test_the_last_line_goes_on_in_the_other_family_too() -> None:
    world = bonded()
    world.lines["lte"].link = replace(world.lines["lte"].link, carrier=False)
    world.configure()
    world.run(1.0)
    world.lines["dsl"].dead_families = {4}
    assert world.until(lambda: broken(world, "dsl") == {4}, 2.0) < 1.5
    assert world.state("dsl") == "up"


def test_a_dead_line_is_no_broken_family() -> None:
    world = bonded()
    world.lines["dsl"].blackhole()
    world.run(8.0)
    assert world.state("dsl") == "down"
    assert broken(world, "dsl") == set()
    assert broken(world, "lte") == set()


@pytest.mark.parametrize("first", [4, 6])
@pytest.mark.parametrize("dead_s", [0.4, 3.0, 30.0])
def test_the_family_that_returns_a_little_later_is_not_broken(first: int, dead_s: float) -> None:
    world = bonded()
    for line in world.lines.values():
        line.dead_families, line.load = {4, 6}, None
    world.run(dead_s)
    for line in world.lines.values():
        line.dead_families = {10 - first}
    world.run(0.05)
    for line in world.lines.values():
        line.dead_families = set()
    for _ in range(100):
        world.run(0.05)
        assert not any(broken(world, name) for name in world.lines)


def test_a_dead_line_that_returns_by_the_other_family_alone_is_used() -> None:
    world = bonded()
    world.lines["dsl"].blackhole()
    world.run(3.0)
    world.lines["dsl"].heal()
    world.lines["dsl"].dead_families = {4}
    assert world.until(lambda: world.state("dsl") == "up", 5.0) < 3.0
    assert broken(world, "dsl") == {4}


@pytest.mark.parametrize("family", [4, 6])
def test_a_broken_family_is_used_again_soon_after_the_line_changed(family: int) -> None:
    world = bonded()
    world.lines["dsl"].dead_families = {family}
    world.until(lambda: broken(world, "dsl") == {family}, 6.0)
    world.run(100.0)
    world.lines["dsl"].dead_families = set()
    world.fleet.rerouted("dsl")
    assert world.until(lambda: not broken(world, "dsl"), 2.0) < 1.0


def test_it_is_used_again_without_any_event_too() -> None:
    world = bonded()
    world.lines["dsl"].dead_families = {4}
    world.until(lambda: broken(world, "dsl") == {4}, 6.0)
    world.run(100.0)
    world.lines["dsl"].dead_families = set()
    assert world.until(lambda: not broken(world, "dsl"), 17.0) < 17.0


def test_a_gateway_heard_by_ipv6_alone_is_up() -> None:
    world = World(1, versions=(4, 6), dsl=SimLine("dsl", dead_families={4}), lte=SimLine("wwan", dead_families={4}))
    world.until(lambda: world.reach() == "up" and world.state("dsl") == world.state("lte") == "up", 8.0)
    world.run(8.0)
    assert broken(world, "dsl") == broken(world, "lte") == {4}


@pytest.mark.parametrize("seed", range(3))
def test_loss_and_jitter_break_no_family(seed: int) -> None:
    world = bonded(seed=seed)
    for line in world.lines.values():
        line.loss, line.delay_s, line.jitter_s = 0.05, 0.035, 0.030
    for _ in range(60):
        world.run(1.0)
        assert not any(broken(world, name) for name in world.lines)


def test_a_line_of_one_family_asks_no_other() -> None:
    world = World(1, versions=(6,), dsl=SimLine("dsl"), lte=SimLine("wwan"))
    world.run(5.0)
    assert {ask.version for _, ask in world.asks} == {6}
