"""The guard of the nft table, over a scripted kernel."""

import asyncio
from collections.abc import Awaitable, Callable

from hagw.control.table_guard import TableGuard
from hagw.errors import KernelRefused
from tests.attentive import timeless


class Kernel:
    """A table that is there or not; `failures` of the next attempts fail."""

    def __init__(self) -> None:
        self.is_whole = True
        self.failures = 0
        self.looks = 0
        self.restored = 0

    async def restore_table(self) -> bool:
        self.looks += 1
        if self.failures:
            self.failures -= 1
            raise KernelRefused("not now")
        was_whole, self.is_whole = self.is_whole, True
        self.restored += not was_whole
        return not was_whole


def guarded(story: Callable[[TableGuard, Kernel], Awaitable[None]]) -> list[str]:
    repairs: list[str] = []

    async def play() -> None:
        kernel = Kernel()
        guard = TableGuard(kernel, lambda: repairs.append("repaired"))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(guard.run())
            await story(guard, kernel)
            task.cancel()

    timeless(play())
    return repairs


def test_a_lost_table_is_put_back_at_once_and_the_loop_looks_at_the_rest() -> None:
    async def story(guard: TableGuard, kernel: Kernel) -> None:
        kernel.is_whole = False
        guard.touched()
        await asyncio.sleep(0.001)
        assert kernel.is_whole

    assert guarded(story) == ["repaired"]


def test_a_touch_that_changed_nothing_is_nothing() -> None:
    async def story(guard: TableGuard, kernel: Kernel) -> None:
        guard.touched()
        await asyncio.sleep(0.01)
        assert kernel.looks == 1

    assert guarded(story) == []


def test_somebody_who_removes_it_again_and_again_is_answered_ever_more_rarely() -> None:
    async def story(guard: TableGuard, kernel: Kernel) -> None:
        for _ in range(300):
            kernel.is_whole = False
            guard.touched()
            await asyncio.sleep(0.001)
        assert 3 <= kernel.restored <= 8

    guarded(story)


def test_a_failure_is_not_the_end_of_guarding() -> None:
    async def story(guard: TableGuard, kernel: Kernel) -> None:
        kernel.is_whole, kernel.failures = False, 1
        guard.touched()
        await asyncio.sleep(0.02)
        assert not kernel.is_whole
        guard.touched()
        await asyncio.sleep(0.02)
        assert kernel.is_whole

    assert len(guarded(story)) == 2
