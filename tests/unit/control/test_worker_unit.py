"""Workers in units of systemd's: a `systemctl` that a script plays starts real processes, and a worker bears its own
successor."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from hagw.control.renewal import succeed
from hagw.control.worker_link import WorkerLink
from hagw.control.worker_process import WorkerProcess
from hagw.control.worker_seat import SeatPlan
from hagw.control.worker_unit import VARIABLE, UnitFailed, start_unit, unit_of
from hagw.control.workers import stop_all

PLAYED = """\
#!/bin/sh
echo "$@" >>"$0.said"
case $1 in
start)
    case $2 in
    bad*) echo "Unit $2 not found." >&2; exit 5 ;;
    good*) sleep 30 >/dev/null 2>&1 & echo $! >"$0.pid" ;;
    esac ;;
show) cat "$0.pid" 2>/dev/null || echo 0 ;;
esac
"""


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "systemctl"
    script.write_text(PLAYED)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return script


def test_workers_are_units_only_where_the_service_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert unit_of("cpe", 1) is None
    monkeypatch.setenv(VARIABLE, "hagw-worker@")
    assert unit_of("cpe", 1) == "hagw-worker@cpe-1.service"


def test_a_started_unit_is_held_by_its_main_process(systemctl: Path) -> None:
    async def begin() -> None:
        process = await start_unit("good.service")
        assert process.pid == int(Path(f"{systemctl}.pid").read_text())
        process.kill()
        assert await process.wait_ended(5.0)
        process.close()

    asyncio.run(begin())
    assert Path(f"{systemctl}.said").read_text().splitlines()[0] == "start good.service"


@pytest.mark.parametrize(("unit", "words"), [("bad.service", "not found"), ("short.service", "ended while starting")])
def test_a_unit_that_does_not_start_is_an_error_with_systemds_words(systemctl: Path, unit: str, words: str) -> None:
    with pytest.raises(UnitFailed, match=words):
        asyncio.run(start_unit(unit))


def test_a_worker_bears_its_successor_which_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAGW_RUNTIME_DIR", str(tmp_path))
    command = (sys.executable, "-m", "hagw.worker", "--seat", "hag-0")
    alone = SeatPlan(0, tmp_path / "worker-0.sock", command, tmp_path / "worker-0.log")
    in_unit = SeatPlan(0, alone.socket, command, None, "hagw-worker@hag-0.service")

    async def renew() -> None:
        async with asyncio.timeout(20):
            first = WorkerProcess.spawn(command, alone.log)
            assert await _sitting(alone.socket) == first.pid
            second = await succeed(in_unit)
            assert second != first.pid
            assert await _sitting(alone.socket) == second
            assert await stop_all(tmp_path, 0.0) == 2
            first.close()

    asyncio.run(renew())


async def _sitting(path: Path) -> int:
    while True:
        try:
            link = await WorkerLink.connect(path, lambda _: None)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        pid = link.process.pid
        link.close()
        return pid
