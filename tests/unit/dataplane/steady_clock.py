"""A monotonic clock on which this process' stalls are no time: a busy machine may stop a test for a second anywhere."""

import select
import time
from types import SimpleNamespace
from typing import Any

import pytest

from hagw.dataplane import loop

LATE_S = 0.001  # a wait ends by so much later than it was asked to on a machine that has nothing else to do


class SteadyClock:
    """Counts what the loop waited for, as long as it asked to at most, and what the processor worked."""

    def __init__(self) -> None:
        self._now_s = time.monotonic()
        self._worked_s = time.thread_time()

    def monotonic(self) -> float:
        """Stand in for `time.monotonic`."""
        worked_s = time.thread_time()
        self._now_s += worked_s - self._worked_s
        self._worked_s = worked_s
        return self._now_s

    def waited(self, asked_s: float, took_s: float) -> None:
        """Take in how long a wait took."""
        self._now_s += min(took_s, asked_s + LATE_S)


class SteadyEpoll:
    """An epoll that tells the clock of its waits."""

    def __init__(self, clock: SteadyClock, real_s: Any) -> None:
        self._clock, self._real_s, self._epoll = clock, real_s, select.epoll()
        self.register, self.modify, self.unregister = self._epoll.register, self._epoll.modify, self._epoll.unregister

    def poll(self, wait_s: float, most: int) -> list[tuple[int, int]]:
        """Wait as epoll does."""
        began_s = self._real_s()
        ready = self._epoll.poll(wait_s, most)
        self._clock.waited(wait_s, self._real_s() - began_s)
        return ready


def keep_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loop, and everybody who asks for the time, go by a steady clock."""
    real_s, clock = time.monotonic, SteadyClock()
    offered = {name: getattr(select, name) for name in dir(select) if name.startswith("EPOLL")}
    monkeypatch.setattr(loop, "select", SimpleNamespace(epoll=lambda: SteadyEpoll(clock, real_s), **offered))
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
