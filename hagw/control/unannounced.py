"""What the kernel announces no change of, parameters and the path manager's limits, looked at every few seconds.

Nothing tells of `sysctl -w` or `ip mptcp limits set` by others. Reading some dozens of small files takes less than a
millisecond; a full pass, which repairs, is made only where one is not as it was when the kernel last agreed.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from hagw.control.ports import KernelPort
from hagw.errors import HagwError

LOOK_S: Final = 2.0


async def watch(kernel: KernelPort, look_again: Callable[[], None]) -> None:
    """Ask for a pass whenever somebody has changed one of them, for ever."""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            if await kernel.is_changed_unannounced():
                look_again()
        except HagwError:
            pass  # the next pass says what cannot be read
