"""What was written is on the disk: a loss of power costs what was not written yet, and nothing before it."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from hagw.history.events import Events, News
from hagw.history.keeper import Keeper, Tap
from hagw.history.ring import Ring
from hagw.history.series import FIELDS, MINUTES, SECONDS, Sample, Series
from tests.unit.history.test_series import BEGIN, Clock


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What a loss of power would leave, by file: what it held when it was synced, once its directory was too."""
    held: dict[str, bytes] = {}
    kept: dict[str, bytes] = {}
    sync_data, sync = os.fdatasync, os.fsync

    def fdatasync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        held[str(path)] = path.read_bytes()
        if str(path) in kept:
            kept[str(path)] = held[str(path)]
        sync_data(descriptor)

    def fsync(descriptor: int) -> None:
        directory = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        kept.update({path: data for path, data in held.items() if Path(path).parent == directory})
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    monkeypatch.setattr(os, "fsync", fsync)
    return kept


def test_a_loss_of_power_costs_a_minute_of_series_at_most(tmp_path: Path, disk: dict[str, bytes]) -> None:
    clock = Clock()
    series = Series(tmp_path / "history", clock)
    series.begin()
    for _ in range(200):
        series.add({"dsl": Sample(1e6, 1e6, 20.0, 0.0, "up")})
        if series.is_due():
            series.flush()
        clock.now += 1
    after = tmp_path / "after"
    after.mkdir()
    for path, data in disk.items():
        (after / Path(path).name).write_bytes(data)
    step_s, slots, suffix = SECONDS
    seconds = Ring(after / f"dsl.{suffix}", step_s, slots, len(FIELDS)).read(BEGIN, BEGIN + 200)
    assert len(seconds) >= 200 - 60
    assert sorted(seconds) == list(range(min(seconds), max(seconds) + 1)), "what is kept has no hole"
    step_s, slots, suffix = MINUTES
    assert len(Ring(after / f"dsl.{suffix}", step_s, slots, len(FIELDS)).read(BEGIN, BEGIN + 200)) == 3


def test_events_that_were_written_are_kept(tmp_path: Path, disk: dict[str, bytes]) -> None:
    events = Events(tmp_path / "events")
    events.begin()
    for number in range(3):
        events.add(News("uplink", "info", "dsl", f"number {number}"))
        events.flush()
    (kept,) = disk.values()
    assert kept.count(b"\n") == 3


def test_samples_do_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that takes seconds to sync makes no hole in the seconds."""
    entered, go_on = threading.Event(), threading.Event()

    def slow(_: int) -> None:
        entered.set()
        assert go_on.wait(30)

    async def story() -> None:
        keeper = Keeper(tmp_path, Tap())
        monkeypatch.setattr("hagw.history.keeper.SAMPLE_S", 0.01)
        monkeypatch.setattr("hagw.history.keeper.EVENTS_S", 0.0)
        monkeypatch.setattr(os, "fdatasync", slow)
        seen: list[Any] = []
        keeper.on_sample = lambda at, told: seen.append(at)
        keeper.events.add(News("daemon", "info", None, "it begins"))
        running = asyncio.get_running_loop().create_task(keeper.run())
        async with asyncio.timeout(20):
            while not entered.is_set():
                await asyncio.sleep(0.01)
            before = len(seen)
            while len(seen) < before + 5:
                await asyncio.sleep(0.01)
        go_on.set()
        running.cancel()
        await asyncio.wait({running})

    asyncio.run(story())
