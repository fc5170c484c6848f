"""Time for tests on a busy machine: one that stands still for a second is nobody's slowness."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Final

from hagw.lab.lab import Lab
from hagw.lab.traffic import Streams

LOOK_S: Final = 0.01
LATE_MAX_S: Final = 0.05  # what one look may be late by and still count


class _Attention:
    """Counts the time between looks, of which there is one every 10 ms unless everything stands still."""

    def __init__(self) -> None:
        self._state = (time.monotonic(), 0.0)  # the last look, and what had passed by then

    def look(self) -> None:
        """Take in the time since the last look."""
        self._state = time.monotonic(), self.passed_s()

    def passed_s(self) -> float:
        """Return the seconds that have passed; of each stall, 50 ms at most are among them."""
        seen, passed_s = self._state
        return passed_s + min(time.monotonic() - seen, LATE_MAX_S)


@contextlib.asynccontextmanager
async def attentive() -> AsyncIterator[Callable[[], float]]:
    """Yield how many seconds have passed for this event loop, stalls aside."""
    attention = _Attention()

    async def count() -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            attention.look()

    task = asyncio.get_running_loop().create_task(count())
    try:
        yield attention.passed_s
    finally:
        task.cancel()


@contextlib.contextmanager
def watching() -> Iterator[Callable[[], float]]:
    """Yield how many seconds have passed for this process, stalls aside; a thread looks."""
    attention, ending = _Attention(), threading.Event()

    def count() -> None:
        while not ending.wait(LOOK_S):
            attention.look()

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield attention.passed_s
    finally:
        ending.set()
        thread.join()


@contextlib.contextmanager
def metered(lab: Lab) -> Iterator[Streams]:
    """Yield transfers over a lab whose gaps and rates leave out what time the whole machine stood still."""
    with watching() as passed_s, Streams(lab, clock=passed_s) as streams:
        yield streams


class _Timeless(asyncio.SelectorEventLoop):
    """An event loop whose time is what was waited for, and nobody waits: for what neither reads nor runs threads."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._really = self._selector.select  # type: ignore[attr-defined]  # the base class has it
        self._selector.select = self._skip  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._now_s

    def _skip(self, wait_s: float | None) -> Any:
        self._now_s += wait_s or 0.0
        return self._really(wait_s and 0.0)


def timeless(story: Coroutine[Any, Any, None]) -> None:
    """Run something that only waits for times, each of which comes at once and exactly."""
    with asyncio.Runner(loop_factory=_Timeless) as runner:
        runner.run(story)
