"""Which lines are used when few are left, or one was never there, in simulated time."""

from fleet_world import SimLine, World, demo

from hagw.health.link import Link
from hagw.health.liveness import KEPT


def test_two_lines_that_die_together_are_both_found() -> None:
    world = demo("download")
    world.lines["dsl"].blackhole()
    world.lines["lte"].blackhole()
    world.until(lambda: world.state("dsl") == world.state("lte") == "suspect", 0.5)
    world.run(1.0)
    assert world.state("wifi") == "up"
    assert world.reach() == "up"


def test_there_is_always_a_line_to_use() -> None:
    world = demo("download")
    for name in ("dsl", "lte", "wifi"):
        world.lines[name].blackhole()
        world.run(2.0)
    for _ in range(200):
        world.run(0.1)
        assert {world.state(name) for name in world.lines} & {"up", "suspect"}
    for line in world.lines.values():
        line.heal()
    world.until(lambda: {world.state(name) for name in world.lines} == {"up"}, 4.0)


def test_the_last_line_is_kept_and_says_why() -> None:
    world = demo("download")
    world.run(1.0)
    for name in ("dsl", "wifi", "lte"):
        world.lines[name].blackhole()
        world.run(1.0)
        assert "up" in {world.state(n) for n in world.lines}
    for _ in range(300):
        world.run(0.1)
        assert "up" in {world.state(n) for n in world.lines}


def test_a_lone_line_that_swallows_everything_stays_in_use() -> None:
    world = demo(None, names=("dsl",))
    dsl = world.lines["dsl"]
    dsl.blackhole()
    for _ in range(600):
        dsl.tx += 1
        world.run(0.01)
    health = world.fleet.uplinks()["dsl"]
    assert (health.state, health.reason) == ("up", KEPT)
    dsl.heal()
    world.run(5.0)
    assert world.fleet.uplinks()["dsl"].reason == ""


def test_a_lone_line_that_moves_to_another_address_is_not_the_gateways_fault() -> None:
    """Its questions from before are answered to an address that is gone; a busy machine takes a while to move it."""
    world = demo("download", names=("dsl",))
    dsl = world.lines["dsl"]
    dsl.blackhole()
    world.run(0.35)
    world.fleet.rerouted("dsl")
    world.run(0.25)
    assert world.reach() == "up"
    dsl.heal()
    world.run(0.5)
    assert not [change for change in world.changes if change[1] == "gw"]


def test_a_suspect_line_is_used_again_when_the_last_good_one_loses_its_carrier() -> None:
    world = demo("download", names=("dsl", "lte"))
    world.lines["lte"].blackhole()
    world.until(lambda: world.state("lte") == "suspect", 1.0)
    world.run(1.0)
    world.fleet.link_changed("dsl", Link(carrier=False), world.now)
    world.run(0.1)
    health = world.fleet.uplinks()["lte"]
    assert (health.state, health.reason) == ("up", KEPT)
    world.fleet.link_changed("dsl", Link(), world.now)
    world.until(lambda: world.state("dsl") == "up" and world.state("lte") == "suspect", 5.0)


def test_a_line_just_back_is_verified_although_it_is_the_only_one_with_a_carrier() -> None:
    world = World(1, dsl=SimLine(kind="dsl"))
    world.run(0.01)
    assert world.state("dsl") == "up"


def test_a_line_that_never_worked_is_found_out_and_the_others_are_used() -> None:
    world = World(1, dsl=SimLine(kind="dsl"), lte=SimLine(kind="wwan", delay_s=0.025))
    world.lines["lte"].blackhole()
    world.run(0.2)
    assert world.state("dsl") == "up"
    world.run(3.0)
    assert world.state("lte") == "suspect"
    assert "has not answered" in world.fleet.uplinks()["lte"].reason
    world.run(10.0)
    assert world.state("lte") == "down"
    world.lines["lte"].heal()
    world.until(lambda: world.state("lte") == "up", 2.0)


def test_carrier_loss_counts_at_once_and_its_return_is_verified_first() -> None:
    world = demo("download")
    dsl = world.lines["dsl"]
    world.fleet.link_changed("dsl", Link(carrier=False), world.now)
    health = world.fleet.uplinks()["dsl"]
    assert (health.state, health.reason) == ("down", "no carrier")
    world.run(3.0)
    dsl.blackhole()
    world.fleet.link_changed("dsl", Link(), world.now)
    world.run(0.5)
    assert world.state("dsl") == "suspect"
    dsl.heal()
    assert world.until(lambda: world.state("dsl") == "up", 2.0) <= 0.5


def test_a_disabled_line_is_left_alone() -> None:
    world = demo(None)
    world.lines["dsl"].link = Link(enabled=False)
    world.configure()
    assert world.state("dsl") == "disabled"
    world.asks.clear()
    world.run(3.0)
    assert not [ask for _, ask in world.asks if ask.line == "dsl"]
    world.lines["dsl"].link = Link()
    world.configure()
    world.until(lambda: world.state("dsl") == "up", 0.5)
