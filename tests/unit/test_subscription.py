"""A gateway's registry, workers and accounts together: real worker seats and database, scripted workers."""

import asyncio
import errno
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from hagw import __version__, subscription
from hagw.channel.client import ChannelClient, Way
from hagw.channel.credentials import Credentials
from hagw.channel.identity import fingerprint_of
from hagw.channel.proof import public_key
from hagw.channel.reports import Reports
from hagw.control.durable import Disk
from hagw.control.status_documents import CpeVersionStatus
from hagw.control.worker_seat import SeatPlan
from hagw.control.workers import Workers, stop_all
from hagw.dataplane.proven import GRACE_S, PROVEN_FILE, ProvenAddresses
from hagw.errors import HagwError
from hagw.model.intent import CustomerIntent, FlowLimits, HagIntent
from hagw.model.snapshot import HagSnapshot
from hagw.registry.customers import Registry, Wanted
from hagw.registry.usage import Spool, decode_batch, total
from hagw.subscription import DRAINING, MONTH_OVER, HagSide
from tests.fakes import FAKE_WORKER

INTENT = HagIntent((ip_address("127.0.0.1"),), 5124, 5124, 5125, ())
SNAPSHOT = HagSnapshot(1, (), 5124, 5124, (), (), (), (), "off", (), FlowLimits(), "cubic", False)
SECRET, DEVICE = b"0123456789", bytes(range(32))


