"""Part of the daemon: a HAG's customers for the API, between its registry and its control channels."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hagw.subscription import HagSide

if TYPE_CHECKING:
    from hagw.channel.code import Code
    from hagw.registry.customers import Customer, Registry


class CustomerDesk:
    """What the API asks of the registry. Methods raise RegistryUnavailable or Refused."""

    def __init__(self, side: HagSide, state_dir: Path) -> None:
        self._side = side
        self._state_dir = state_dir
        self._made: Registry | None = None

    async def registry_to_change(self) -> "Registry":
        """Return the registry; its file is made by the first change."""
        found = await self._side.watch.registry()
        if found is None:
            if self._made is None:
                self._made = await asyncio.to_thread(self._open)
            found = self._made
        return found

    async def known(self) -> "tuple[Customer, ...]":
        """Return the registry's customers, by name."""
        found = await self._side.watch.registry()
        return () if found is None else await found.everyone()

    def month_used(self) -> Mapping[str, int]:
        """Return the bytes of this month by customer, as far as they were added up."""
        return self._side.month_used

    def connected(self) -> list[dict[str, Any]]:
        """Return the control channels: customer, source, version, version_differs, since."""
        return self._side.connected()

    def changed(self) -> None:
        """Have the workers serve by what is true now."""
        self._side.watch.look_soon()

    async def new_code(self) -> "Code":
        """Return a fresh code to enrol with."""
        return await asyncio.to_thread(self._new_code)

    def _open(self) -> "Registry":
        from hagw.registry.customers import Registry

        return Registry.at(self._side.registry_url, self._state_dir)

    def _new_code(self) -> "Code":
        from hagw.channel.code import new_code
        from hagw.channel.identity import fingerprint_of

        return new_code(fingerprint_of(self._state_dir))
