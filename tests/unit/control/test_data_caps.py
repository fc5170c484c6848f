"""Data caps at work: what is saved and when, what a restart finds, what is told."""

import asyncio
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from hagw.control.capped import CappedHealth, true_time
from hagw.control.data_caps import LOOK_MAX_S, LOOK_MIN_S, SAVE_AFTER_S, SAVE_LOOK_S, DataCaps
from hagw.control.durable import Disk
from hagw.control.usage_file import UsageDamaged, UsageFile
from hagw.errors import Refused
from hagw.model.facts import Facts, UplinkFacts
from hagw.model.health import GatewayHealth
from hagw.model.intent import CpeIntent, DataCapIntent, Intent, UplinkIntent
from hagw.model.usage import Ledger, Reading, Volume
from tests.fakes import FakeHealth

LTE = UplinkIntent("lte", "wwan", "lte0", 1)
DSL = UplinkIntent("dsl", "dsl", "dsl0", 2)
PLAN = DataCapIntent("plan", ("lte",), 50_000_000)
NOVEMBER_23 = 1_795_406_400.0
FACTS = Facts({"lte": UplinkFacts("lte", 7), "dsl": UplinkFacts("dsl", 8)})


class Counters:
    """A kernel's counters, turned by hand."""

    def __init__(self, down: int = 0) -> None:
        self.down = down
        self.fails = False

    def read(self, interfaces: Mapping[str, str]) -> dict[str, Reading]:
        if self.fails:
            raise OSError("no such file")
        return {line: Reading("boot", 7, 9, Volume(self.down, 0)) for line in interfaces}


class Owner:
    """What is configured, and what time it is."""

    def __init__(self, *caps: DataCapIntent) -> None:
        self.intent: Intent = CpeIntent(("lan0",), (DSL, LTE), (), data_caps=caps)
        self.now = NOVEMBER_23

    def caps(self, counters: Counters, directory: Path, disk: Disk | None = None) -> DataCaps:
        made = DataCaps(counters, UsageFile(directory, disk or Disk()), lambda: self.intent, lambda: self.now)
        made.use({"dsl": "dsl0", "lte": "lte0"})
        return made


def used(caps: DataCaps) -> int:
    return caps.documents()[0]["used_bytes"]


async def for_a_moment(caps: DataCaps) -> None:
    """Run as the daemon does, and end as it does."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(caps.run())
        await asyncio.sleep(0.01)
        task.cancel()


def test_usage_survives_a_restart_to_the_byte(tmp_path: Path) -> None:
    owner, counters = Owner(PLAN), Counters(1000)
    asyncio.run(for_a_moment(owner.caps(counters, tmp_path)))
    counters.down = 9000  # while nobody counts
    again = owner.caps(counters, tmp_path)
    assert used(again) == 8000


def test_a_daemon_that_is_killed_loses_nothing_either(tmp_path: Path) -> None:
    owner, counters = Owner(PLAN), Counters()
    asyncio.run(for_a_moment(owner.caps(counters, tmp_path)))
    killed = owner.caps(counters, tmp_path)
    counters.down = 3_000_000
    killed.look()
    counters.down = 4_000_000
    assert used(owner.caps(counters, tmp_path)) == 4_000_000


class NoWait(Disk):
    """Replaces files without waiting for the medium: how long that takes is the machine's."""

    def replace(self, path: Path, text: str, mode: int = 0o600) -> None:
        beside = path.with_name(f".{path.name}.new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)


async def lost_at_worst(caps: DataCaps, counters: Counters, file: UsageFile, total: int, step: int) -> int:
    """Carry `step` bytes every 10 ms or so, `total` in all; return the most that a loss of power would have lost."""
    worst = 0
    async with asyncio.TaskGroup() as group:
        task = group.create_task(caps.run())
        while counters.down < total:
            await asyncio.sleep(0.01)
            counters.down += step
            books = file.load().books
            worst = max(worst, counters.down - (books["plan"].now.used if "plan" in books else 0))
        task.cancel()
    return worst


def test_a_loss_of_power_loses_five_megabytes_at_most(tmp_path: Path) -> None:
    counters = Counters()
    caps = Owner(replace(PLAN, volume_bytes=10**9)).caps(counters, tmp_path, NoWait())
    caps.look()
    worst = asyncio.run(lost_at_worst(caps, counters, UsageFile(tmp_path, Disk()), 9_000_000, 60_000))
    assert 3_000_000 <= worst <= 5_000_000


def test_a_loss_of_power_loses_thirty_seconds_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SAVE_AFTER_S + SAVE_LOOK_S + LOOK_MAX_S < 30.0
    monkeypatch.setattr("hagw.control.data_caps.SAVE_LOOK_S", 0.01)
    monkeypatch.setattr("hagw.control.data_caps.SAVE_AFTER_S", 0.5)
    counters, file = Counters(), UsageFile(tmp_path, Disk())
    caps = Owner(PLAN).caps(counters, tmp_path)

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(caps.run())
            await asyncio.sleep(0.01)
            counters.down = 1000
            async with asyncio.timeout(10.0):
                while "plan" not in (books := file.load().books) or books["plan"].now.used != 1000:
                    await asyncio.sleep(0.01)
            task.cancel()

    asyncio.run(story())


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    owner, counters = Owner(PLAN, replace(PLAN, name="daily", period="day")), Counters()
    caps = owner.caps(counters, tmp_path)
    caps.look()
    counters.down = 45_000_000
    caps.look()
    asyncio.run(caps.correct("plan", 46_000_000, None, 5))
    owner.now += 40 * 86_400
    caps.look()
    asyncio.run(for_a_moment(caps))
    again = owner.caps(counters, tmp_path)
    assert again.documents() == caps.documents()
    assert len(again.documents()[0]["earlier"]) == 1


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 2}', "[]", '{"schema": 1, "readings": {"a": 1}, "caps": {}}'])
def test_a_damaged_file_is_not_believed(tmp_path: Path, text: str) -> None:
    (tmp_path / "usage.json").write_text(text)
    with pytest.raises(UsageDamaged):
        UsageFile(tmp_path, Disk()).load()
    counters = Counters(70)
    caps = Owner(PLAN).caps(counters, tmp_path)
    caps.look()
    assert used(caps) == 0


