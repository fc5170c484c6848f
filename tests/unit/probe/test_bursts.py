"""Bursts of events: read as one, in bounded time however many there are, and none is forgotten."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from itertools import chain, islice, pairwise, repeat
from typing import Any, Self

from hagw.probe.bursts import Bursts, datagrams

FIRST_S, LONGEST_S = 0.01, 0.08


class Listening(asyncio.SelectorEventLoop):
    """An event loop that keeps which pauses bursts ask it for: how long they take is the machine's affair."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, **options: Any) -> Any:
        if isinstance(getattr(callback, "__self__", None), Bursts):
            self.pauses.append(delay)
        return super().call_later(delay, callback, *args, **options)


def pauses_of(scenario: Callable[[], Coroutine[Any, Any, None]]) -> list[float]:
    """Run a scenario; return the pauses that its bursts asked for, in their order."""
    loop = Listening()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(scenario())
    return loop.pauses


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

    assert pauses_of(scenario) == [FIRST_S] * 4


def test_without_a_lead_the_first_event_is_read_at_once() -> None:
    async def scenario() -> None:
        with Reader(lead=False) as reader:
            reader.send()
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # no timer was waited for
            assert reader.calls

    assert pauses_of(scenario) == [FIRST_S]  # before the next look


def test_an_endless_storm_is_read_ever_more_rarely_and_its_last_event_is_seen() -> None:
    called = 0

    async def scenario() -> None:
        nonlocal called
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
            called = len(reader.calls)

    asked = pauses_of(scenario)
    assert called >= 10
    assert asked == list(islice(chain((FIRST_S, FIRST_S, 0.02, 0.04), repeat(LONGEST_S)), called))


def test_what_is_begun_from_outside_waits_like_an_event() -> None:
    async def scenario() -> None:
        with Reader(lead=True) as reader:
            reader.bursts.begin()
            reader.bursts.begin()
            await reader.called(1)
            await asyncio.sleep(4 * FIRST_S)
            assert len(reader.calls) == 1

    assert pauses_of(scenario) == [FIRST_S]
