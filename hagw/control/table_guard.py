"""Puts the nft table back the moment somebody has removed or changed it: until then every packet goes the wrong way.

Beside the reconcile loop, which takes care of the rest: a pass would come too late.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from hagw.errors import HagwError
from hagw.log import log_of

HOLD_S: Final = 0.005
HOLD_MAX_S: Final = 1.0  # how often somebody who removes it again and again is answered

log = log_of("hagw.table")


class TablePort(Protocol):
    """What the guard needs of the kernel."""

    async def restore_table(self) -> bool:
        """Put the table back as it was last put, if it is another now; return whether it was. Raise HagwError."""


class TableGuard:
    """Told by `touched` that the table may have changed; looks, and repairs."""

    def __init__(self, kernel: TablePort, look_again: Callable[[], None]) -> None:
        self._kernel = kernel
        self._look_again = look_again
        self._touched = asyncio.Event()

    def touched(self) -> None:
        """Have the guard look at the table."""
        self._touched.set()

    async def run(self) -> None:
        """Guard until cancelled."""
        loop = asyncio.get_running_loop()
        hold_s, repaired_at = HOLD_S, float("-inf")
        while True:
            await self._touched.wait()
            self._touched.clear()
            if not await self._is_wrong():
                continue
            self._look_again()  # whoever removes tables may have done more
            now = loop.time()
            hold_s = min(2 * hold_s, HOLD_MAX_S) if now - repaired_at < 4 * hold_s else HOLD_S
            repaired_at = now
            await asyncio.sleep(hold_s)

    async def _is_wrong(self) -> bool:
        """Repair the table; return whether there was anything to repair."""
        try:
            return await self._kernel.restore_table()
        except HagwError as why:
            log.error("table not restored", reason=str(why))
            return True  # the loop tries it too, and again
