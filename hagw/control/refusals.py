"""Servers that refuse are left unintercepted for a while: what workers find goes into the table's sets, one by one."""

import asyncio
from ipaddress import ip_address
from typing import Final

from hagw.control.ports import KernelPort
from hagw.errors import HagwError
from hagw.log import log_of

REFUSED_S: Final = 30.0
QUEUE_MAX: Final = 1024

log = log_of("hagw.gateway")


class Refusals:
    """Those that wait to be put there."""

    def __init__(self, kernel: KernelPort) -> None:
        self._kernel = kernel
        self._waiting: asyncio.Queue[tuple[str, int]] = asyncio.Queue(maxsize=QUEUE_MAX)

    def note(self, address: str, port: int) -> None:
        """A worker found this server to refuse. With too many waiting it is only found refused once more."""
        if not self._waiting.full():
            self._waiting.put_nowait((address, port))

    async def run(self) -> None:
        """Pass them on, for ever."""
        while True:
            address, port = await self._waiting.get()
            try:
                await self._kernel.add_refused(ip_address(address), port, REFUSED_S)
            except (HagwError, ValueError) as why:
                log.warning("refused destination not noted", address=address, port=port, reason=str(why))
