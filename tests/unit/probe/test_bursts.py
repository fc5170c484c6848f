"""Bursts of events: read as one, in bounded time however many there are, and none is forgotten."""

import asyncio
import socket
import time
from itertools import pairwise
from typing import Self

from hagw.probe.bursts import Bursts, datagrams

FIRST_S, LONGEST_S = 0.01, 0.08


class Reader:
    """Counts calls, and reads all that is there."""

    def __init__(self, *, lead: bool) -> None:
        self.sender, self.receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sender.setblocking(False)
        self.receiver.setblocking(False)
        self.calls: list[float] = []
        self.read: list[bool] = []
        self.storm = False
        self.bursts = Bursts(self.receiver, self._read, first_s=FIRST_S, longest_s=LONGEST_S, lead=lead)
        self.bursts.start()

    def send(self) -> None:
        try:
            self.sender.send(b"event")
        except BlockingIOError:
            pass  # as the kernel does when the buffer is full

    async def called(self, times: int) -> None:
        """Wait until it has been called so often; a burst's pauses are the least that passes, not the most."""
        async with asyncio.timeout(30):
            while len(self.calls) < times:
                await asyncio.sleep(0.005)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.bursts.stop()
        self.sender.close()

    def _read(self) -> bool:
        self.calls.append(time.monotonic())
        if self.storm:
            self.send()
        self.read.append(len(list(datagrams(self.receiver, 10_000))) > 0)
        return self.read[-1]


def test_a_burst_is_read_as_one_after_a_pause() -> None:
    async def scenario() -> None:
        with Reader(lead=True) as reader:
            began = time.monotonic()
            for _ in range(50):
                reader.send()
            await reader.called(2)  # the second finds nothing, so the next event begins anew
            assert reader.calls[0] - began > FIRST_S * 0.9
            await asyncio.sleep(4 * FIRST_S)
            assert len(reader.calls) == 2
            reader.send()
            await reader.called(4)
            await asyncio.sleep(4 * FIRST_S)
            assert len(reader.calls) == 4

    asyncio.run(scenario())


def test_without_a_lead_the_first_event_is_read_at_once() -> None:
    async def scenario() -> None:
        with Reader(lead=False) as reader:
            reader.send()
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # no timer was waited for
            assert reader.calls

    asyncio.run(scenario())


def test_an_endless_storm_is_read_ever_more_rarely_and_its_last_event_is_seen() -> None:
    async def scenario() -> None:
        with Reader(lead=True) as reader:
            reader.storm = True
            reader.send()
            await reader.called(8)
            apart = [later - earlier for earlier, later in pairwise(reader.calls[:8])]
            least = (FIRST_S, 2 * FIRST_S, 4 * FIRST_S, *[LONGEST_S] * 4)
            assert all(passed > 0.9 * pause for passed, pause in zip(apart, least, strict=True))
            reader.storm = False
            reader.send()
            last = len(reader.calls)
            await reader.called(last + 2)
            assert reader.read[last:] == [True, False]

    asyncio.run(scenario())


def test_what_is_begun_from_outside_waits_like_an_event() -> None:
    async def scenario() -> None:
        with Reader(lead=True) as reader:
            reader.bursts.begin()
            reader.bursts.begin()
            await reader.called(1)
            await asyncio.sleep(4 * FIRST_S)
            assert len(reader.calls) == 1

    asyncio.run(scenario())
