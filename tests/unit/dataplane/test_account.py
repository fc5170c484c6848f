"""What each uplink carried for a connection, through subflows that come and go."""

from paths_rig import ALL, Kernel

from hagw.dataplane.account import Carried
from hagw.dataplane.paths import Paths


def test_a_subflow_that_died_is_joined_again_and_its_bytes_are_kept(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1", acked=10, received=20)
    kernel.establish("192.0.2.2", acked=100, received=200)
    paths.reconcile(ALL, 0.0)
    paths.observe(1.0)
    del kernel.subflows["192.0.2.2"]
    paths.observe(2.0)
    assert paths.carried() == {1: Carried(down=20, up=10), 2: Carried(down=200, up=100)}
    kernel.establish("192.0.2.2", 40_001, acked=1, received=2)
    paths.reconcile(ALL, 3.0)
    paths.observe(3.1)
    assert paths.carried()[2] == Carried(down=202, up=101)
    assert paths.by_uplink(ALL)["lte"] == {"down": 202, "up": 101}


def test_samples_are_what_was_carried_since_the_last_one(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1", acked=100, received=1_000)
    paths.samples(paths.observe(0.0), ALL)
    kernel.establish("192.0.2.1", acked=150, received=1_700)
    (sample,) = paths.samples(paths.observe(0.2), ALL)
    assert (sample.uplink, sample.bytes_up, sample.bytes_down) == ("dsl", 50, 700)
    kernel.establish("192.0.2.1", 40_001, acked=5, received=7)  # joined again meanwhile
    (sample,) = paths.samples(paths.observe(0.4), ALL)
    assert (sample.bytes_up, sample.bytes_down) == (5, 7)


def test_the_last_figures_survive_a_reset(paths: Paths, kernel: Kernel) -> None:
    kernel.establish("192.0.2.1", acked=100, received=1_000)
    paths.observe(0.0)
    kernel.establish("192.0.2.1", acked=0, received=0)
    paths.settle(1.0)
    assert paths.carried()[1] == Carried(down=1_000, up=100)
    kernel.establish("192.0.2.1", acked=300, received=3_000)
    paths.settle(2.0)
    assert paths.carried()[1] == Carried(down=3_000, up=300)
