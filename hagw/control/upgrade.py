"""Workers replaced by new processes, because somebody asks for it or because the package was upgraded meanwhile."""

from typing import Any

from hagw.control.workers import Workers
from hagw.errors import HagwError
from hagw.log import log_of

log = log_of("hagw.gateway")


async def renew(workers: Workers) -> dict[str, Any]:
    """Replace every worker by a new process; the old ones finish their flows. Raise HagwError."""
    reports = await workers.renew()
    log.info("workers renewed", pids=[w.pid for w in reports])
    retired = [w.pid for w in workers.retired()]
    return {"schema": 1, "workers": [w.pid for w in reports], "retired": retired}


async def renew_outdated(workers: Workers, version: str) -> None:
    """Replace workers of another version than this."""
    await workers.settled()
    if any(w.adopted and w.stats.get("version") != version for w in workers.reports()):
        try:
            await renew(workers)
        except HagwError as why:
            log.error("workers not renewed", reason=str(why))
