"""Time for tests on a busy machine: one that stands still for a second is nobody's slowness."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

LOOK_S: Final = 0.01
LATE_MAX_S: Final = 0.05  # what one look may be late by and still count


@contextlib.asynccontextmanager
async def attentive() -> AsyncIterator[Callable[[], float]]:
    """Yield how many seconds have passed for this event loop; of each stall, 50 ms at most are among them."""
    passed_s = 0.0

    async def count() -> None:
        nonlocal passed_s
        seen = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            passed_s, seen = passed_s + min(now - seen, LATE_MAX_S), now

    task = asyncio.get_running_loop().create_task(count())
    try:
        yield lambda: passed_s
    finally:
        task.cancel()


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
