"""Lines that lose packets or keep them for various times, in simulated time."""

import statistics

import pytest
from fleet_world import World, demo

from hagw.health.link import Link
from hagw.health.liveness import KEPT_DEGRADED


@pytest.mark.parametrize("loss", [0.02, 0.1, 0.2])
def test_a_lossy_line_stays_up(loss: float) -> None:
    world = demo("download")
    for line in world.lines.values():
        line.loss = loss
    world.run(4.0)
    for _ in range(60):  # pauses are what makes it ask
        for line in world.lines.values():
            line.load = None if line.load else "download"
        world.run(0.5)
    assert not world.suspicions()


@pytest.mark.parametrize("name", ["dsl", "lte", "wifi"])
def test_a_line_that_loses_a_third_each_way_is_found_out_within_two_seconds(name: str) -> None:
    def found_out(world: World) -> float:
        world.lines[name].loss = 0.3
        return world.until(lambda: world.state(name) == "suspect", 6.0)

    # Chance decides: of 120 one took 3.6 s.
    assert statistics.median(found_out(demo("download", seed)) for seed in range(7)) <= 2.0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["dsl", "lte", "wifi"])
def test_a_line_that_loses_a_third_each_way_is_done_without(name: str, seed: int) -> None:
    world = demo("download", seed)
    world.lines[name].loss = 0.3
    assert world.until(lambda: world.state(name) == "suspect", 6.0) <= 3.5
    world.run(8.0)
    assert {change[1:] for change in world.changes} == {(name, "suspect")}  # shown as no outage, and not used again
    world.lines[name].loss = 0.0
    assert world.until(lambda: world.state(name) == "up", 30.0) <= 15.0


@pytest.mark.parametrize("seed", range(4))
def test_a_little_loss_on_one_line_alone_is_put_up_with(seed: int) -> None:
    world = demo("download", seed)
    world.lines["dsl"].loss = 0.02
    world.run(60.0)
    assert not world.suspicions()


def test_the_last_line_is_used_however_much_it_loses() -> None:
    world = demo("download", names=("dsl", "wifi"))
    world.lines["wifi"].blackhole()
    world.run(2.0)
    world.lines["dsl"].loss = 0.3
    world.run(10.0)
    assert world.state("dsl") == "up"


def test_a_lossy_line_takes_over_from_one_that_dies() -> None:
    world = demo("download", names=("dsl", "wifi"))
    world.lines["dsl"].loss = 0.3
    world.until(lambda: world.state("dsl") == "suspect", 6.0)
    assert world.fleet.uplinks()["dsl"].reason.startswith("loses too much: ")
    world.lines["wifi"].link = Link(carrier=False)
    world.fleet.link_changed("wifi", Link(carrier=False), world.now)
    world.run(0.05)
    assert (world.state("dsl"), world.fleet.uplinks()["dsl"].reason) == ("up", KEPT_DEGRADED)


def test_loss_is_measured() -> None:
    world = demo("download")
    world.lines["dsl"].loss = 0.2
    world.run(20.0)
    loss = world.fleet.uplinks()["dsl"].loss
    assert loss is not None
    assert 0.15 <= loss <= 0.6  # there and back: 36 %


def jittery(seed: int) -> World:
    """Lines measured while calm; then each way takes 35 ms, 30 more or less, and packets are lost."""
    world = demo("download", seed)
    for line in world.lines.values():
        line.delay_s, line.jitter_s, line.loss, line.packets_per_s = 0.035, 0.030, 0.02, 800.0
    return world


def pausing(world: World, pauses: int) -> None:
    """A download as TCP makes it on such lines: every now and then it pauses for longer than it takes to notice."""
    for _ in range(pauses):
        for line in world.lines.values():
            line.load = "download"
        world.run(world.rng.uniform(0.1, 0.4))
        for line in world.lines.values():
            line.load = None
        world.run(world.rng.uniform(0.03, 0.08))
    for line in world.lines.values():
        line.load = "download"


@pytest.mark.parametrize("seed", range(1, 4))
def test_jitter_is_no_silence(seed: int) -> None:
    world = jittery(seed)
    pausing(world, 20)
    world.changes.clear()
    pausing(world, 80)
    assert world.suspicions() == []


@pytest.mark.parametrize("name", ["dsl", "lte", "wifi"])
def test_a_jittery_line_that_dies_is_found_in_time(name: str) -> None:
    for seed in range(5):
        world = jittery(seed)
        pausing(world, 20)
        world.run(0.2)
        line = world.lines[name]
        line.blackhole()
        assert world.until(lambda: world.state(name) == "suspect", 1.0) <= 0.25 + line.jitter_s  # noqa: B023
