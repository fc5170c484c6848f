"""Real workers of a HAG are replaced while somebody connects to them all the time; and a successor that dies early."""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hagw.control.renewal import NotRenewed, retired_sockets, succeed
from hagw.control.worker_link import WorkerLink
from hagw.control.worker_seat import SeatPlan
from hagw.control.workers import Workers, stop_all
from hagw.model.intent import FlowLimits
from hagw.model.snapshot import HagSnapshot

HOST = "127.0.0.1"


def _plan(directory: Path, *more: str) -> SeatPlan:
    command = (sys.executable, "-m", "hagw.worker", "--role", "hag", "--index", "0", *more)
    return SeatPlan(0, directory / "worker-0.sock", command, directory / "worker-0.log")


class Knocking:
    """Connects again and again, and keeps the connections: what became of each attempt."""

    def __init__(self, port: int) -> None:
        self.failures: list[OSError] = []
        self.made: list[socket.socket] = []
        self._port, self._going = port, True
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while self._going:
            try:
                self.made.append(socket.create_connection((HOST, self._port), 20.0))
            except OSError as why:
                self.failures.append(why)
            time.sleep(0.002)

    def stop(self) -> None:
        self._going = False
        self._thread.join()


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HagSnapshot:
    monkeypatch.setenv("HAGW_RUNTIME_DIR", str(tmp_path))
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    return HagSnapshot(1, (HOST,), port, port, (), (), (), (), "off", (), FlowLimits(), "cubic", False)


def test_a_worker_is_replaced_and_nobody_who_connects_notices(tmp_path: Path, snapshot: HagSnapshot) -> None:
    async def scenario() -> None:
        async with _at_work(tmp_path, snapshot) as workers:
            before = workers.reports()[0].pid
            with socket.create_connection((HOST, snapshot.port)) as old:
                knocking = Knocking(snapshot.port)
                try:
                    await asyncio.sleep(0.1)
                    renewed = await workers.renew()
                    assert renewed[0].pid != before
                    assert [report.pid for report in workers.retired()] == [before]
                    await asyncio.sleep(0.1)
                finally:
                    knocking.stop()
                assert not knocking.failures
                assert len(knocking.made) > 20
                for sock in (old, *knocking.made):  # the old worker's, the new one's: nobody was thrown out
                    sock.setblocking(False)
                    with pytest.raises(BlockingIOError):
                        sock.recv(1)
                    sock.close()
            await _until(lambda: not workers.retired())
            await _until(lambda: not retired_sockets(tmp_path))
        await stop_all(tmp_path, 0.0)

    asyncio.run(scenario())


def test_a_successor_that_dies_before_it_listens_has_never_been_there(tmp_path: Path, snapshot: HagSnapshot) -> None:
    async def scenario() -> None:
        async with _at_work(tmp_path, snapshot) as workers:
            before = workers.reports()[0].pid
            os.kill(await succeed(_plan(tmp_path)), signal.SIGKILL)
            await _until(lambda: not retired_sockets(tmp_path))
            link = await WorkerLink.connect(tmp_path / "worker-0.sock", lambda _: None)
            assert link.process.pid == before
            link.close()
            socket.create_connection((HOST, snapshot.port)).close()
            with pytest.raises(NotRenewed, match="ended while starting"):
                await succeed(_plan(tmp_path, "--no-such-option"))
        await stop_all(tmp_path, 0.0)

    asyncio.run(scenario())


@asynccontextmanager
async def _at_work(directory: Path, snapshot: HagSnapshot) -> AsyncIterator[Workers]:
    """Have one worker listen; it goes on when this is over."""
    workers = Workers((_plan(directory),), on_event=lambda _: None, on_change=lambda: None)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(workers.run())
        workers.publish(snapshot)
        await _until(lambda: workers.listening_count() == 1)
        yield workers
        task.cancel()


async def _until(condition: object, timeout_s: float = 30.0) -> None:
    assert callable(condition)
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)
