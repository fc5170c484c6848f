"""Workers replaced while they work: a successor takes the listening sockets, the predecessor finishes its flows.

A predecessor moves its control socket to `retired-<pid>.sock`. It is told snapshots and asked for flows like the
others, also by a later daemon, but nobody takes its place when it ends.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hagw.control.worker_link import WorkerLink, WorkerLost, encode
from hagw.control.worker_process import WorkerProcess
from hagw.control.worker_seat import START_TIMEOUT_S, Seat, SeatPlan
from hagw.control.worker_unit import UnitFailed
from hagw.errors import HagwError
from hagw.log import log_of

BIRTH_TIMEOUT_S = 3.0

log = log_of("hagw.workers")


class NotRenewed(HagwError):
    """A worker could not be replaced; it goes on."""


class RetiredSeat(Seat):
    """The place of a worker that only finishes."""

    async def run(self) -> None:
        """Talk to it until it ends."""
        try:
            link = await WorkerLink.connect(self.plan.socket, self._take)
        except OSError:
            self.plan.socket.unlink(missing_ok=True)  # of one that was killed
            return
        self.adopted, self.pid = True, link.process.pid
        try:
            await self._converse(link)
        except WorkerLost as why:
            log.info("retired worker ended", pid=self.pid, reason=str(why))


class Retired:
    """All workers that only finish."""

    def __init__(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        self._on_event = on_event
        self._seats: dict[Path, RetiredSeat] = {}

    def seats(self) -> tuple[RetiredSeat, ...]:
        """Return those that are there."""
        return tuple(self._seats.values())

    def look(self, runtime_dir: Path, group: asyncio.TaskGroup, newest: tuple[int, bytes] | None) -> None:
        """Take up those that are there and not known yet."""
        for path in retired_sockets(runtime_dir):
            if path not in self._seats:
                plan = SeatPlan(int(path.stem.removeprefix("retired-")), path, (), None)
                seat = self._seats[path] = RetiredSeat(plan, on_event=self._on_event, on_change=lambda: None)
                if newest is not None:
                    seat.offer(*newest)
                group.create_task(self._host(path, seat))

    async def _host(self, path: Path, seat: RetiredSeat) -> None:
        try:
            await seat.run()
        finally:
            del self._seats[path]


def retired_sockets(runtime_dir: Path) -> list[Path]:
    """Return the control sockets of workers that only finish."""
    return [path for path in sorted(runtime_dir.glob("retired-*.sock")) if path.stem[8:].isdecimal()]


async def succeed(plan: SeatPlan) -> int:
    """Start a successor for the worker of a seat and wait until it has its place; return its pid. Raise NotRenewed."""
    command = (*plan.command, "--take-over")
    try:
        process = WorkerProcess.spawn(command, plan.log) if plan.unit is None else await _born_there(plan, command)
    except OSError as why:
        raise NotRenewed(f"Worker {plan.index} is not replaced: {why.strerror}.") from why
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_TIMEOUT_S
    try:
        while loop.time() < deadline:
            if await process.wait_ended(0.05):
                raise NotRenewed(f"Worker {plan.index} is not replaced: its successor ended while starting.")
            if await _sits_there(process, plan.socket):
                return process.pid
        process.kill()
        raise NotRenewed(f"Worker {plan.index} is not replaced: its successor did not start in time.")
    finally:
        process.close()


async def _born_there(plan: SeatPlan, command: tuple[str, ...]) -> WorkerProcess:
    """Have the worker itself start its successor, so that it belongs to the same unit. Raise OSError."""
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def take(message: dict[str, Any]) -> None:
        if message.get("op") == "bore" and not answer.done():
            answer.set_result(int(message["pid"]))

    link = await WorkerLink.connect(plan.socket, take)
    try:
        link.send(encode({"op": "bear", "command": command}))
        async with asyncio.timeout(BIRTH_TIMEOUT_S):
            return WorkerProcess.existing(await answer)
    except TimeoutError as why:
        raise UnitFailed(0, "it does not start one") from why
    finally:
        link.close()


async def _sits_there(process: WorkerProcess, path: Path) -> bool:
    try:
        link = await WorkerLink.connect(path, lambda _: None)
    except OSError:
        return False
    try:
        return link.process.pid == process.pid
    finally:
        link.close()
