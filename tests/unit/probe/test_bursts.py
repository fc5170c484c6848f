"""Bursts of events: read as one, in bounded time however many there are, and none is forgotten."""

import asyncio
import socket
import time

from hagw.probe.bursts import Bursts, datagrams

FIRST_S, LONGEST_S = 0.01, 0.08


class Reader:
    """Counts calls, and reads all that is there."""

    def __init__(self, *, lead: bool) -> None:
        self.sender, self.receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sender.setblocking(False)
        self.receiver.setblocking(False)
        self.calls: list[float] = []
        self.bursts = Bursts(self.receiver, self._read, first_s=FIRST_S, longest_s=LONGEST_S, lead=lead)
        self.bursts.start()

    def send(self) -> None:
        try:
            self.sender.send(b"event")
        except BlockingIOError:
            pass  # as the kernel does when the buffer is full

    def stop(self) -> None:
        self.bursts.stop()
        self.sender.close()

    def _read(self) -> bool:
        self.calls.append(time.monotonic())
        return len(list(datagrams(self.receiver, 10_000))) > 0


def test_a_burst_is_read_as_one_after_a_pause() -> None:
    async def scenario() -> None:
        reader = Reader(lead=True)
        began = time.monotonic()
        for _ in range(50):
            reader.send()
        await asyncio.sleep(0.06)
        first, second = reader.calls
        assert FIRST_S * 0.9 < first - began < FIRST_S + 0.03
        assert second > first  # found nothing, so the next event begins anew
        reader.send()
        await asyncio.sleep(0.06)
        assert len(reader.calls) == 4
        reader.stop()

    asyncio.run(scenario())


def test_without_a_lead_the_first_event_is_read_at_once() -> None:
    async def scenario() -> None:
        reader = Reader(lead=False)
        reader.send()
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # no timer was waited for
        assert reader.calls
        reader.stop()

    asyncio.run(scenario())


def test_an_endless_storm_is_read_ever_more_rarely_and_its_last_event_is_seen() -> None:
    async def scenario() -> None:
        reader = Reader(lead=True)
        began = time.monotonic()
        while time.monotonic() - began < 0.5:
            for _ in range(20):
                reader.send()
            await asyncio.sleep(0.001)
        ended = time.monotonic()
        # 10, 20, 40, 80, 80 … ms apart
        assert 4 <= len(reader.calls) <= 11
        await asyncio.sleep(2 * LONGEST_S + 0.05)
        assert reader.calls[-1] > ended
        reader.stop()

    asyncio.run(scenario())


def test_what_is_begun_from_outside_waits_like_an_event() -> None:
    async def scenario() -> None:
        reader = Reader(lead=True)
        reader.bursts.begin()
        reader.bursts.begin()
        await asyncio.sleep(0.05)
        assert len(reader.calls) == 1
        reader.stop()

    asyncio.run(scenario())
