"""Look for programs that interfere, at start and as often as the kernel's state is looked at; tell each once."""

import asyncio
from collections.abc import Callable
from typing import Final

from hagw.control.pace import FULL_PASS_S
from hagw.log import log_of
from hagw.model.finding import Finding

KEPT_MAX: Final = 64  # findings; a machine with more rivals than that has told enough

log = log_of("hagw.rivals")


class RivalWatch:
    """Has `look` called in a thread, and `tell` with what was found. `look` is never called twice at once."""

    def __init__(
        self,
        look: Callable[[], tuple[Finding, ...]],
        tell: Callable[[tuple[Finding, ...]], None],
        every_s: float = FULL_PASS_S,
    ) -> None:
        self._look = look
        self._tell = tell
        self._every_s = every_s
        self._logged: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Look for ever. What goes and comes back is logged again."""
        while True:
            found = (await asyncio.to_thread(self._look))[:KEPT_MAX]
            self._tell(found)
            present = {(finding.id, finding.found) for finding in found}
            for finding in found:
                if (finding.id, finding.found) not in self._logged:
                    log.warning("another program interferes", finding=finding.id, found=finding.found, act=finding.act)
            self._logged = present
            await asyncio.sleep(self._every_s)
