"""The epoll loop: timers, deferred work, and descriptors that come and go within one turn."""

import os
import socket
import time
from collections.abc import Iterator

import pytest
from plane_rig import turn_for, until

from hagw.dataplane.loop import DEFERRED_A_TURN, EPOLLIN, EPOLLOUT, Loop


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    for sock in (one, other):
        sock.setblocking(False)
    yield one, other
    one.close()
    other.close()


def test_timers_come_in_their_order_and_not_early(loop: Loop) -> None:
    came: list[tuple[str, float]] = []
    began = time.monotonic()
    for name, delay in (("late", 0.03), ("soon", 0.01), ("later", 0.05)):
        loop.call_in(delay, lambda name=name: came.append((name, time.monotonic() - began)))
    until(loop, lambda: len(came) == 3)
    assert [name for name, _ in came] == ["soon", "late", "later"]
    assert all(at >= due for (_, at), due in zip(came, (0.01, 0.03, 0.05), strict=True))


def test_a_cancelled_timer_does_not_come_nor_wake_the_loop(loop: Loop) -> None:
    came: list[int] = []
    loop.call_in(0.01, lambda: came.append(1)).cancel()
    assert turn_for(loop, 0.05) == 1
    assert not came


def test_cancelled_timers_are_forgotten_long_before_they_are_due(loop: Loop) -> None:
    """A warm connection's timer is set for half an hour and cancelled after milliseconds."""
    kept = [loop.call_in(1_000.0, lambda: None) for _ in range(10)]
    for _ in range(100_000):
        loop.call_in(1_800.0, lambda: None).cancel()
    assert len(loop._timers) < 10_000
    assert all(timer in loop._timers for timer in kept)


def test_a_timer_may_set_the_next_one(loop: Loop) -> None:
    came: list[float] = []

    def again() -> None:
        came.append(loop.now)
        loop.call_in(0.005, again)

    again()
    turn_for(loop, 0.05)
    assert 3 <= len(came) <= 12


def test_deferred_work_is_done_in_order_a_bounded_number_a_turn(loop: Loop) -> None:
    done: list[int] = []
    for number in range(3 * DEFERRED_A_TURN):
        loop.defer(lambda number=number: done.append(number))
    loop.turn()
    assert done == list(range(DEFERRED_A_TURN))
    loop.turn()
    loop.turn()
    assert done == list(range(3 * DEFERRED_A_TURN))


def test_deferred_work_does_not_keep_events_waiting(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    """Work that defers itself again comes once a turn, between events."""
    order: list[str] = []

    def work() -> None:
        order.append("work")
        loop.defer(work)

    loop.defer(work)
    loop.add(pair[0].fileno(), EPOLLIN, lambda mask: order.append("event"))
    pair[1].send(b"x")
    for _ in range(3):
        loop.turn()
    assert order == ["event", "work"] * 3


def test_a_closed_descriptor_gets_no_event_of_the_same_turn(loop: Loop) -> None:
    """Both are ready; whichever is served first closes the other, whose number nobody may get before the turn ends."""
    socks = [socket.socketpair() for _ in range(2)]
    served: list[int] = []
    reused: list[int] = []

    def serve(index: int) -> None:
        served.append(index)
        loop.close(socks[1 - index][0])
        with socket.socket() as fresh:
            reused.append(fresh.fileno())

    numbers = [ours.fileno() for ours, _ in socks]
    for index, (ours, theirs) in enumerate(socks):
        loop.add(ours.fileno(), EPOLLIN, lambda mask, index=index: serve(index))
        theirs.send(b"x")
    loop.turn()
    assert len(served) == 1
    assert not set(numbers) & set(reused)
    assert socks[1 - served[0]][0].fileno() == -1
    for ours, theirs in socks:
        ours.close()
        theirs.close()


def test_a_number_used_again_belongs_to_its_new_owner(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    got: list[str] = []
    number = pair[0].fileno()
    loop.add(number, EPOLLIN, lambda mask: got.append("old"))
    loop.close(pair[0])
    loop.turn(0.0)
    one, other = socket.socketpair()
    with one, other:
        assert one.fileno() == number
        loop.add(number, EPOLLIN, lambda mask: got.append("new"))
        other.send(b"x")
        loop.turn(0.1)
        loop.remove(number)
    assert got == ["new"]


def test_handler_and_mask_change_hands(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    got: list[tuple[str, int]] = []
    loop.add(pair[0].fileno(), EPOLLIN, lambda mask: got.append(("first", mask)))
    loop.turn(0.0)
    assert not got
    loop.set_handler(pair[0].fileno(), lambda mask: got.append(("second", mask)))
    loop.set_mask(pair[0].fileno(), EPOLLOUT)
    loop.turn(0.1)
    assert got == [("second", EPOLLOUT)]


def test_removing_what_is_not_watched_is_harmless(loop: Loop) -> None:
    read, write = os.pipe()
    loop.remove(read)
    loop.add(read, EPOLLIN, lambda mask: None)
    loop.remove(read)
    loop.remove(read)
    os.close(read)
    os.close(write)


def test_run_serves_until_stopped(loop: Loop) -> None:
    loop.call_in(0.01, loop.stop)
    loop.run()
