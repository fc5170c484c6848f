"""The wait for a client's first bytes: as short as can be, and nothing of them is taken."""

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from plane_rig import tcp_pair, turn_for, until

from hagw.dataplane.cpe import CpeWorker
from hagw.dataplane.loop import Loop
from hagw.dataplane.naming import REST_WAIT_S, NameWait
from hagw.model.flow import FlowKey
from hagw.policy.first_bytes import Named
from hagw.policy.names import Learnt

sys.path.append(str(Path(__file__).parents[1] / "policy"))
from hellos import real

HELLO = real("www.example.org")
NAME = Named("www.example.org", "sni")
WAIT_S = 0.02


class Waiting:
    """One connection whose name is waited for."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.client, self.near = tcp_pair()
        self.told: list[Named | None] = []
        self.began = time.monotonic()
        self.wait = NameWait(self.loop, self.near, WAIT_S, lambda wait, found: self.told.append(found))

    def took_s(self) -> float:
        until(self.loop, lambda: self.told)
        return time.monotonic() - self.began

    def left(self) -> bytes:
        try:
            return self.near.recv(1 << 16)
        except BlockingIOError:
            return b""


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    each = Waiting()
    yield each
    each.client.close()
    each.near.close()


def test_a_name_ends_the_wait_at_once_and_the_bytes_stay(waiting: Waiting) -> None:
    waiting.client.send(HELLO)
    assert waiting.took_s() < WAIT_S
    assert waiting.told == [NAME]
    assert waiting.left() == HELLO


def test_a_silent_client_is_waited_for_no_longer_than_told(waiting: Waiting) -> None:
    assert WAIT_S <= waiting.took_s() < WAIT_S + 0.05
    assert waiting.told == [None]


def test_half_a_hello_is_waited_for_without_spinning(waiting: Waiting) -> None:
    waiting.client.send(HELLO[:40])
    assert turn_for(waiting.loop, WAIT_S * 2) < 6
    assert waiting.told == []
    waiting.client.send(HELLO[40:])
    assert waiting.took_s() < REST_WAIT_S
    assert waiting.told == [NAME]
    assert waiting.left() == HELLO
    waiting.client.send(b"x")
    until(waiting.loop, waiting.left)  # the low-water mark is what it was


def test_half_a_hello_and_no_more_ends_in_time(waiting: Waiting) -> None:
    waiting.client.send(HELLO[:40])
    assert waiting.took_s() < WAIT_S + REST_WAIT_S + 0.05
    assert waiting.told == [None]


@pytest.mark.parametrize("how", ["finishes", "resets", "says something else"])
def test_what_can_tell_no_name_ends_the_wait_at_once(waiting: Waiting, how: str) -> None:
    waiting.client.send(HELLO[:40] if how != "says something else" else b"SSH-2.0-x\r\n")
    if how == "finishes":
        waiting.client.shutdown(socket.SHUT_WR)
    elif how == "resets":
        waiting.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        waiting.client.close()
    assert waiting.took_s() < WAIT_S
    assert waiting.told == [None]


def test_what_dns_told_stands_in_only_where_the_first_bytes_tell_nothing() -> None:
    loop = Loop()
    worker = CpeWorker(loop, None, lambda event: None)  # type: ignore[arg-type]  # no connection is made
    key = FlowKey("192.168.77.11", 40_000, "203.0.113.10", 443)
    loop.now = 100.0
    assert worker.intake.with_name(key, None) == key
    worker.learn([Learnt("203.0.113.10", name, 200.0) for name in ("a.example", "b.example")])
    told = worker.intake.with_name(key, None)
    assert (told.domain, told.domain_source, told.names) == ("b.example", "dns", ("b.example", "a.example"))
    said = worker.intake.with_name(key, NAME)
    assert (said.domain, said.domain_source, said.others) == ("www.example.org", "sni", ())
    loop.now = 201.0
    assert worker.intake.with_name(key, None) == key
