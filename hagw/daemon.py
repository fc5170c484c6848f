"""The daemon: puts the parts together for either role and runs them until it is told to end.

It may end at any time: the workers go on with their last snapshot, the kernel keeps what it holds, and the next
daemon takes both over. `hagw clear` is what undoes them.
"""

import asyncio
import signal
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

import structlog

from hagw.control.gateway import Gateway
from hagw.control.notify import keep_watchdog_calm, notify

API_SOCKET = "hagw.sock"

log = structlog.get_logger("hagw.daemon")


async def serve(gateway: Gateway, observers: Iterable[Coroutine[Any, Any, None]], runtime_dir: Path) -> None:
    """Run everything until SIGTERM or SIGINT. Raise HagwError when the kernel cannot be put right at the start."""
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end.set)
    await gateway.prepare()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in observers]
        tasks.append(group.create_task(gateway.run()))
        tasks.append(group.create_task(keep_watchdog_calm()))
        tasks.append(group.create_task(_serve_api(gateway, runtime_dir / API_SOCKET)))
        await told_to_end.wait()
        notify("STOPPING=1")
        log.info("daemon ends, workers and kernel state stay")
        for task in tasks:
            task.cancel()


async def _serve_api(gateway: Gateway, path: Path) -> None:
    """Serve the API; imported in a thread, as that takes most of a second and failover must not wait for it."""
    await gateway.settled()
    server = await asyncio.to_thread(_import_server)
    notify("READY=1")
    await server.serve(gateway, path)


def _import_server() -> Any:
    from hagw.api import server

    return server
