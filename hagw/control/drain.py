"""Whether this HAG drains: a mark in the runtime directory, so that it outlasts the daemon but not the machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hagw.control.workers import Workers
from hagw.log import log_of

LOOK_S: Final = 4.0  # how long a busy worker may take to tell what flows it has

log = log_of("hagw.gateway")


class DrainMark:
    """Set = take no new flows."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_set(self) -> bool:
        """Say whether new flows are to go elsewhere."""
        return self._path.exists()

    def put(self, wanted: bool) -> None:
        """Set or remove the mark. Raise OSError where the directory cannot be written."""
        if wanted:
            self._path.touch()
        else:
            self._path.unlink(missing_ok=True)


class Drain:
    """Sets the mark, has workers told, and counts what is left."""

    def __init__(self, mark: DrainMark, workers: Workers, publish: Callable[[], None]) -> None:
        self._mark = mark
        self._workers = workers
        self._publish = publish

    @property
    def is_on(self) -> bool:
        """Whether no new flows are taken."""
        return self._mark.is_set()

    async def put(self, wanted: bool | None) -> dict[str, Any]:
        """Take no new flows, or take them again (None = as it is); return how it stands.

        Flows are counted now, by workers that know of it: one that began a moment ago would be cut off otherwise.
        """
        if wanted is not None and wanted != self._mark.is_set():
            self._mark.put(wanted)
            self._publish()
            log.info("draining" if wanted else "taking new flows again")
        await self._workers.look(LOOK_S)  # what a busy worker said before is not what it has
        workers = (*self._workers.reports(), *self._workers.retired())
        flows = sum(int(w.stats.get("flows_active", 0)) for w in workers)
        return {"schema": 1, "draining": self._mark.is_set(), "flows_active": flows}
