"""How long a request waits for its gateway's acknowledgement: the time this machine stood still does not count."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from plane_rig import until

from hagw.convert.machine import ClientMachine
from hagw.dataplane import request as requests
from hagw.dataplane.gateway_book import GatewayBook
from hagw.dataplane.loop import EPOLLIN, Loop
from hagw.dataplane.request import ACK_WAIT_S, Request
from hagw.model.flow import FlowKey
from hagw.model.intent import FlowLimits

KEY = FlowKey("192.168.77.11", 40_000, "203.0.113.10", 443)


class Asked:
    """A request whose Connect is under way to a gateway that acknowledges when the test says so."""

    def __init__(self, *, fresh: bool, early: bytes = b"") -> None:
        self.loop = Loop()
        self.sock, self.gateway = socket.socketpair()
        self.may_have_arrived: bool | None = None
        self.unacked = 20
        self.heard: list[str] = []
        gateways = GatewayBook(self.loop, lambda event: None, lambda: None)
        worker: Any = SimpleNamespace(loop=self.loop, gateways=gateways, limits=FlowLimits())
        connection: Any = SimpleNamespace(
            gateway=SimpleNamespace(name="hag"),
            unacknowledged=lambda: self.unacked,
            sock=self.sock,
            machine=ClientMachine(),
            paths=SimpleNamespace(not_payload=lambda **_: None, shortest_s=lambda: 0.1),
        )
        self.loop.add(self.sock.fileno(), EPOLLIN, lambda mask: None)
        self.request = Request(worker, connection, KEY, self)
        if early:
            assert self.request.send(early)
        self.request.watch(fresh)

    def close(self) -> None:
        self.request.cancel()
        self.sock.close()
        self.gateway.close()

    def acknowledged(self) -> None:
        self.heard.append("acknowledged")

    def granted(self, connection: object, unsent: bytes, first: bytes) -> None:
        self.heard.append("granted")

    def refused(self, why: str) -> None:
        self.heard.append(why)

    def lost(self, connection: object, why: str, may_have_arrived: bool) -> None:
        self.heard.append(why)
        self.may_have_arrived = may_have_arrived


Ask = Callable[..., Asked]


@pytest.fixture
def ask() -> Iterator[Ask]:
    with contextlib.ExitStack() as stack:
        yield lambda **how: stack.enter_context(contextlib.closing(Asked(**how)))


def stand_still() -> None:
    """Let the time pass in which a request is given up, and nothing turn the loop meanwhile."""
    until_s = time.monotonic() + ACK_WAIT_S + 0.15
    while time.monotonic() < until_s:
        pass


@pytest.mark.parametrize("fresh", [True, False], ids=["heard lately", "silent for a while"])
def test_a_gateway_that_does_not_acknowledge_is_given_up(ask: Ask, fresh: bool) -> None:
    asked = ask(fresh=fresh)
    until(asked.loop, lambda: asked.heard)
    assert asked.heard == ["it did not acknowledge the request"]


@pytest.mark.parametrize("fresh", [True, False], ids=["heard lately", "silent for a while"])
def test_the_time_for_which_this_machine_stood_still_is_not_held_against_it(ask: Ask, fresh: bool) -> None:
    asked = ask(fresh=fresh)
    for _ in range(2):
        stand_still()
        asked.loop.turn(0.0)
        assert asked.heard == []
    asked.unacked = 0
    if not fresh:
        until(asked.loop, lambda: asked.heard)
        assert asked.heard == ["acknowledged"]


def test_a_machine_that_only_ever_stands_still_keeps_no_client_waiting_for_long(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "STALLED_MAX_S", 0.4)
    asked = ask(fresh=True)
    for _ in range(4):
        stand_still()
        asked.loop.turn(0.0)
    assert asked.heard == ["it did not acknowledge the request"]


@pytest.mark.parametrize("busy", [True, False])
def test_an_end_counts_from_when_it_came_not_from_when_its_turn_was(ask: Ask, busy: bool) -> None:
    """A gateway that dies ends its other thousand flows in the same turn."""
    asked = ask(fresh=True, early=b"GET /")
    other, trigger = socket.socketpair()
    with other, trigger:
        asked.loop.add(other.fileno(), EPOLLIN, lambda mask: stand_still() if busy else None)
        trigger.send(b"x")
        asked.gateway.close()
        asked.loop.turn(1.0)
    assert asked.heard == ["reset: Connection reset by peer"]
    assert asked.may_have_arrived is False
