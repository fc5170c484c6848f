"""Keeps a running gateway's roll what the registry says: looks each second, so no gateway needs telling.

While the database is away the last roll stays in force, also over a restart of the daemon: it is kept on disk.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hagw.errors import HagwError, RegistryUnavailable
from hagw.log import log_of
from hagw.registry.roll import Roll, decode_roll, encode_roll

if TYPE_CHECKING:
    from hagw.registry.customers import Registry

LOOK_EVERY_S: Final = 1.0
RETRY_S: Final = 2.0

log = log_of("hagw.registry")


class RollWatch:
    """Tells of every new roll.

    `url` is where the registry is said to be now, `open_registry` opens it, None = there is none yet. `keep` writes the
    cache's text to its file, as a whole; it may raise OSError.
    """

    def __init__(
        self,
        url: Callable[[], str],
        open_registry: Callable[[str], "Registry | None"],
        cache: Path,
        keep: Callable[[Path, str], None],
        on_roll: Callable[[Roll], None],
    ) -> None:
        self._url = url
        self._open = open_registry
        self._opened = ""
        self._is_read = False
        self._cache = cache
        self._keep = keep
        self._on_roll = on_roll
        self._registry: Registry | None = None
        self._asked: asyncio.Event = asyncio.Event()
        self._opening = asyncio.Lock()
        self._looking = asyncio.Lock()
        self.roll = Roll(0, (), {})
        self.trouble = ""

    async def begin(self) -> None:
        """Have a roll before anybody is served by it: an earlier daemon's from the disk, else by a first look."""
        try:
            found = decode_roll(self._cache.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            found = None
        if found is None:
            await self._look_carefully()
        else:
            self.roll = found
            self._on_roll(found)

    async def look_now(self) -> None:
        """Somebody here has just changed the registry, and needs it to be so for everybody when this returns."""
        await self._look_carefully()

    def look_soon(self) -> None:
        """Somebody here has just changed the registry: do not wait for the next look."""
        self._asked.set()

    async def registry(self) -> "Registry | None":
        """Return the registry, None where there is none yet; its libraries are loaded in a thread. Raise HagwError."""
        async with self._opening:
            url = self._url()
            if self._registry is not None and (url != self._opened or not self._registry.database.is_there()):
                before, self._registry = self._registry, None
                await before.close()
            if self._registry is None:
                self._opened, self._is_read = url, False
                self._registry = await asyncio.to_thread(self._open, url)
            return self._registry

    async def run(self) -> None:
        """Look for ever."""
        while True:
            ok = await self._look_carefully()
            try:
                async with asyncio.timeout(LOOK_EVERY_S if ok else RETRY_S):
                    await self._asked.wait()
            except TimeoutError:
                pass
            self._asked.clear()

    async def close(self) -> None:
        """Close the registry, once nobody asks it any more: what is in use then would stay open."""
        if self._registry is not None:
            await self._registry.close()

    async def _look_carefully(self) -> bool:
        try:
            async with self._looking:
                await self._look()
        except HagwError as why:
            if str(why) != self.trouble:
                log.warning("registry unavailable", reason=str(why))
            self.trouble = str(why)
            return False
        if self.trouble:
            log.info("registry available again")
        self.trouble = ""
        return True

    async def _look(self) -> None:
        registry = await self.registry()
        if registry is None:
            if self.roll.customers:
                raise RegistryUnavailable("The registry's file is gone; the customers it had are still served.")
            return
        if self._is_read and await registry.revision() == self.roll.revision:
            return
        before, self.roll, self._is_read = self.roll, await registry.roll(), True
        log.info("customers changed", revision=self.roll.revision, customers=len(self.roll.customers))
        if before.customers != self.roll.customers:
            self._on_roll(self.roll)
        try:
            self._keep(self._cache, encode_roll(self.roll))
        except OSError as why:
            log.warning("customers not kept on disk", reason=str(why))
