"""An error nobody foresaw ends one connection, not the worker."""

import socket

import pytest

from hagw.dataplane.faults import Faults
from hagw.dataplane.loop import EPOLLIN, Loop


class Session:
    """A connection whose code fails."""

    def __init__(self, stubborn: bool = False) -> None:
        self.given_up: list[str] = []
        self.stubborn = stubborn

    def give_up(self, why: str) -> None:
        self.given_up.append(why)
        if self.stubborn:
            raise KeyError("again")

    def on_event(self, mask: int) -> None:
        raise ZeroDivisionError("boom")

    def on_timer(self) -> None:
        raise ZeroDivisionError("boom")


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_fault_in_a_handler_ends_its_session_alone(stubborn: bool, capfd: pytest.CaptureFixture[str]) -> None:
    loop, faults, broken, served = Loop(), Faults(), Session(stubborn), []
    loop.on_fault = faults.take
    one, two = socket.socketpair()
    with one, two:
        one.send(b"x")
        two.send(b"x")
        loop.add(one.fileno(), EPOLLIN, broken.on_event)
        loop.add(two.fileno(), EPOLLIN, served.append)
        loop.turn(0)
    assert broken.given_up == ["internal error"]
    assert served
    assert faults.count == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_faults_in_timers_and_deferred_work_do_not_stop_the_loop(capfd: pytest.CaptureFixture[str]) -> None:
    loop, faults, broken = Loop(), Faults(), Session()
    loop.on_fault = faults.take
    loop.call_in(0, broken.on_timer)
    loop.defer(broken.on_timer)
    done: list[int] = []
    loop.call_in(0.001, lambda: done.append(1))
    while not done:
        loop.turn(0.01)
    assert faults.count == 2
    assert broken.given_up == ["internal error", "internal error"]
    assert capfd.readouterr().err.count("Traceback") == 1


def test_without_a_boundary_a_fault_shows() -> None:
    loop = Loop()
    loop.defer(Session().on_timer)
    with pytest.raises(ZeroDivisionError):
        loop.turn(0)
