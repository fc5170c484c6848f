"""Reads the table's counters every few seconds, and has `hagw.control.arrivals` judge whether connections arrive."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from hagw.control.arrivals import Arrivals, Family
from hagw.control.ports import KernelPort
from hagw.errors import HagwError
from hagw.log import log_of

COUNT_SOON_S: Final = 0.5
COUNT_S: Final = 2.0  # how long intercepted connections may be swallowed unnoticed; reading the counts takes 2 ms

log = log_of("hagw.gateway")


class ArrivalWatch:
    """A CPE's; on a HAG nothing is counted and nothing is blocked."""

    def __init__(self, kernel: KernelPort, look_again: Callable[[], None]) -> None:
        self.counted: Mapping[str, int] = {}  # as last read, {} = it could not be
        self._kernel = kernel
        self._look_again = look_again
        self._arrivals = Arrivals()

    def blocked(self) -> frozenset[Family]:
        """Return the families that are not to be intercepted now."""
        return self._arrivals.blocked(asyncio.get_running_loop().time())

    def due_at(self) -> float | None:
        """Return when the next family is to be tried again, None = none is blocked."""
        return self._arrivals.due_at(asyncio.get_running_loop().time())

    def retry(self) -> bool:
        """Try what is blocked with the next pass: what swallowed it may be gone. Return whether there was any."""
        return self._arrivals.retry()

    async def run(self) -> None:
        """Count, for ever."""
        while True:
            try:
                self.counted = await self._kernel.counters()
                self._look()
            except HagwError:
                self.counted = {}  # whoever reconciles says what is wrong
            await asyncio.sleep(COUNT_SOON_S if self._arrivals.is_suspicious else COUNT_S)

    def _look(self) -> None:
        if self._arrivals.look(self.counted, asyncio.get_running_loop().time()):
            families = sorted(self.blocked())
            log.error("intercepted connections are dropped on this machine", families=families, advice="hagw doctor")
            self._look_again()
