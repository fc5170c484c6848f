"""What the kernel tells of subflows leads to one look at the connection, and a storm of it to no more."""

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from plane_rig import turn_for, until

from hagw.dataplane.loop import Loop
from hagw.dataplane.subflow_watch import BURST_MAX, SubflowWatch
from hagw.kernel.mptcp_events import SubflowEvent


class News:
    """A kernel that tells what the test says; None = it had to drop something."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._told: list[list[SubflowEvent] | None] = []

    def tell(self, *portions: list[SubflowEvent] | None) -> None:
        self._told += portions
        os.write(self._write, b"x" * len(portions))

    def fileno(self) -> int:
        return self._read

    def read(self) -> list[SubflowEvent] | None:
        os.read(self._read, 1)
        return self._told.pop(0)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class Connection:
    """Counts the looks; news is what ends on port 1."""

    def __init__(self, token: int | None) -> None:
        self.paths = SimpleNamespace(token=token, is_news=lambda local, has_ended: has_ended and local[1] == 1)
        self.looks = 0

    def look(self) -> None:
        self.looks += 1


@pytest.fixture
def news() -> Iterator[News]:
    made = News()
    yield made
    made.close()


def ended(token: int, port: int = 1) -> SubflowEvent:
    return SubflowEvent(token, ("192.0.2.1", port), True)


def watched(news: News, *connections: Any) -> tuple[Loop, SubflowWatch]:
    loop = Loop()
    watch = SubflowWatch(loop, news)
    for connection in connections:
        watch.add(connection)
    return loop, watch


def test_only_the_connection_whose_subflow_ended_is_looked_at_and_once_for_a_burst(news: News) -> None:
    one, other, plain = Connection(7), Connection(8), Connection(None)
    loop, _ = watched(news, one, other, plain)
    news.tell([ended(7), ended(7), ended(8, port=2), ended(9)], [ended(7), SubflowEvent(8, ("192.0.2.1", 1), False)])
    until(loop, lambda: one.looks)
    turn_for(loop, 0.05)
    assert (one.looks, other.looks, plain.looks) == (1, 0, 0)
    news.tell([ended(8)])
    until(loop, lambda: other.looks)


def test_a_connection_that_is_gone_is_not_kept(news: News) -> None:
    one = Connection(7)
    loop, watch = watched(news, one)
    del one
    news.tell([ended(7)])
    turn_for(loop, 0.05)
    assert not watch._known


def test_what_was_dropped_and_what_is_too_much_is_left_to_the_looks_that_come_anyway(news: News) -> None:
    many = [Connection(token) for token in range(BURST_MAX + 50)]
    loop, watch = watched(news, *many)
    news.tell([ended(token) for token in range(BURST_MAX + 50)], None)
    turn_for(loop, 0.2)
    until(loop, lambda: sum(each.looks for each in many) == BURST_MAX)
    assert watch.dropped == 1
    news.tell([ended(BURST_MAX + 1)])
    until(loop, lambda: many[BURST_MAX + 1].looks)


def test_a_kernel_that_tells_nothing_is_no_obstacle() -> None:
    watch = SubflowWatch(Loop(), None)
    watch.add(Connection(7))  # type: ignore[arg-type]  # a script
