"""Readings on their way to the registry: bounded however long it is away, none lost, none counted twice."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from hagw.control.durable import Disk
from hagw.errors import RegistryUnavailable
from hagw.registry.customers import Registry
from hagw.registry.usage import MERGE_AT, WAITING_MAX, Batch, Spool, Used, coarse, fresh_name

HOME = Used("home", "2026-11-23", "", 5, 6, 1)


def arrived(state: Path, spool: Spool) -> tuple[Used, ...]:
    async def flush() -> tuple[Used, ...]:
        registry = Registry.at("", state)
        try:
            while await spool.flush(registry):
                pass
            return await registry.usage("2026-01-01")
        finally:
            await registry.close()

    return asyncio.run(flush())


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "usage", Disk().replace)
    made.put(Batch("good", (HOME,)))
    return made


@pytest.mark.parametrize(
    "change",
    [
        {"bytes_down": 1 << 63},
        {"bytes_down": -1},
        {"bytes_down": "7"},
        {"customer": None},
        {"uplink": "\ud800"},
        {"uplink": "a\0b"},
        {"day": "x" * 100},
        {"unknown": 1},
    ],
)
def test_a_reading_that_no_database_takes_is_put_aside(tmp_path: Path, spool: Spool, change: dict[str, object]) -> None:
    used = {"customer": "home", "day": "2026-11-23", "uplink": "", "bytes_down": 1, "bytes_up": 1, "flows": 1, **change}
    (tmp_path / "usage" / "bad.json").write_text(json.dumps({"version": 1, "name": "bad", "used": [used]}))
    assert arrived(tmp_path, spool) == (HOME,)
    assert [file.name for file in (tmp_path / "usage").iterdir()] == ["bad.damaged"]


def test_a_file_that_cannot_be_read_now_is_read_later(tmp_path: Path, spool: Spool) -> None:
    good, away = tmp_path / "usage" / "good.json", tmp_path / "away"
    good.rename(away)
    good.mkdir()
    assert arrived(tmp_path, spool) == ()
    good.rmdir()
    away.rename(good)
    assert arrived(tmp_path, spool) == (HOME,)
    assert spool.waiting() == []


class Away:
    """A registry whose database goes and comes; what it holds. `is_lying`: what arrives is kept, but nobody hears."""

    def __init__(self) -> None:
        self.is_away = self.is_lying = False
        self.names: set[str] = set()
        self.sums: Counter[tuple[str, str, str]] = Counter()
        self.offered = 0

    async def add_usage(self, batches: Sequence[Batch]) -> None:
        self.offered += 1
        if self.is_away and not self.is_lying:
            raise RegistryUnavailable("away")
        for batch in batches:
            if batch.name not in self.names:
                self.names.add(batch.name)
                for used in batch.used:
                    self.sums[used.customer, used.day, used.uplink] += used.bytes_down + used.bytes_up
        if self.is_lying:
            raise RegistryUnavailable("the connection broke")


class Gateway:
    """Two workers and three CPEs of a gateway whose clock is in our hands, and what they said."""

    def __init__(self, state: Path, registry: Away) -> None:
        self.directory = state / "usage"
        self.registry = registry
        self.spool = Spool(self.directory, write)
        self.truth: Counter[tuple[str, str, str]] = Counter()
        self.files_most = self.bytes_most = 0

    def account(self, number: int, day: str) -> None:
        """Let two seconds pass."""
        for worker in ("a1", "b2"):
            self.put(
                Batch(f"{worker}-{number}", (Used("home", day, "", 1000, 10, 1), Used("office", day, "", 7, 0, 0)))
            )
        lines = tuple(Used(name, day, "dsl", 5, 5, 0) for name in ("home", "office", "barn"))
        self.put(Batch(fresh_name(), lines))

    def put(self, batch: Batch) -> None:
        for used in batch.used:
            self.truth[used.customer, used.day, used.uplink] += used.bytes_down + used.bytes_up
        self.spool.put(batch)
        self.look()

    def flush(self) -> None:
        with contextlib.suppress(RegistryUnavailable):
            while asyncio.run(self.spool.flush(cast(Registry, self.registry))):
                pass
        self.look()

    def look(self) -> None:
        files = list(self.directory.iterdir())
        self.files_most = max(self.files_most, len(files))
        self.bytes_most = max(self.bytes_most, sum(file.stat().st_size for file in files))


def write(path: Path, text: str) -> None:
    path.write_text(text)


def test_ten_minutes_without_the_database_lose_and_double_nothing_and_take_no_more_room(tmp_path: Path) -> None:
    registry = Away()
    gateway = Gateway(tmp_path, registry)
    gateway.account(0, "2026-11-23")
    gateway.flush()
    for number in range(1, 301):  # every two seconds, midnight in between
        registry.is_away = True
        registry.is_lying = number == 1  # it goes while it commits
        gateway.account(number, "2026-11-23" if number < 150 else "2026-11-24")
        gateway.flush()
        if number in (1, 100, 200):
            gateway.spool = Spool(gateway.directory, write)  # another daemon, which reads the newest readings again
            gateway.truth -= Counter({("home", "2026-11-23" if number < 150 else "2026-11-24", ""): 1010})
            gateway.truth -= Counter({("office", "2026-11-23" if number < 150 else "2026-11-24", ""): 7})
            day = "2026-11-23" if number < 150 else "2026-11-24"
            gateway.put(Batch(f"a1-{number}", (Used("home", day, "", 1000, 10, 1), Used("office", day, "", 7, 0, 0))))
    registry.is_away = registry.is_lying = False
    gateway.flush()
    assert registry.sums == gateway.truth
    assert registry.offered > 300
    assert [file.name for file in gateway.directory.iterdir()] == ["newest"]
    assert gateway.files_most <= MERGE_AT + 4
    assert gateway.bytes_most < 64 * 1024


def test_a_reading_that_comes_again_after_it_was_flushed_counts_once(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, Away())
    gateway.account(4, "2026-11-23")
    gateway.flush()
    gateway.spool.put(Batch("b2-4", (Used("home", "2026-11-23", "", 1000, 10, 1),)))
    gateway.flush()
    assert gateway.registry.sums == gateway.truth


@pytest.mark.parametrize("ending", ["json", "sealed"])
def test_a_merge_that_was_cut_short_counts_once(tmp_path: Path, ending: str) -> None:
    gateway = Gateway(tmp_path, Away())
    gateway.registry.is_away = True
    gateway.account(1, "2026-11-23")
    before = {file: file.read_text() for file in gateway.spool.waiting()}
    gateway.spool._merge(f".{ending}")
    for file, text in before.items():  # as if the power had gone before they were removed
        file.write_text(text)
    gateway.registry.is_away = False
    gateway.flush()
    assert gateway.registry.sums == gateway.truth


def test_a_disk_with_room_for_readings_only_doubles_nothing_and_holds_some(tmp_path: Path) -> None:
    """A reading that could not be put is put again under another name, as what CPEs say is."""
    gateway, is_full, refused = Gateway(tmp_path, Away()), True, 0

    def keep(path: Path, text: str) -> None:
        if is_full and json.loads(text)["holds"]:  # a merged file
            raise OSError("no space left")
        write(path, text)

    gateway.spool = Spool(gateway.directory, keep)
    for _ in range(WAITING_MAX + 9):
        gateway.truth["home", HOME.day, ""] += 11
        batch = Batch(fresh_name(), (HOME,))
        try:
            gateway.spool.put(batch)
        except OSError:
            refused += 1
            gateway.truth["home", HOME.day, ""] -= 11
    assert (len(gateway.spool.waiting()), refused) == (WAITING_MAX, 9)
    is_full = False
    gateway.account(1, HOME.day)
    assert len(gateway.spool.waiting()) < MERGE_AT
    gateway.flush()
    assert gateway.registry.sums == gateway.truth


def test_a_file_that_is_refused_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("hagw.control.durable.os.fsync", full)
    with pytest.raises(OSError, match="space"):
        Spool(tmp_path, Disk().replace).put(Batch("good", (HOME,)))
    assert list(tmp_path.iterdir()) == []


def test_too_many_records_lose_lines_then_days_and_no_byte() -> None:
    days = [f"2026-{month}-{day:02}" for month in (10, 11) for day in range(1, 29)]
    used = tuple(
        Used(name, day, line, 3, 4, 1)
        for name in ("home", "office")
        for day in days
        for line in ("", "dsl", "lte", "sat")
    )

    def by_month(records: tuple[Used, ...]) -> Counter[tuple[str, str, bool]]:
        found = Counter[tuple[str, str, bool]]()
        for each in records:
            found[each.customer, each.day[:7], each.uplink == ""] += each.bytes_down + 1000 * each.bytes_up
        return found

    assert coarse(used, len(used)) == used
    without_lines = coarse(used, len(used) - 1)
    assert {each.uplink for each in without_lines} == {"", "others"}
    assert len(without_lines) == len(used) // 2
    without_days = coarse(used, len(used) // 2 - 1)
    assert {each.day for each in without_days} == {"2026-10-01", "2026-11-01"}
    assert by_month(used) == by_month(without_lines) == by_month(without_days)
