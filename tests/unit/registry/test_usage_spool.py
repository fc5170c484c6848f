"""Readings on their way to the registry: what is damaged stops nobody, what cannot be read now is not lost."""

import asyncio
import json
from pathlib import Path

import pytest

from hagw.control.durable import Disk
from hagw.registry.customers import Registry
from hagw.registry.usage import Batch, Spool, Used

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