def test_no_file_is_an_empty_ledger(tmp_path: Path) -> None:
    assert UsageFile(tmp_path, Disk()).load() == Ledger()


def test_a_change_of_stage_is_told_once_and_restrains(tmp_path: Path) -> None:
    owner, counters, told = Owner(PLAN), Counters(), []
    caps = owner.caps(counters, tmp_path)
    caps.on_change = lambda: told.append(dict(caps.restraints))
    caps.look()
    assert not told
    counters.down = 50_000_001
    caps.look()
    caps.look()
    assert [{line: each.stage for line, each in one.items()} for one in told] == [{"lte": "cut"}]
    owner.intent = Owner(replace(PLAN, volume_bytes=60_000_000)).intent
    caps.look()
    assert told[1:] == [{}]


def test_an_intent_without_caps_frees_its_lines(tmp_path: Path) -> None:
    owner, counters = Owner(PLAN), Counters()
    caps = owner.caps(counters, tmp_path)
    caps.look()
    counters.down = 50_000_001
    caps.look()
    owner.intent = Owner().intent
    assert caps.look() == LOOK_MAX_S
    assert not caps.restraints


def test_looks_come_more_often_near_a_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100, 200))
    monkeypatch.setattr("hagw.control.data_caps.time.monotonic", lambda: float(next(clock)))
    counters = Counters()
    caps = Owner(PLAN).caps(counters, tmp_path)
    assert caps.look() == LOOK_MAX_S
    counters.down = 10_000_000
    assert caps.look() == pytest.approx(1 / 10), "or a loss of power would lose too much"
    counters.down = 40_000_000
    assert caps.look() == LOOK_MIN_S
    counters.down += 1000
    assert caps.look() == pytest.approx(10 / 30 / 2, rel=0.01), "as if it went on at the fastest rate seen"
    counters.down = 49_999_000
    assert caps.look() == LOOK_MIN_S


def test_what_was_never_counted_cannot_be_corrected(tmp_path: Path) -> None:
    owner, counters = Owner(PLAN), Counters()
    counters.fails = True
    with pytest.raises(Refused, match="could be counted"):
        asyncio.run(owner.caps(counters, tmp_path).correct("plan", 51_000_000, None, None))


def test_a_correction_counts_at_once_and_is_kept(tmp_path: Path) -> None:
    owner, counters = Owner(PLAN), Counters()
    caps = owner.caps(counters, tmp_path)
    caps.look()
    asyncio.run(caps.correct("plan", 51_000_000, None, None))
    assert caps.restraints["lte"].stage == "cut"
    assert used(owner.caps(counters, tmp_path)) == 51_000_000
    with pytest.raises(Refused, match="there are: plan"):
        asyncio.run(caps.correct("other", 1, None, None))


class Slow(NoWait):
    """Takes its time with what has less than was corrected; `most` is how many files it was given at once."""

    def __init__(self) -> None:
        self.is_busy = threading.Event()
        self.writing = self.most = 0

    def replace(self, path: Path, text: str, mode: int = 0o600) -> None:
        self.writing += 1
        self.most = max(self.most, self.writing)
        if "51000000" not in text:
            self.is_busy.set()
            time.sleep(0.2)
        super().replace(path, text, mode)
        self.writing -= 1


@pytest.mark.parametrize("is_ended", [True, False], ids=["end", "correction"])
def test_two_that_save_do_not_write_into_each_others_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ended: bool
) -> None:
    monkeypatch.setattr("hagw.control.data_caps.SAVE_LOOK_S", 0.01)
    monkeypatch.setattr("hagw.control.data_caps.SAVE_AFTER_S", 0.0)
    owner, counters, disk = Owner(PLAN), Counters(), Slow()
    caps = owner.caps(counters, tmp_path, disk)

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(caps.run())
            assert await asyncio.to_thread(disk.is_busy.wait, 10.0)
            counters.down = 1000
            if not is_ended:
                await caps.correct("plan", 51_000_000, None, None)
            caps.look()
            task.cancel()

    asyncio.run(story())
    assert disk.most == 1
    assert used(owner.caps(counters, tmp_path)) == (1000 if is_ended else 51_000_000)


def test_counters_that_cannot_be_read_change_nothing(tmp_path: Path) -> None:
    counters = Counters()
    caps = Owner(PLAN).caps(counters, tmp_path)
    caps.look()
    counters.down = 100
    caps.look()
    counters.fails = True
    assert caps.look() == LOOK_MAX_S
    assert used(caps) == 100


def test_a_line_that_is_cut_is_not_asked(tmp_path: Path) -> None:
    counters, observed = Counters(), FakeHealth()
    caps = Owner(PLAN).caps(counters, tmp_path)
    capped = CappedHealth(observed, caps)
    capped.update((DSL, LTE), FACTS, ())
    caps.look()
    counters.down = 50_000_000
    caps.look()
    capped.update((DSL, LTE), FACTS, ())
    assert [uplink.enabled for uplink in observed.updated] == [True, False]


def test_time_is_the_gateways_where_it_told() -> None:
    own = true_time({"hag": GatewayHealth("up")})
    assert true_time({"hag": GatewayHealth("up", clock_offset_s=0.0)}) < own - 1e9  # BOOTTIME, not the wall clock
