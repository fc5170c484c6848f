"""What a gateway allows us is kept to before it has to refuse: counted over all workers, told in the flow's reason."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from session_rig import GRANTED, Rig

from hagw.dataplane.allowance import Allowance
from hagw.model.intent import CustomerLimits, FlowLimits, PoolIntent
from hagw.model.snapshot import CpeSnapshot, GatewayView


@pytest.fixture
def rig(network: str) -> Iterator[Rig]:
    rig = Rig(network)
    yield rig
    rig.close()


def allowing(snapshot: CpeSnapshot, limits: CustomerLimits, workers: int = 1) -> CpeSnapshot:
    return replace(snapshot, gateways=(replace(snapshot.gateways[0], limits=limits),), workers=workers)


@pytest.mark.netns
def test_a_flow_beyond_our_limit_goes_directly_without_asking(rig: Rig) -> None:
    rig.worker.apply(allowing(rig.snapshot, CustomerLimits(connections_max=2)))
    rig.worker.take_elsewhere({"hag": 1})  # of another worker
    warm = rig.warm()
    rig.fresh()
    first = rig.open(b"one")
    rig.asked(warm, b"one")
    warm.sock.sendall(GRANTED)
    assert rig.worker.stats()["through"] == {"hag": 1}
    rig.open(b"two")
    server = rig.server.accept(rig.loop)
    assert [session.path for session in rig.worker.sessions.values()] == ["converted", "direct"]
    assert "our limit of 2 connections at hag is reached" in list(rig.worker.sessions.values())[1].why
    assert rig.worker.policy is not None
    assert rig.worker.policy.pool.all  # nobody is left alone for it
    server.sock.close()
    first.sock.close()


def made(limits: CustomerLimits, workers: int, plain: CpeSnapshot) -> Allowance:
    allowance = Allowance()
    allowance.apply(allowing(plain, limits, workers))
    return allowance


@pytest.fixture
def plain() -> CpeSnapshot:
    gateway = GatewayView("hag", ("198.51.100.1",), 5124, "home", "11" * 32, "up")
    return CpeSnapshot(1, (), (gateway,), (), PoolIntent(), FlowLimits(), "cubic")


def test_new_connections_a_second_are_shared_among_workers(plain: CpeSnapshot) -> None:
    allowance = made(CustomerLimits(connects_per_s=10), 2, plain)
    assert [bool(allowance.hindrance("hag", 5.0)) for _ in range(12)] == 10 * [False] + 2 * [True]  # two seconds' worth
    assert not allowance.hindrance("hag", 5.2)
    assert allowance.hindrance("hag", 5.2) == "our limit of 10 new connections a second at hag is reached"
    assert not allowance.hindrance("other", 5.2)


def test_a_flow_counts_for_the_gateway_it_goes_through_last_and_no_more_when_it_leaves(plain: CpeSnapshot) -> None:
    allowance = made(CustomerLimits(connections_max=1), 1, plain)
    allowance.took(7, "hag")
    assert allowance.hindrance("hag", 0.0)
    allowance.took(7, "hag2")
    assert not allowance.hindrance("hag", 0.0)
    allowance.took(7, "hag")
    allowance.left(7)
    allowance.left(7)
    assert not allowance.hindrance("hag", 0.0)