class Scene:
    """A gateway of two busy workers, as far as its registry needs it: each reading is 1000 bytes of home's."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.intent = INTENT
        self.served: tuple[CustomerIntent, ...] = ()
        self.is_draining = False
        self.cpe_versions: Callable[[], list[CpeVersionStatus]] = list
        plans = tuple(
            SeatPlan(index, path, (sys.executable, str(FAKE_WORKER), str(path), "busy"), state / f"{index}.log")
            for index in range(2)
            for path in [state / f"worker-{index}.sock"]
        )
        self.workers = Workers(plans, on_event=lambda _: None, on_change=lambda: None)

    def customers_changed(self, customers: tuple[CustomerIntent, ...]) -> None:
        self.served = customers

    async def settled(self) -> None:
        self.workers.publish(SNAPSHOT)
        await self.until(lambda: self.workers.listening_count() == 2)

    def play(self, scene: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                side = HagSide(self, self.state)  # type: ignore[arg-type]  # as far as it needs one
                await side.begin()
                tasks = [group.create_task(self.workers.run()), group.create_task(side.run())]
                await scene()
                for task in tasks:
                    task.cancel()

        asyncio.run(run())

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.02)

    async def counted(self) -> int:
        registry = Registry.at("", self.state)
        try:
            return (await registry.month_bytes("2026-11")).get("home", 0)
        finally:
            await registry.close()

    def waiting(self) -> int:
        """Return the bytes that are not in the registry yet."""
        files = [*(self.state / "usage").glob("*.json"), *(self.state / "usage").glob("*.sealed")]
        found = [decode_batch(file.read_text()) for file in files]
        return sum(total(batch.used) for batch in found if batch is not None)

    def told(self, key: str) -> list[object]:
        return [report.stats.get(key) for report in self.workers.reports()]

    def readings(self) -> int:
        return sum(found for found in self.told("readings") if isinstance(found, int))


async def enrolled(state: Path, **limits: float) -> None:
    registry = Registry.at("", state)
    await registry.add("home", Wanted(limits=limits), "olga", secret=SECRET, valid_s=60)
    await registry.redeem(SECRET, public_key(DEVICE))
    await registry.close()


async def flushed(state: Path) -> None:
    """Move what the gateway left into the registry, as its next daemon would."""
    registry = Registry.at("", state)
    try:
        while await Spool(state / "usage", Disk().replace).flush(registry):
            pass
    finally:
        await registry.close()


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(subscription, "ACCOUNT_EVERY_S", 0.05)
    monkeypatch.setattr(subscription.time, "gmtime", lambda: (2026, 11, 23, 0, 0, 0, 0, 327, 0))
    asyncio.run(enrolled(tmp_path))
    yield Scene(tmp_path)
    asyncio.run(stop_all(tmp_path, 0.0))


def test_what_workers_read_arrives_in_the_registry_once(scene: Scene) -> None:
    async def play() -> None:
        await scene.until(lambda: scene.readings() > 8)
        assert scene.told("elsewhere") == [{"home": 2}, {"home": 2}]

    scene.play(play)
    asyncio.run(flushed(scene.state))
    newest = json.loads((scene.state / "usage" / "newest").read_text())
    assert len(newest) == 2
    readings = sum(int(name.rpartition("-")[2]) for name in newest)
    assert readings > 4
    assert asyncio.run(scene.counted()) == 1000 * readings


def test_nothing_is_lost_while_the_database_is_away(scene: Scene) -> None:
    database, away = scene.state / "customers.db", scene.state / "away.db"

    async def play() -> None:
        await scene.until(lambda: scene.readings() > 4)
        database.rename(away)
        before = scene.readings()
        await scene.until(lambda: scene.readings() > before + 6)
        assert scene.waiting() > 4000
        assert [customer.name for customer in scene.served] == ["home"]
        away.rename(database)
        reached = scene.readings()
        async with asyncio.timeout(20):
            while await scene.counted() < (reached - 2) * 1000:
                await asyncio.sleep(0.1)

    scene.play(play)


def test_what_waits_on_a_disk_that_takes_no_more_is_added_up_all_the_same(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, away = scene.state / "customers.db", scene.state / "away.db"
    keep, is_full = Disk.replace, []

    def bounded(disk: Disk, path: Path, text: str, mode: int = 0o600) -> None:
        if is_full and path.suffix == ".json" and path.parent.name == "usage":
            raise OSError(errno.ENOSPC, "No space left on device")
        keep(disk, path, text, mode)

    monkeypatch.setattr(Disk, "replace", bounded)

    async def play() -> None:
        await scene.until(lambda: scene.readings() > 4)
        before = await scene.counted()
        database.rename(away)
        await scene.until(lambda: scene.waiting() > 4000)
        is_full.append(True)
        waiting = scene.waiting()
        away.rename(database)
        async with asyncio.timeout(20):
            while await scene.counted() < before + waiting:
                await asyncio.sleep(0.1)

    scene.play(play)


def test_the_status_counts_cpes_by_version_and_marks_another_than_ours(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.intent = replace(INTENT, control_port=free_port())
    client = asyncio.run(a_client(scene))

    async def play() -> None:
        for version, differs in ((__version__, False), ("0.0.1", True)):
            monkeypatch.setattr("hagw.channel.client.__version__", version)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(client.run())
                await scene.until(lambda: scene.cpe_versions())
                assert scene.cpe_versions() == [{"version": version, "cpes": 1, "differs": differs}]
                task.cancel()
            await scene.until(lambda: not scene.cpe_versions())

    scene.play(play)


def test_a_cpe_in_touch_binds_its_cookies_and_proves_the_addresses_it_shows(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAGW_RUNTIME_DIR", str(scene.state))
    monkeypatch.setattr("hagw.dataplane.proven.ADDRESSES_MAX", 3)
    scene.intent = replace(INTENT, control_port=free_port())
    client = asyncio.run(a_client(scene))
    line = Way("lte", "127.0.0.2", "127.0.0.1", scene.intent.control_port)
    table = ProvenAddresses(scene.state / PROVEN_FILE)

    def proved(address: str) -> bool:
        return table.is_proven("home", address, time.monotonic())

    async def play() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(client.run())
            await scene.until(lambda: table.is_bound("home", time.monotonic() + GRACE_S))
            assert (proved("127.0.0.1"), proved("127.0.0.2")) == (True, False)
            await client.show(line)
            assert proved("127.0.0.2")
            for number in range(2):
                assert table.is_bound("home", time.monotonic() + GRACE_S)
                await client.show(replace(line, source=f"127.0.1.{number}"))
            assert not table.is_bound("home", time.monotonic() + GRACE_S)
            assert client.standing.state == "connected"
            task.cancel()

    scene.play(play)


def test_what_a_cpe_says_of_its_lines_is_acknowledged_and_in_the_registry_once(scene: Scene) -> None:
    scene.intent = replace(INTENT, control_port=free_port())
    counts = {"dsl": (1, 1)}
    reports = Reports()

    def arrived(number: int) -> bool:
        return reports._last.number == number and not reports._is_under_way

    client = asyncio.run(a_client(scene, carried=lambda: counts, usage_every_s=1.0, reports=reports))

    async def play() -> None:
        for number in (1, 2, 3):
            async with asyncio.TaskGroup() as group:  # each time over another connection
                task = group.create_task(client.run())
                await scene.until(lambda: reports._told is not None)
                counts["dsl"] = (1 + number * 2_000_000, 1 + number)
                await scene.until(partial(arrived, number))
                task.cancel()

    scene.play(play)
    asyncio.run(flushed(scene.state))

    async def said() -> list[tuple[str, int, int]]:
        registry = Registry.at("", scene.state)
        try:
            return [(x.uplink, x.bytes_down, x.bytes_up) for x in await registry.usage("2026-11-01", "home")]
        finally:
            await registry.close()

    assert ("dsl", 6_000_000, 3) in asyncio.run(said())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def a_client(scene: Scene, **more: Any) -> ChannelClient:
    """Return home's end of a control channel to the scene's gateway."""
    registry = Registry.at("", scene.state)
    (home,) = (await registry.roll()).customers
    await registry.close()
    credentials = Credentials("home", home.key, DEVICE, fingerprint_of(scene.state))
    way = Way("dsl", "127.0.0.1", "127.0.0.1", scene.intent.control_port)
    return ChannelClient("hag", credentials, lambda: [way], lambda _: None, **more)


def test_channels_tell_that_the_gateway_drains_and_workers_need_not_know(scene: Scene) -> None:
    side = HagSide(scene, scene.state)  # type: ignore[arg-type]  # as far as it needs one

    async def blocked() -> list[str]:
        await side.begin()
        found = [customer.blocked for customer in side._desk().customers().values()]
        registry = await side.watch.registry()
        assert registry is not None
        await registry.close()
        return found

    assert asyncio.run(blocked()) == [""]
    scene.is_draining = True
    assert asyncio.run(blocked()) == [DRAINING]
    assert [customer.blocked for customer in scene.served] == [""]


def test_who_has_used_up_the_month_is_blocked_until_the_limit_goes(scene: Scene) -> None:
    async def limit(value: int | None) -> None:
        registry = Registry.at("", scene.state)
        try:
            await registry.change("home", Wanted(limits={"month_bytes": value}), "olga")
        except HagwError:  # the gateway was writing for too long
            await registry.change("home", Wanted(limits={"month_bytes": value}), "olga")
        await registry.close()

    async def play() -> None:
        await scene.until(lambda: [customer.blocked for customer in scene.served] == [""])
        await limit(3000)
        await scene.until(lambda: [customer.blocked for customer in scene.served] == [MONTH_OVER])
        await limit(None)
        await scene.until(lambda: [customer.blocked for customer in scene.served] == [""])

    scene.play(play)
