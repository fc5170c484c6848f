"""The pool of warm connections: it grows and shrinks with demand, and follows the best line."""

import gc
import os
import socket
from collections.abc import Iterator

import pytest
from plane_rig import LINES, turn_for, until
from session_rig import GRANTED, Rig, second_line_is_better

from hagw.convert.errors import ErrorCode
from hagw.convert.message import encode
from hagw.convert.tlv import Error
from hagw.model.intent import PoolIntent

pytestmark = pytest.mark.netns


@pytest.fixture
def rig(network: str) -> Iterator[Rig]:
    made = Rig(network)
    yield made
    made.close()


def test_a_pool_grows_with_demand_and_shrinks_again(rig: Rig) -> None:
    rig.apply(pool=PoolIntent(size_min=1, size_max=3))
    rig.warm()
    pool = rig.pool()
    for target in (1, 2, 3, 3):
        while (taken := pool.take()) is not None:
            taken.close()
        assert pool.target == min(target + 1, 3)
    until(rig.loop, lambda: pool.ready() == 3)
    pool._quiet_since -= 61.0
    pool.tend()
    assert pool.target == 1
    pool.tend()
    assert pool.ready() == 1


def test_a_warm_connection_that_ends_is_replaced(rig: Rig) -> None:
    rig.warm().sock.close()
    pool = rig.pool()
    until(rig.loop, lambda: pool.ready() == 0)
    until(rig.loop, lambda: pool.ready() == 1)
    assert not rig.events("gateway-failed")


def test_a_converter_that_refuses_our_cookie_is_no_way_for_flows(rig: Rig) -> None:
    conversation = rig.warm()
    conversation.send_all(rig.loop, encode((Error(ErrorCode.NOT_AUTHORIZED, b"\0"),)))
    until(rig.loop, lambda: rig.worker.stats()["pool"] == {"hag": 0})
    assert "32" in rig.events("gateway-failed")[0]["reason"]
    rig.open(b"x")
    accepted = rig.server.accept(rig.loop)
    until(rig.loop, lambda: accepted.has(b"x"))


def test_old_warm_connections_are_retired(rig: Rig) -> None:
    rig.apply(pool=PoolIntent(size_min=1, idle_s=0.2))
    conversation = rig.warm()
    turn_for(rig.loop, 0.25)
    rig.pool().tend()
    until(rig.loop, lambda: conversation.saw("reset"))
    until(rig.loop, lambda: rig.pool().ready() == 1)


def test_warm_connections_begin_anew_when_another_line_is_the_best(rig: Rig) -> None:
    """Else the first bytes of flows go over the line that was the best once."""
    before = rig.warm()
    rig.pool().tend()
    assert rig.pool().ready() == 1
    second_line_is_better(rig)
    rig.pool().tend()
    until(rig.loop, lambda: before.saw("reset"))
    until(rig.loop, lambda: rig.pool().ready() == 1)
    assert rig.converter.accept(rig.loop).sock.getpeername()[0] == LINES[1]


def test_a_flow_takes_a_warm_connection_that_begins_over_the_best_line(rig: Rig) -> None:
    rig.warm()
    second_line_is_better(rig)
    pool = rig.pool()
    pool.target = 3
    pool.refill()
    until(rig.loop, lambda: pool.ready() == 3)
    rig.apply()
    taken = rig.pool().take()
    assert taken is not None
    assert taken.initial == 1
    taken.close()


def test_a_closed_pool_opens_nothing_more(rig: Rig) -> None:
    conversation = rig.warm()
    rig.fresh()
    rig.open(b"x")
    rig.asked(conversation, b"x")
    rig.worker.close()
    turn_for(rig.loop, 0.1)
    assert len(rig.converter.accepted) == 1


def test_many_flows_leave_no_descriptor(rig: Rig) -> None:
    """Served, given up by the client, given up by the converter: in turn."""
    gc.collect()  # loops of other tests
    descriptors = set()
    for number in range(30):
        conversation = rig.warm()
        rig.fresh()
        client = rig.open(b"x")
        rig.asked(conversation, b"x")
        match number % 3:
            case 0:
                conversation.send_all(rig.loop, GRANTED)
                conversation.sock.shutdown(socket.SHUT_WR)
                client.sock.shutdown(socket.SHUT_WR)
            case 1:
                client.reset()
            case 2:
                conversation.reset()
        until(rig.loop, lambda: not rig.worker.sessions)
        rig.worker.close()
        rig.loop.turn(0.0)
        for peer in [client, *rig.converter.accepted]:
            peer.sock.close()
        descriptors.add(len(os.listdir("/proc/self/fd")))
    assert len(descriptors) == 1
