"""The roll follows the registry, and outlives it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from hagw.model.intent import CustomerLimits
from hagw.registry.customers import Registry, Wanted
from hagw.registry.roll import Roll, decode_roll, encode_roll
from hagw.registry.watch import RollWatch
from hagw.subscription import open_registry

SECRET, DEVICE = b"0123456789", bytes(range(32))


class Scene:
    """A watch over the registry in a directory, run for as long as a scene takes."""

    def __init__(self, state: Path, roll: str = "customers.json") -> None:
        self.state = state
        self.url = ""
        self.rolls: list[Roll] = []
        self.watch = RollWatch(
            lambda: self.url,
            lambda url: open_registry(url, state),
            state / roll,
            lambda path, text: path.write_text(text) and None,
            self.rolls.append,
        )

    def play(self, scene: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await self.watch.begin()
            task = asyncio.ensure_future(self.watch.run())  # noqa: TID251  # ends with the scene
            try:
                async with asyncio.timeout(20):
                    await scene()
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                await self.watch.close()

        asyncio.run(run())

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.watch.look_soon()
            await asyncio.sleep(0.02)

    async def enrol(self, name: str) -> None:
        registry = Registry.at("", self.state)
        await registry.add(name, Wanted(limits={"pending_max": 7}), "olga", secret=SECRET, valid_s=60)
        await registry.redeem(SECRET, DEVICE)
        await registry.close()

    async def revoke(self, name: str) -> None:
        registry = Registry.at("", self.state)
        await registry.revoke(name, "olga")
        await registry.close()

    def names(self) -> list[str]:
        return [customer.name for customer in self.rolls[-1].customers] if self.rolls else []


def test_customers_come_and_go_while_it_runs(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def play() -> None:
        await scene.enrol("home")
        await scene.until(lambda: scene.names() == ["home"])
        await scene.revoke("home")
        await scene.until(lambda: scene.names() == [])

    scene.play(play)
    assert scene.rolls[0].customers[0].limits == CustomerLimits(pending_max=7)
    assert not scene.watch.trouble


def test_a_revocation_is_known_to_all_gateways_of_a_registry_within_five_seconds(tmp_path: Path) -> None:
    """None of them is told: each looks by itself."""
    one, other = Scene(tmp_path, "one.json"), Scene(tmp_path, "other.json")

    async def both_have(names: list[str]) -> None:
        while one.names() != names or other.names() != names:
            await asyncio.sleep(0.02)

    async def play() -> None:
        await one.enrol("home")
        await both_have(["home"])
        await one.revoke("home")
        revoked = time.monotonic()
        await both_have([])
        print(f"all gateways know after {time.monotonic() - revoked:.2f} s")
        assert time.monotonic() - revoked < 5.0

    async def beside() -> None:
        await other.watch.begin()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(other.watch.run())
            await play()
            task.cancel()
        await other.watch.close()

    one.play(beside)


def test_a_gateway_that_starts_without_its_database_knows_its_customers(tmp_path: Path) -> None:
    first = Scene(tmp_path)

    async def play() -> None:
        await first.enrol("home")
        await first.until(lambda: first.names() == ["home"] and (tmp_path / "customers.json").exists())

    first.play(play)
    (tmp_path / "customers.db").rename(tmp_path / "away.db")
    second = Scene(tmp_path)

    async def away() -> None:
        assert second.names() == ["home"]
        await second.until(lambda: bool(second.watch.trouble))
        assert second.names() == ["home"]
        (tmp_path / "away.db").rename(tmp_path / "customers.db")
        await second.revoke("home")
        await second.until(lambda: second.names() == [])
        await second.until(lambda: not second.watch.trouble)

    second.play(away)


def test_a_file_that_vanishes_from_under_it_revokes_nobody(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def play() -> None:
        await scene.enrol("home")
        await scene.until(lambda: scene.names() == ["home"])
        (tmp_path / "customers.db").unlink()
        await scene.until(lambda: "gone" in scene.watch.trouble)

    scene.play(play)
    assert scene.names() == ["home"]


def test_no_registry_yet_is_no_trouble(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def play() -> None:
        await asyncio.sleep(0.1)

    scene.play(play)
    assert not scene.rolls
    assert not scene.watch.trouble


def test_what_is_no_roll_is_not_taken_for_one(tmp_path: Path) -> None:
    roll = Roll(3, (), {"home": DEVICE})
    assert decode_roll(encode_roll(roll)) == roll
    for text in ("", "{}", "[1]", encode_roll(roll)[:-5], encode_roll(roll).replace('"version": 1', '"version": 2')):
        assert decode_roll(text) is None, text
