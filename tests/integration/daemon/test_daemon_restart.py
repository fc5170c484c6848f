"""The daemon as a process: it ends quickly, its workers stay, the next one takes them over."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hagw.cli.client import get
from hagw.control.instance import only_instance
from hagw.control.workers import stop_all
from hagw.errors import DaemonUnreachable, Refused
from tests.attentive import watching

pytestmark = pytest.mark.beside

ROOT = Path(__file__).parents[3]


@pytest.fixture
def runtime_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    asyncio.run(stop_all(tmp_path, 0.0))


@contextmanager
def daemon(runtime_dir: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a daemon in the block and kill it afterwards if it still runs."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "fake_daemon.py"), str(runtime_dir)],
        env=environment,
        stderr=subprocess.PIPE,
    )
    with process:
        yield process
        if process.poll() is None:
            process.kill()


def ready_status(runtime_dir: Path) -> dict[str, Any]:
    """Return the status once the daemon is there and its workers listen."""
    deadline = time.monotonic() + 60
    while True:
        try:
            status = get(runtime_dir / "hagw.sock", "/status")
        except DaemonUnreachable:
            status = {"state": None}
        if status["state"] == "bonded":
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.02)


def worker_pids(status: dict[str, Any]) -> list[int]:
    return [worker["pid"] for worker in status["workers"]]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_new_daemon_adopts_the_workers_of_the_old_one(runtime_dir: Path, end: signal.Signals) -> None:
    with daemon(runtime_dir) as first:
        before = ready_status(runtime_dir)
        with watching() as passed_s:
            first.send_signal(end)
            assert first.wait(30) == (-end if end == signal.SIGKILL else 0)
            assert passed_s() < 1.0
    for pid in worker_pids(before):
        os.kill(pid, 0)
    with daemon(runtime_dir):
        after = ready_status(runtime_dir)
    assert worker_pids(after) == worker_pids(before)
    assert all(worker["adopted"] and worker["starts"] == 0 for worker in after["workers"])
    generations = [status["workers"][0]["snapshot_generation"] for status in (before, after)]
    assert generations[0] < generations[1]


def test_there_is_one_daemon_a_runtime_directory(runtime_dir: Path) -> None:
    with daemon(runtime_dir) as first:
        ready_status(runtime_dir)
        with pytest.raises(Refused, match="Another hagw daemon"), only_instance(runtime_dir):
            pass
        first.send_signal(signal.SIGKILL)
        first.wait(30)
    with only_instance(runtime_dir):
        pass


def test_readiness_is_told_to_systemd(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(runtime_dir / "notify"))
        systemd.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(runtime_dir / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        with daemon(runtime_dir) as process:
            told: set[bytes] = set()
            while not told >= {b"READY=1", b"WATCHDOG=1"}:
                told.add(systemd.recv(100))
            process.terminate()
            process.wait(30)
