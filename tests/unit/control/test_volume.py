"""What hagw spent today, over restarts of the daemon."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hagw.control import volume
from hagw.control.durable import Disk
from hagw.control.lines import Lines, Spent
from hagw.control.volume import VolumeFile, keep_volume
from tests.logs import listening
from tests.unit.control.test_lines import worker


def restarted(lines: Lines, directory: Path) -> Lines:
    """Return what the next daemon counts with."""
    VolumeFile(directory, Disk()).save(lines.spent())
    after = Lines()
    after.resume(VolumeFile(directory, Disk()).load())
    return after


def test_the_next_daemon_goes_on_counting(tmp_path: Path) -> None:
    lines = Lines()
    lines.take([worker(0, upkeep_bytes={"lte": 1000})], {"lte": 200}, "1")
    after = restarted(lines, tmp_path)
    assert after.probe_bytes == {"lte": 1200}
    # The worker lived on and tells its total; the prober is a new one.
    after.take([worker(0, upkeep_bytes={"lte": 1100})], {"lte": 50}, "1")
    assert after.probe_bytes == {"lte": 1350}


def test_another_day_begins_at_zero_but_counts_no_total_twice(tmp_path: Path) -> None:
    lines = Lines()
    lines.take([worker(0, upkeep_bytes={"lte": 1000})], {"lte": 200}, "1")
    after = restarted(lines, tmp_path)
    after.take([worker(0, upkeep_bytes={"lte": 1010})], {"lte": 5}, "2")
    assert after.probe_bytes == {"lte": 15}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "day": "1", "bytes": [], "told": {}}'])
def test_a_damaged_file_is_none(tmp_path: Path, text: str) -> None:
    assert VolumeFile(tmp_path, Disk()).load() == Spent()
    (tmp_path / "volume.json").write_text(text)
    assert VolumeFile(tmp_path, Disk()).load() == Spent()


class CountingFile(VolumeFile):
    """Counts how often it was written."""

    saves = 0

    def save(self, spent: Spent) -> None:
        self.saves += 1
        super().save(spent)


async def _for_a_while(lines: Lines, file: VolumeFile, during: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(keep_volume(lines, file))
        await during()
        task.cancel()


def test_it_is_written_rarely_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "SAVE_S", 0.02)
    lines, file = Lines(), CountingFile(tmp_path, Disk())

    async def during() -> None:
        await asyncio.sleep(0.1)
        assert file.saves == 0  # nothing has changed
        lines.take([], {"lte": 100}, "1")
        async with asyncio.timeout(20.0):
            while file.saves == 0:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert file.saves == 1
        lines.take([], {"lte": 300}, "1")

    asyncio.run(_for_a_while(lines, file, during))
    assert file.saves == 2
    assert file.load().bytes == {"lte": 300}


def test_a_disk_that_refuses_is_told_of_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "volume.json").mkdir()
    with listening() as told:
        asyncio.run(_for_a_while(Lines(), VolumeFile(tmp_path, Disk()), lambda: asyncio.sleep(0.01)))
    assert [entry["event"] for entry in told] == ["volume not saved"]
